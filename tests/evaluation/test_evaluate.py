"""Evaluations as a whole, with metrics that need no package."""

import csv
import json
import math
import os
import shutil

import numpy as np
import pytest

from hifigan_jax.cli import main
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.evaluation import Results, evaluate, measure
from hifigan_jax.evaluation import run as run_module
from hifigan_jax.evaluation.metric import Metric, Value
from hifigan_jax.evaluation.registry import METRICS
from hifigan_jax.evaluation.systems import ANCHORS, model_digest

NAMES = ("a", "b/c", "d")


@pytest.fixture
def folders(write, speech, rng, tmp_path):
    """Three references, and the systems `good` and `bad`, which have noise."""
    for i, name in enumerate(NAMES):
        audio = np.roll(speech, 3000 * i)
        write("reference", f"{name}.flac", audio)
        for system, rms in (("good", 0.001), ("bad", 0.03)):
            write(system, f"{name}_generated.wav", audio[:-100] + rng.normal(0, rms, audio.size - 100))
    return tmp_path


@pytest.fixture
def run(folders):
    """run(metrics, ...): an evaluation of both systems without anchors."""

    def run(*metrics, systems=("good", "bad"), anchors=False, **options):
        sources = {name: folders / name for name in systems}
        return evaluate(folders / "reference", sources, metrics, anchors=anchors, cache=folders / "cache", **options)

    return run


@pytest.fixture
def counted(monkeypatch):
    """A metric `loudness` that counts its calls, and fails in the call number `failing`."""

    class Counted:
        calls, failing, error = 0, 0, RuntimeError("no\nreason")

        def measure(self, reference, synthesized, rate):
            self.calls += 1
            if self.calls == self.failing:
                raise self.error
            return {"loudness": float(np.abs(synthesized).mean())}

    counter = Counted()
    metric = Metric(counter.measure, {"loudness": Value("loudness", "higher")}, "mode", "source", "anything")
    monkeypatch.setitem(METRICS, "loudness", metric)
    return counter


def test_values_equal_those_of_the_metric(run, folders):
    results = run("mel_l1")
    reference, synthesized = (measure.read_audio(folders / name)[0] for name in ("reference/b/c.flac", "bad/b/c_generated.wav"))
    expected = METRICS["mel_l1"].measure(reference[: synthesized.size], synthesized, 22050)
    for value in ("mel_l1", "mel_l1_full"):
        assert results.data["values"][value]["bad"]["b/c"] == expected[value]
    assert results.mean("mel_l1", "bad") == pytest.approx(np.mean([*results.data["values"]["mel_l1"]["bad"].values()]))
    assert results.problems == []


def test_the_better_system_has_the_smaller_distance_and_difference(run):
    results = run("mel_l1", "mr_stft", baseline="bad")
    for value in results.data["values"]:
        good, bad = (results.data["systems"][name]["summary"][value]["mean"] for name in ("good", "bad"))
        assert good < bad
        assert results.data["systems"]["good"]["difference"][value]["mean"] == pytest.approx(good - bad)
    assert results.data["systems"]["bad"]["difference"] == {}


def test_a_single_value_can_be_selected(run):
    assert list(run("mel_l1_full").data["values"]) == ["mel_l1_full"] != list(METRICS["mel_l1"].values)


def test_anchors_are_evaluated_first(run, folders):
    results = run("lsd", "mel_l1", anchors=True)
    assert list(results.data["systems"]) == [*ANCHORS, "good", "bad"]
    assert results.mean("lsd", "ground_truth") == results.mean("lsd", "pcm16") == 0  # the references are 16-bit files
    assert results.mean("mel_l1", "griffin_lim") < 0.25 < results.mean("mel_l1", "bad")
    assert results.data["systems"]["griffin_lim"]["folder"].startswith(str(folders / "cache"))


def test_results_state_what_was_measured_and_how(run):
    data = run("mel_l1", "stoi" if not METRICS["stoi"].missing else "lsd").data
    assert data["reference"] | {"files": None, "folder": None} == {
        "folder": None,
        "rate": 22050,
        "count": 3,
        "seconds": 6.0,
        "files": None,
    }
    assert data["systems"]["good"]["files"]["b/c"]["path"] == "b/c_generated.wav"
    assert len(data["systems"]["good"]["files"]["b/c"]["sha256"]) == 64
    assert data["systems"]["good"]["count"] == 3
    assert data["metrics"]["mel_l1"]["direction"] == "lower"
    assert data["metrics"]["mel_l1"]["packages"].keys() == {"hifigan-jax"}
    assert "Griffin-Lim" in data["metrics"]["mel_l1"]["cannot_separate"]
    assert data["mel"]["fmax"] == 8000
    assert data["versions"]["numpy"] == np.__version__
    for name in ("command", "commit", "date", "cpu", "python", "treatment", "bootstrap"):
        assert data[name]


def test_results_survive_json_and_are_written_as_csv(run, folders):
    results = run("mel_l1", "lsd")
    results.save(folders / "out")
    assert Results.load(folders / "out").data == json.loads(json.dumps(results.data))
    with open(folders / "out" / "values.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["system"], row["file"]) for row in rows] == [(name, key) for name in ("good", "bad") for key in NAMES]
    assert float(rows[4]["lsd"]) == results.data["values"]["lsd"]["bad"]["b/c"]


def test_other_files_are_not_results(folders):
    for text in ("[]", "{", '{"schema": 0}'):
        (folders / "x.json").write_text(text)
        with pytest.raises(DataError):
            Results.load(folders / "x.json")
    with pytest.raises(DataError, match="No such file"):
        Results.load(folders / "none.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("metrics"), "the results: metrics is missing"),
        (lambda data: data["systems"].update(bad=[]), "the system bad: not an object"),
        (lambda data: data["systems"]["bad"].pop("files"), "the system bad: files is missing"),
        (lambda data: data["systems"]["bad"]["files"]["d"].pop("path"), "the file d: path is missing"),
        (lambda data: data["systems"]["bad"]["summary"]["lsd"].update(mean="1"), "the summary of lsd for bad: mean is missing"),
        (lambda data: data["systems"]["bad"]["summary"]["lsd"].update(mean=math.nan), "the summary of lsd for bad: mean is not"),
        (
            lambda data: data["systems"]["bad"]["summary"].update(x=data["systems"]["bad"]["summary"]["lsd"]),
            "metrics: x is missing",
        ),
        (lambda data: data["values"]["lsd"].pop("bad"), "the values of lsd: bad is missing"),
        (lambda data: data["values"]["lsd"]["bad"].update(d="x"), "the values of lsd for bad: d is missing"),
        (lambda data: data["metrics"]["lsd"].update(direction='"'), "the metric lsd: unknown direction"),
        (lambda data: data.update(baseline="x"), "the baseline is not one of the systems"),
    ],
)
def test_damaged_results_are_one_line(run, folders, change, message):
    data = json.loads(json.dumps(run("lsd").data))
    change(data)
    (folders / "x.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match=f"x.json: {message}"):
        Results.load(folders / "x.json")


def test_results_are_written_whatever_the_folders_are_called(run, folders):
    results = run("lsd")
    results.data["systems"]["good"]["folder"] = os.fsdecode(b"bad\xfe")
    results.save(folders / "out")
    assert Results.load(folders / "out").data["systems"]["good"]["folder"] == os.fsdecode(b"bad\xfe")


def test_a_file_name_may_be_no_utf_8(folders, write, speech):
    for folder in ("reference", "good"):
        os.rename(write(folder, "x.wav", speech), os.fsencode(folders / folder) + b"/\xfe.wav")
    results = evaluate(folders / "reference", {"good": folders / "good"}, ["lsd"], anchors=False, cache=folders / "cache")
    assert results.problems == []
    results.save(folders / "out")
    assert Results.load(folders / "out").data["values"]["lsd"]["good"][os.fsdecode(b"\xfe")] == 0


def test_a_data_frame_has_one_row_per_system_and_file(run):
    pytest.importorskip("pandas")
    results = run("mel_l1")
    frame = results.to_pandas()
    assert frame.loc[("bad", "d"), "mel_l1"] == results.data["values"]["mel_l1"]["bad"]["d"]
    assert len(frame) == 6


def test_pandas_is_optional(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        run("mel_l1").to_pandas()


def test_the_table_shows_means_intervals_and_methods(run):
    lines = run("mel_l1", baseline="bad").table().splitlines()
    assert lines[0] == "Means over 3 files (6 s)"
    assert lines[1].split() == ["good", "bad"]
    assert any(line.startswith("mel L1 ↓") for line in lines)
    assert "Mean differences to bad on the same files" in lines
    assert any("Cannot separate Griffin-Lim" in line for line in lines)


def test_the_table_shows_medians_and_numbers_of_files_where_they_matter(run):
    results = run("mel_l1", "lsd", baseline="bad")
    results.data["metrics"]["lsd"]["statistic"] = "median"
    good = results.data["systems"]["good"]
    good["difference"]["lsd"] |= {"mean": 100.0, "median": -2.5, "low": 90.0, "high": 110.0}
    good["summary"]["mel_l1"] |= {"mean": 1.0, "low": 0.5, "high": 1.5, "count": 2}
    lines = results.table().splitlines()
    assert lines[0] == "Means over 3 files (6 s) with 95% intervals"
    assert any("1.000 [0.500, 1.500] (2 files)" in line for line in lines)
    assert any(line.split() == ["LSD", "(dB)", "↓", "-2.500", "(median)"] for line in lines)


def test_nothing_is_computed_twice(run, counted):
    first = run("loudness")
    assert counted.calls == 6
    assert run("loudness").data == first.data
    assert counted.calls == 6


def test_the_same_audio_in_two_systems_is_measured_once(run, counted, folders):
    for name in NAMES:
        (folders / "bad" / f"{name}_generated.wav").write_bytes((folders / "good" / f"{name}_generated.wav").read_bytes())
    values = run("loudness").data["values"]["loudness"]
    assert counted.calls == 3
    assert values["good"] == values["bad"]


def test_an_interrupted_evaluation_resumes_with_the_same_results(run, counted, folders):
    expected = run("loudness")
    expected.save(folders / "uninterrupted")
    for path in (folders / "cache" / "values").rglob("*.json"):
        path.unlink()
    counted.calls, counted.failing, counted.error = 0, 4, KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run("loudness")
    assert counted.calls == 4
    run("loudness").save(folders / "resumed")
    assert counted.calls == 4 + 3  # the three pairs that were measured are not measured again
    for name in ("results.json", "values.csv"):
        assert (folders / "resumed" / name).read_bytes() == (folders / "uninterrupted" / name).read_bytes()


def test_a_changed_file_is_measured_again(run, counted, write, speech):
    run("loudness")
    write("good", "d_generated.wav", speech)
    run("loudness")
    assert counted.calls == 7


@pytest.mark.parametrize("content", ["{", "{}", "3", '{"loudness": "x"}', '{"loudness": NaN}', '{"loudness": 1e999}'])
def test_a_damaged_cache_entry_is_measured_again(run, counted, folders, content):
    first = run("loudness")
    next((folders / "cache" / "values").rglob("*.json")).write_text(content)
    assert run("loudness").data == first.data
    assert counted.calls == 7


def test_a_failing_metric_concerns_one_value_only(run, counted):
    counted.failing = 2
    results = run("loudness", "mel_l1")
    (problem,) = results.problems
    assert "good/b/c_generated.wav: loudness: RuntimeError: no reason" in problem
    assert results.data["values"]["loudness"]["good"]["b/c"] is None
    assert results.data["systems"]["good"]["summary"]["loudness"]["count"] == 2
    assert results.data["systems"]["good"]["summary"]["mel_l1"]["count"] == 3


def test_undefined_values_are_null_and_no_problem(run, monkeypatch):
    undefined = METRICS["mel_l1"]._replace(measure=lambda *_: {"mel_l1": math.nan, "mel_l1_full": 1.0})
    monkeypatch.setitem(METRICS, "mel_l1", undefined._replace(mode="undefined"))
    results = run("mel_l1")
    assert set(results.data["values"]["mel_l1"]["good"].values()) == {None}
    assert "mel_l1" not in results.data["systems"]["good"]["summary"]
    assert math.isnan(results.mean("mel_l1", "good"))
    assert results.problems == []
    assert run("mel_l1").data == results.data  # also from the cache


def test_infinite_values_are_null(run, monkeypatch):
    infinite = METRICS["mel_l1"]._replace(measure=lambda *_: {"mel_l1": math.inf, "mel_l1_full": 1.0}, mode="infinite")
    monkeypatch.setitem(METRICS, "mel_l1", infinite)
    assert set(run("mel_l1").data["values"]["mel_l1"]["good"].values()) == {None}


def test_a_file_that_disappears_during_the_evaluation_is_reported(run, folders, monkeypatch):
    listed = run_module._pairs

    def pairs(*arguments):
        (folders / "good" / "d_generated.wav").unlink()
        return listed(*arguments)

    monkeypatch.setattr(run_module, "_pairs", pairs)
    results = run("mel_l1", "lsd")
    (problem,) = results.problems
    assert problem.endswith("good/d_generated.wav: cannot be decoded: no such file")
    assert results.data["systems"]["good"]["summary"]["lsd"]["count"] == 2


def test_problems_are_one_line_whatever_the_files_are_called(run, write, speech):
    write("good", "new\nline.wav", speech)
    (problem,) = run("mel_l1").problems
    assert problem.endswith("good/new line.wav: has no reference")


@pytest.mark.parametrize("content", [b"", b"RIFF"])
def test_damaged_audio_in_the_cache_is_made_again(run, folders, content):
    first = run("mel_l1", anchors=True)
    for path in (folders / "cache" / "audio").rglob("*.wav"):
        path.write_bytes(content)
    assert run("mel_l1", anchors=True).data == first.data


def test_a_cache_among_the_evaluated_audio_is_a_usage_error(folders):
    with pytest.raises(UsageError, match=r"reference/out/cache: inside .*reference, whose audio is evaluated"):
        evaluate(folders / "reference", {}, ["lsd"], cache=folders / "reference" / "out" / "cache")
    with pytest.raises(UsageError, match=r"good/cache: inside .*good, whose audio is evaluated"):
        evaluate(folders / "reference", {"good": folders / "good"}, ["lsd"], cache=folders / "good" / "cache")


def test_a_missing_package_leaves_its_metric_out_with_one_notice(run, monkeypatch, caplog):
    for name in ("stoi", "dnsmos"):
        monkeypatch.setitem(METRICS, name, METRICS[name]._replace(modules=("no_such_module",)))
    results = run("stoi", "mel_l1", "dnsmos")
    (notice,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert notice == ("stoi, estoi, dnsmos, p808: left out, not installed: no_such_module: pip install 'hifigan-jax[evaluate]'")
    assert list(results.data["metrics"]) == ["mel_l1", "mel_l1_full"]
    assert results.data["disabled"]["stoi"] == "pip install 'hifigan-jax[evaluate]'"
    with pytest.raises(UsageError, match="none of the metrics is installed"):
        run("stoi")


@pytest.mark.parametrize(
    ("metrics", "options", "message"),
    [
        (["mel"], {}, "mel: no such metric .*; did you mean"),
        (["lsd"], {"baseline": "god"}, "baseline god: no such system .*; did you mean 'good'"),
        (["lsd"], {"systems": ["pcm16"], "anchors": True}, "pcm16: the name of an anchor"),
        (["lsd"], {"systems": []}, "no system to evaluate"),
        (["lsd"], {"systems": ["a\nb"]}, r"'a\\nb': not a name of a system"),
        (["lsd"], {"systems": [" "]}, "' ': not a name of a system"),
    ],
)
def test_wrong_arguments_are_usage_errors(run, metrics, options, message):
    with pytest.raises(UsageError, match=message):
        run(*metrics, **options)


def test_processes_give_the_results_of_one(run, folders):
    alone = run("mel_l1", "lsd")
    for path in (folders / "cache" / "values").rglob("*.json"):
        path.unlink()
    assert run("mel_l1", "lsd", jobs=2).data == alone.data


def command(folders, *flags, systems=("good", "bad")):
    systems = [word for name in systems for word in ("--system", f"{name}={folders}/{name}")]
    common = ["--reference", f"{folders}/reference", "--output", f"{folders}/out", "--no_anchors", "--jobs", "1"]
    return main(["evaluate", *common, *systems, "--metrics", "mel_l1", *flags])


def test_the_command_prints_the_table_and_writes_the_results(folders, capsys):
    assert command(folders, "--baseline", "good") == 0
    out, err = capsys.readouterr()
    assert out == Results.load(folders / "out").table() + "\n"
    assert "out/results.json" in err
    assert "\r" not in err  # no progress bar without a terminal
    assert Results.load(folders / "out").data["command"].startswith("hifigan-jax evaluate --reference ")


def test_the_command_exits_with_3_if_a_file_cannot_be_evaluated(folders, capsys):
    (folders / "good" / "d_generated.wav").write_bytes(b"")
    assert command(folders) == 3
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "good/d_generated.wav: cannot be decoded" in errors[0]
    assert Results.load(folders / "out").data["systems"]["good"]["count"] == 2


@pytest.mark.parametrize(
    ("flags", "code"), [(["--metrics", "pesk"], 2), (["--system", "x=no_such_model"], 4), (["--system", "good=x"], 2)]
)
def test_the_command_exits_with_the_code_of_the_error(folders, capsys, flags, code):
    assert command(folders, *flags) == code
    assert capsys.readouterr().err.startswith("error: ") or code == 4


@pytest.mark.parametrize(
    ("source", "name"),
    [("good", "good"), ("good/", "good"), ("sigma=0.1", "sigma=0.1"), ("v1.5", "v1.5"), ("v1.5/..", "named"), ("x=v1.5", "x")],
)
def test_a_system_is_named_after_its_folder(folders, monkeypatch, source, name):
    for folder in ("named/good", "named/sigma=0.1", "named/v1.5"):
        shutil.copytree(folders / "good", folders / folder)
    monkeypatch.chdir(folders / "named")
    assert command(folders, "--system", f"y={folders}/good", "--system", source, systems=()) in (0, 3)
    assert list(Results.load(folders / "out").data["systems"]) == ["y", name]


def test_a_checkpoint_resynthesizes_the_references_once(folders, tiny_config, monkeypatch):
    from hifigan_jax.benchmark import random_params
    from hifigan_jax.loading import Generator

    loaded = Generator(tiny_config, random_params(tiny_config), "tiny.pth")
    monkeypatch.setattr("hifigan_jax.loading.load_generator", lambda source: loaded)

    def run():
        return evaluate(folders / "reference", {"tiny": "tiny.pth"}, ["mel_l1"], anchors=False, cache=folders / "cache")

    first = run()
    system = first.data["systems"]["tiny"]
    assert (system["kind"], system["count"], len(system["sha256"])) == ("model", 3, 64)
    assert first.mean("mel_l1", "tiny") > 0.5
    monkeypatch.setattr("hifigan_jax.evaluation.systems._resynthesize", None)  # everything is in the cache
    assert run().data == first.data


def test_a_model_whose_audio_is_not_finite_or_silent_is_reported(folders, tiny_config, monkeypatch):
    from hifigan_jax.loading import Generator
    from hifigan_jax.synthesis import Vocoder

    audio = iter([np.full(44032, np.nan, np.float32), np.zeros(44032, np.float32), np.ones(44032, np.float32)])

    class Broken:
        hop_size, sampling_rate = 256, 22050
        utterance_of_audio = staticmethod(lambda audio: audio)
        synthesize = staticmethod(lambda utterances: ((target, next(audio)) for target, _ in utterances))

    assert hasattr(Vocoder, "synthesize")
    monkeypatch.setattr("hifigan_jax.synthesis.Vocoder", lambda config, params: Broken)
    monkeypatch.setattr("hifigan_jax.loading.load_generator", lambda source: Generator(tiny_config, {}, source))
    results = evaluate(folders / "reference", {"tiny": "tiny.pth"}, ["mel_l1"], anchors=False, cache=folders / "cache")
    assert results.data["systems"]["tiny"]["count"] == 1
    assert results.problems[0] == "tiny: a: the model's audio contains NaN or infinite samples"
    assert results.problems[1].startswith("tiny: b/c: ")
    assert results.problems[1].endswith(": silent")


def test_a_model_of_another_sampling_rate_is_a_usage_error(folders, tiny_config, monkeypatch):
    from hifigan_jax.loading import Generator

    other = Generator(tiny_config.replace({"sampling_rate": 24000}), {}, "tiny.pth")
    monkeypatch.setattr("hifigan_jax.loading.load_generator", lambda source: other)
    with pytest.raises(UsageError, match="tiny: synthesizes 24000 Hz, but the references have 22050 Hz"):
        evaluate(folders / "reference", {"tiny": "tiny.pth"}, ["mel_l1"], anchors=False, cache=folders / "cache")


def test_the_hash_of_a_model_depends_on_each_parameter_and_the_configuration(tiny_config):
    params = {"a": {"kernel": np.arange(3.0)}, "b": np.zeros(2)}
    changed = {"a": {"kernel": np.array([0.0, 1.0, 3.0])}, "b": np.zeros(2)}
    other = tiny_config.replace({"fmin": 5.0})
    hashes = {model_digest(params, tiny_config), model_digest(changed, tiny_config), model_digest(params, other)}
    assert len(hashes) == 3
    assert model_digest(params, tiny_config) == model_digest(params, tiny_config.replace({"seed": 5})) in hashes
