import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hifigan_jax import audio, checkpoint
from hifigan_jax.cli import main, run
from hifigan_jax.synthesis import Vocoder

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"


@pytest.fixture
def weights(tiny_config, tiny_leaves, tmp_path, shared_programs):
    """A checkpoint folder of a small model."""
    return checkpoint.write(tmp_path / "weights", {"generator": tiny_leaves}, tiny_config)


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    shutil.copy(SAMPLES / "librivox_sonnet1_00.flac", folder / "one.flac")
    shutil.copy(SAMPLES / "librivox_sonnet1_01.flac", folder / "below" / "two words ü.flac")
    return folder


def infer(capfd, **flags):
    arguments = [text for flag, value in flags.items() for text in (f"--{flag}", str(value))]
    code = run("infer", arguments)
    captured = capfd.readouterr()
    return code, captured.out, captured.err


@pytest.mark.smoke
def test_outputs_have_the_names_of_the_reference(weights, recordings, tmp_path, capfd, sharing):
    sharing.forget()  # so that all compilations are counted
    output = tmp_path / "out"
    code, printed, said = infer(capfd, input_wavs_dir=recordings, output_dir=output, checkpoint_file=weights)
    assert code == 0, said
    assert sorted(printed.splitlines()) == [str(output / "below/two words ü_generated.wav"), str(output / "one_generated.wav")]
    recorded = audio.read_audio(recordings / "one.flac")[0]
    spoken, rate = soundfile.read(output / "one_generated.wav", dtype="int16")
    assert rate == 22050
    assert spoken.size == recorded.size // 256 * 256
    vocoder = Vocoder.from_pretrained(weights)
    expected = np.clip(vocoder.decode(vocoder.mel(recorded)) * 32768, -32768, 32767).astype(np.int16)
    assert np.abs(spoken.astype(int) - expected).max() <= 1
    assert "2 files, " in said
    assert int(re.search(r" x real time, (\d+) compilations", said)[1]) <= 4


def test_a_folder_of_mels_is_synthesized(weights, tmp_path, capfd, rng):
    folder = tmp_path / "mels"
    folder.mkdir()
    mel = rng.normal(-5, 2, (80, 150))
    np.save(folder / "plain.npy", mel.astype(np.float32))
    np.save(folder / "batched.npy", mel[None].astype(np.float64))
    code, _, said = infer(capfd, input_mels_dir=folder, output_dir=tmp_path / "out", checkpoint_file=weights)
    assert code == 0, said
    targets = (tmp_path / "out" / f"{name}_generated_e2e.wav" for name in ("plain", "batched"))
    plain, batched = (soundfile.read(target, dtype="int16")[0] for target in targets)
    assert plain.size == 150 * 256
    assert np.abs(plain.astype(int) - batched).max() <= 1


def test_a_bad_file_does_not_affect_the_others(weights, recordings, tmp_path, capfd):
    (recordings / "bad.wav").write_text("no audio")
    (recordings / "notes.txt").write_text("passed over")
    soundfile.write(recordings / "short.wav", np.zeros(384), 22050)
    code, printed, said = infer(capfd, input_wavs_dir=recordings, output_dir=tmp_path / "out", checkpoint_file=weights)
    assert code == 3
    assert len(printed.splitlines()) == 2
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert any("bad.wav" in line for line in errors)
    assert any("short.wav" in line for line in errors)
    assert "1 files with other suffixes are skipped" in said


def test_an_output_that_cannot_be_written_does_not_affect_the_others(weights, recordings, tmp_path, capfd, monkeypatch):
    writer = audio.wav_writer

    @contextlib.contextmanager
    def spoilt(path, rate):
        with writer(path, rate) as write:
            yield lambda samples: write(samples * np.nan if path.name.startswith("one") else samples)

    monkeypatch.setattr(audio, "wav_writer", spoilt)
    code, printed, said = infer(capfd, input_wavs_dir=recordings, output_dir=tmp_path / "out", checkpoint_file=weights)
    assert code == 3
    assert printed.splitlines() == [str(tmp_path / "out/below/two words ü_generated.wav")]
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert "one_generated.wav: not written: the audio contains NaN" in line
    assert "1 files, " in said


def test_a_disk_that_cannot_be_written_ends_the_program_with_one_line(weights, recordings, tmp_path, capfd):
    (tmp_path / "out").write_text("in the way")
    code, printed, said = infer(capfd, input_wavs_dir=recordings, output_dir=tmp_path / "out", checkpoint_file=weights)
    assert code == 5
    assert printed == ""
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert "cannot be written" in line


def test_existing_output_is_skipped_only_if_it_is_complete(weights, tmp_path, capfd):
    for number in range(5):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(SAMPLES / "librivox_sonnet1_00.flac", tmp_path / "in" / f"{number}.flac")
    flags = {"input_wavs_dir": tmp_path / "in", "output_dir": tmp_path / "out", "checkpoint_file": weights}
    assert infer(capfd, **flags)[0] == 0
    outputs = [tmp_path / "out" / f"{number}_generated.wav" for number in range(5)]
    expected = outputs[0].read_bytes()
    outputs[1].unlink()
    outputs[2].write_bytes(expected[:-2])
    soundfile.write(outputs[3], soundfile.read(outputs[3])[0], 24000)
    outputs[4].write_bytes(expected[:44] + bytes(len(expected) - 44))  # complete, whatever it contains
    arguments = ["--skip_existing", "--report", str(tmp_path / "report.jsonl")]
    arguments += [text for flag, value in flags.items() for text in (f"--{flag}", str(value))]
    assert run("infer", arguments) == 0
    captured = capfd.readouterr()
    assert sorted(captured.out.splitlines()) == [str(path) for path in outputs[1:4]]
    assert "; 2 files were there" in captured.err
    assert all(path.read_bytes() == expected for path in outputs[:4])
    report = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert {line["input"][-6]: line["outcome"] for line in report} == dict(
        zip("01234", ["skipped", *["written"] * 3, "skipped"], strict=True)
    )


def test_names_that_are_too_long_are_refused_and_the_rest_is_served(weights, tmp_path, capfd):
    (tmp_path / "in").mkdir()
    for name in ("a", "x" * 245):  # with its ending, the output's name has more than 255 bytes
        shutil.copy(SAMPLES / "librivox_sonnet1_00.flac", tmp_path / "in" / f"{name}.flac")
    flags = {"input_wavs_dir": tmp_path / "in", "output_dir": tmp_path / "out", "checkpoint_file": weights}
    arguments = [text for flag, value in flags.items() for text in (f"--{flag}", str(value))]
    for skipped in (0, 1):
        assert run("infer", [*arguments, "--skip_existing"]) == 3
        captured = capfd.readouterr()
        assert "File name too long" in captured.err
        assert (f"{skipped} files were there" in captured.err or f"{skipped} file was there" in captured.err) == bool(skipped)
        assert (tmp_path / "out" / "a_generated.wav").is_file()
    for flag, code in (("input_wavs_dir", 3), ("checkpoint_file", 4)):
        assert run("infer", [*arguments, f"--{flag}", "x" * 300]) == code
        assert "no such f" in capfd.readouterr().err


def test_existing_output_of_mels_and_of_another_rate_is_recognized(weights, tmp_path, capfd, rng):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", rng.normal(-5, 2, (80, 33)).astype(np.float32))
    soundfile.write(tmp_path / "in" / "b.wav", rng.uniform(-0.1, 0.1, 30011), 44100)
    for kind in ("mels", "wavs"):
        arguments = [f"--input_{kind}_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "out")]
        arguments += ["--checkpoint_file", str(weights), "--skip_existing"]
        for printed in (1, 0):
            assert run("infer", arguments) == 0
            assert len(capfd.readouterr().out.splitlines()) == printed


def test_the_report_names_every_input_its_outcome_and_the_reason(weights, recordings, tmp_path, capfd):
    (recordings / "bad.wav").write_text("no audio")
    flags = {"input_wavs_dir": recordings, "output_dir": tmp_path / "out", "checkpoint_file": weights}
    assert infer(capfd, **flags, report=tmp_path / "report.jsonl")[0] == 3
    report = {line["input"]: line for line in map(json.loads, (tmp_path / "report.jsonl").read_text().splitlines())}
    assert len(report) == 3
    bad, good = report[str(recordings / "bad.wav")], report[str(recordings / "one.flac")]
    assert (bad["outcome"], bad["output"], bad["seconds"]) == ("failed", None, 0)
    assert "cannot be decoded" in bad["reason"]
    assert (good["outcome"], good["output"], good["reason"]) == ("written", str(tmp_path / "out/one_generated.wav"), None)
    assert good["seconds"] == soundfile.info(good["output"]).duration


def main_thread_comes_to(function):
    """Waits until this function of concurrent.futures is on the main thread's stack."""
    for _ in range(3000):
        frames = traceback.extract_stack(sys._current_frames()[threading.main_thread().ident])
        if any(frame.name == function and "concurrent" in frame.filename for frame in frames):
            return
        time.sleep(0.01)


def test_an_interrupt_leaves_no_half_written_file(weights, recordings, tmp_path, capfd, monkeypatch, request):
    write = soundfile.SoundFile.write
    interrupts = iter([signal.SIGINT])

    def interrupted(file, samples):
        for number in interrupts:
            main_thread_comes_to("result")  # it waits for this file
            os.kill(os.getpid(), number)
            main_thread_comes_to("shutdown")  # it has heard of it, while the file is being written
        write(file, samples)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    infer(capfd, input_wavs_dir=recordings, output_dir=tmp_path / "before", checkpoint_file=weights)  # compiles
    monkeypatch.setattr(soundfile.SoundFile, "write", interrupted)
    code, printed, _ = infer(capfd, input_wavs_dir=recordings, output_dir=tmp_path / "out", checkpoint_file=weights)
    assert code == 130
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {str(path) for path in written} == set(printed.splitlines())
    assert all(soundfile.info(path).frames for path in written)


def test_another_rate_is_resampled_with_a_notice(weights, tmp_path, capfd):
    samples, rate = audio.read_audio(SAMPLES / "librivox_sonnet1_00.flac")
    folder = tmp_path / "in"
    audio.write_wav(folder / "a.wav", audio.resample(samples, rate, 16000), 16000)
    code, _, said = infer(capfd, input_wavs_dir=folder, output_dir=tmp_path / "out", checkpoint_file=weights)
    assert code == 0
    assert "a.wav: resampled from 16000 to 22050 Hz" in said
    seconds = soundfile.info(tmp_path / "out" / "a_generated.wav").duration
    assert abs(seconds - samples.size / rate) < 0.02


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/"])
def test_a_shard_that_does_not_exist_is_refused(shard, tmp_path, capfd):
    with pytest.raises(SystemExit, match="2"):
        run("infer", ["--input_mels_dir", str(tmp_path), "--shard", shard])
    assert "I/N with I from 1 to N" in capfd.readouterr().err


def test_two_inputs_never_share_an_output(weights, recordings, tmp_path, capfd):
    shutil.copy(SAMPLES / "librivox_sonnet1_00.flac", recordings / "one.wav")
    code, _, said = infer(capfd, input_wavs_dir=recordings, output_dir=tmp_path / "out", checkpoint_file=weights)
    assert code == 2
    first, second = recordings / "one.flac", "one.wav"
    assert f"{first} and {second}: both would be written to {tmp_path / 'out' / 'one_generated.wav'}: " in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ({"input_wavs_dir": "no/such/folder"}, 3, "no such folder"),
        ({"input_wavs_dir": SAMPLES, "checkpoint_file": "universal"}, 4, "did you mean universal_v1?"),
        ({"input_wavs_dir": SAMPLES, "checkpoint_file": SAMPLES / "README.md"}, 4, "README.md: not a PyTorch file"),
        ({"input_wavs_dir": SAMPLES, "checkpoint_file": SAMPLES}, 4, "contains no checkpoint"),
        ({"input_mels_dir": SAMPLES}, 3, "contains no .npy files"),
    ],
)
def test_errors_are_one_line(flags, code, said, capfd, tmp_path):
    result, printed, errors = infer(capfd, output_dir=tmp_path / "out", **flags)
    assert result == code
    assert printed == ""
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert said in line


@pytest.mark.smoke
def test_a_converted_checkpoint_gives_the_same_audio(weights, tmp_path, capfd):
    assert main(["convert", str(weights), str(tmp_path / "copy")]) == 0
    mel = np.full((80, 20), -5, np.float32)
    one, other = (Vocoder.from_pretrained(path).decode(mel) for path in (weights, tmp_path / "copy"))
    np.testing.assert_array_equal(one, other)
    assert main(["convert", str(weights), str(tmp_path / "copy")]) == 2
    assert "already exists" in capfd.readouterr().err


@pytest.mark.smoke
@pytest.mark.parametrize("program", ["infer.py", "train.py"])
def test_help_needs_no_jax(program):
    code = f"import sys, runpy; sys.argv = [{program!r}, '--help']\ntry: runpy.run_path({program!r}, run_name='__main__')\n"
    code += "except SystemExit as end: print(end.code, 'jax' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "0 False", result.stderr


@pytest.mark.smoke
def test_the_console_script_lists_its_commands(capfd):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    printed = capfd.readouterr().out
    assert all(f"\n  {command} " in printed for command in ("train", "infer", "convert"))


def test_an_invalid_configuration_is_refused_before_jax_is_imported(tmp_path):
    content = json.loads((ROOT / "configs" / "config_v1.json").read_text())
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content | {"upsample_rate": [8]}))
    code = f"import sys; from hifigan_jax.cli import run; print(run('train', ['--config', {str(path)!r}]), 'jax' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.split() == ["2", "False"]
    assert "did you mean 'upsample_rates'?" in result.stderr
    assert len(result.stderr.splitlines()) == 1
