"""Files of many kinds, intact and broken: what they are, what is wrong with them, and what the programs would do with them."""

import hashlib
import json
import logging
import os
import pathlib
import shlex
import shutil
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import soundfile

from hifigan_jax import checkpoint
from hifigan_jax.cli import run
from hifigan_jax.config import Mel, packaged_config, save_config
from hifigan_jax.inspection import inspect
from hifigan_jax.loading import load_generator
from hifigan_jax.mel import LogMel
from hifigan_jax.trees import named_leaves
from hifigan_jax.weights.safetensors_file import write_safetensors
from hifigan_jax.weights.torch_writer import write_torch_file

ROOT = pathlib.Path(__file__).parent.parent.parent
SAMPLE = ROOT / "samples" / "librivox_sonnet1_03.flac"
RATE = 22050
SUMMARY = {"mean": 3.5, "low": None, "high": None, "median": 3.5, "count": 2}
SYSTEM = {"kind": "model", "source": "x", "folder": "x", "count": 2, "files": {}, "summary": {"pesq": SUMMARY}, "difference": {}}
METRIC = {"label": "PESQ", "direction": "higher", "statistic": "mean", "packages": {}, "mode": "wideband", "rate": 16000}
RESULTS = {
    "schema": 1,
    "reference": {"folder": "recordings", "rate": 22050, "count": 2, "seconds": 5.0, "files": {}},
    "treatment": {},
    "mel": {},
    "bootstrap": {"method": "bootstrap-t", "level": 0.95, "resamples": 10, "seed": 0},
    "baseline": None,
    "metrics": {"pesq": METRIC | {"cannot_separate": "anything"}},
    "systems": {"griffin_lim": SYSTEM | {"kind": "anchor"}, "ours": SYSTEM},
    "values": {"pesq": {"griffin_lim": {}, "ours": {}}},
    "problems": ["b: no such file"],
}


@pytest.fixture(scope="module")
def speech():
    return soundfile.read(SAMPLE, dtype="float32", start=20000, frames=60000)[0]


def mel_of(audio, name="hifigan"):
    return LogMel(Mel(mel_convention=name))(audio).T


def facts(report):
    assert report.error is None, report.error
    return {fact.name: fact.value for fact in report.description.facts}


def described(path, kind, **arguments):
    """The facts, the problems and the command of a file of this kind."""
    report = inspect(path, **arguments)
    found = facts(report)
    assert report.description.kind == kind
    assert 3 <= len(str(report).splitlines()) <= 16
    return found, list(report.description.problems), report.description.command


def refused(path, **arguments):
    """The one line about a file that cannot be read."""
    report = inspect(path, **arguments)
    assert report.description is None
    assert "\n" not in str(report)
    assert str(path) in report.error
    return report.error


def saved(path, array):
    np.save(path, array)
    return path


def test_mels_are_described_with_their_likely_convention(speech, tmp_path):
    path = saved(tmp_path / "a.npy", mel_of(speech))
    found, problems, command = described(path, "mel")
    assert (found["bins"], found["frames"], problems) == (80, 234, [])
    assert found["convention"][0] == "hifigan"
    assert found["duration"] == pytest.approx(234 * 256 / RATE)
    assert command == f"hifigan-jax infer --input_mels_dir {path}"
    assert f"range           {mel_of(speech).min():.2f} to {mel_of(speech).max():.2f}" in str(inspect(path))


def test_mels_of_another_convention_get_the_command_that_converts_them(speech, tmp_path):
    path = saved(tmp_path / "a.npy", mel_of(speech, "matcha-tts"))
    found, problems, command = described(path, "mel")
    assert (found["convention"], problems) == (["matcha-tts"], [])
    assert command == f"hifigan-jax infer --input_mels_dir {path} --mel_convention matcha-tts"


def test_mels_that_cannot_be_converted_have_the_reason(speech, tmp_path):
    found, problems, command = described(saved(tmp_path / "a.npy", mel_of(speech, "nemo-log1p")), "mel")
    assert found["convention"][0] == "nemo-log1p"
    assert problems == [
        "not convertible (nemo-log1p: fmax is 11025.0, expected 8000.0): use a vocoder that was trained on such mels"
    ]
    assert command is None
    found, problems, command = described(saved(tmp_path / "b.npy", mel_of(speech, "vocos")), "mel")
    assert (found["bins"], found["convention"]) == (100, ["vocos"])
    assert problems[0].startswith("not convertible (vocos: sampling_rate is 24000, expected 22050)")


ODD_MELS = {
    "transposed": (
        lambda mel: mel.T,
        "mel",
        "stored as (frames, bins): save its transpose, or pass --mel_convention fastspeech2",
    ),
    "batch": (lambda mel: np.stack([mel, mel]), "mel", "a batch of 2, described by its first"),
    "nan": (lambda mel: np.where(mel == mel.max(), np.nan, mel), "mel", "1 value of 18,720 NaN or infinite"),
    "integers": (lambda mel: mel.astype(int), "array", "mels are arrays of floats, not of int64"),
    "bins": (lambda mel: mel[:70], "mel", "no known convention has 70 bins: they have 80, 100, 128"),
    "silence": (lambda mel: mel[:, :0], "array", "empty"),
    "samples": (lambda mel: mel.reshape(-1), "array", "mels have two axes: save samples as an audio file"),
    "complex": (lambda mel: mel.astype(complex), "array", "mels are arrays of floats, not of complex128"),
    "all_nan": (lambda mel: mel * np.nan, "mel", "18,720 values of 18,720 NaN or infinite"),
    "magnitudes": (np.exp, "mel", "its values look like magnitudes without the logarithm"),
}


@pytest.mark.parametrize("name", ODD_MELS)
def test_odd_mels_are_described_with_what_is_wrong(speech, tmp_path, name):
    change, kind, problem = ODD_MELS[name]
    _, problems, command = described(saved(tmp_path / "a.npy", change(mel_of(speech))), kind)
    assert problems[0].startswith(problem)
    assert command is None


def test_infer_refuses_mels_with_nan(speech, tmp_path):
    path = saved(tmp_path / "a.npy", np.where(mel_of(speech) > 0, np.inf, mel_of(speech)))
    assert described(path, "mel")[0]["universal_v1"] == "refuses it"


def test_arrays_that_are_no_single_mel_are_not_read(tmp_path):
    path = tmp_path / "a.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (80, 2**26))  # sparse on most file systems
    assert described(path, "array")[1] == ["5,368,709,120 values, which are no single mel: save each utterance alone"]


def test_short_and_half_precision_mels_are_usable(speech, tmp_path):
    path = saved(tmp_path / "a.npy", mel_of(speech)[:, :20].astype(np.float16))
    assert described(path, "mel")[2] == f"hifigan-jax infer --input_mels_dir {path}"
    assert "(uncertain: too short)" in str(inspect(path))


def test_arrays_in_other_files_are_described(speech, tmp_path):
    np.savez(tmp_path / "a.npz", mel=mel_of(speech))
    np.savez(tmp_path / "b.npz", x=mel_of(speech), y=np.zeros(3))
    write_torch_file(tmp_path / "c.pt", mel_of(speech))
    for name in ("a.npz", "c.pt"):
        found, problems, _ = described(tmp_path / name, "mel")
        assert found["convention"][0] == "hifigan"
        assert problems == ["infer reads mels from .npy files: save the array with numpy.save"]
    with zipfile.ZipFile(tmp_path / "b.npz", "a") as archive:
        archive.writestr("readme.txt", "text")
    assert described(tmp_path / "b.npz", "arrays")[0]["arrays"] == {"x": [80, 234], "y": [3]}


def test_archives_without_arrays_of_numbers_have_one_clear_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "text")
    assert "contains no arrays: save them with numpy.savez" in refused(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.array([{}], object))
    assert "contains Python objects" in refused(tmp_path / "b.npz")


def test_folders_of_mels_are_described(speech, tmp_path):
    for name in ("b", "c"):
        saved(tmp_path / f"{name}.npy", mel_of(speech, "matcha-tts"))
    (tmp_path / "a.npy").write_bytes(b"x")
    found, problems, command = described(tmp_path, "folder of .npy files")
    assert (found["files"], found["bins"], found["convention"]) == (3, [80], ["matcha-tts"])
    assert problems == [f"{tmp_path}/a.npy: not a .npy array: save the mel with numpy.save"]
    assert command == f"hifigan-jax infer --input_mels_dir {tmp_path} --mel_convention matcha-tts"


def test_statistics_are_described(tmp_path):
    saved(tmp_path / "a.npy", np.stack([np.linspace(-6, -3, 80), np.ones(80)]))
    np.savez(tmp_path / "b.npz", mean=np.full(100, -5.0), std=np.full(100, 2.0))
    found, _, command = described(tmp_path / "a.npy", "statistics of mels")
    assert (found["bins"], found["means"], found["deviations"]) == (80, [-6, -3], [1, 1])
    assert command == f"hifigan-jax infer --input_mels_dir DIR --mel_statistics {tmp_path}/a.npy"
    assert described(tmp_path / "b.npz", "statistics of mels")[0]["bins"] == 100
    assert "standard deviations positive" in refused(saved(tmp_path / "c.npy", np.zeros((2, 80))))


def test_recordings_are_described(speech, tmp_path):
    soundfile.write(tmp_path / "a.flac", np.stack([speech, speech], 1), 48000)
    found, problems, command = described(tmp_path / "a.flac", "recording")
    assert found["format"] == {"container": "FLAC", "coding": "PCM_16", "channels": 2}
    assert (found["rate"], found["channels"], found["training"], found["resampling"]) == (48000, 2, True, True)
    assert found["duration"] == pytest.approx(60000 / 48000)
    assert found["peak"] == pytest.approx(np.abs(speech).max(), abs=1e-4)
    assert (problems, command) == ([], f"hifigan-jax infer --input_wavs_dir {tmp_path}/a.flac")


def write_odd_recordings(folder, speech):
    soundfile.write(folder / "cancels.wav", np.stack([speech, -speech], 1), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(5000), RATE)
    soundfile.write(folder / "short.wav", speech[:300], RATE)
    soundfile.write(folder / "loud.wav", 3 * speech / np.abs(speech).max(), RATE, "FLOAT")
    soundfile.write(folder / "lossy.ogg", speech, RATE)
    soundfile.write(folder / "whole.wav", speech, RATE)
    (folder / "cut.wav").write_bytes((folder / "whole.wav").read_bytes()[:50000])


ODD_RECORDINGS = {
    "cancels.wav": "its channels cancel out",
    "silent.wav": "silent: nothing to synthesize",
    "short.wav": "too short for a mel: 385 samples at 22050 Hz are needed",
    "loud.wav": "samples beyond [-1, 1]",
    "lossy.ogg": "for training, convert it to WAV or FLAC",
    "cut.wav": "truncated: the header states more samples than the file contains",
}


@pytest.mark.parametrize("name", ODD_RECORDINGS)
def test_odd_recordings_are_described_with_what_is_wrong(speech, tmp_path, name):
    write_odd_recordings(tmp_path, speech)
    assert described(tmp_path / name, "recording")[1][0].startswith(ODD_RECORDINGS[name])


def test_folders_of_recordings_are_described(speech, tmp_path):
    write_odd_recordings(tmp_path, speech)
    (tmp_path / "junk.wav").write_bytes(b"junk" * 100)
    soundfile.write(tmp_path / "other.wav", speech, 16000)
    found, problems, _ = described(tmp_path, "folder of recordings")
    assert found["recordings"] == 9
    assert found["rates"] == {"22050": 7, "16000": 1}
    assert problems[0].startswith(f"{tmp_path}/junk.wav: cannot be decoded")
    assert problems[1] == "several rates: train needs one: resample the others"


def test_lists_are_described(speech, tmp_path):
    (tmp_path / "wavs").mkdir()
    for name in ("a", "b"):
        soundfile.write(tmp_path / "wavs" / f"{name}.wav", speech, RATE)
    (tmp_path / "list.txt").write_text("a|one\nb|two\na|again\nc|three\n", encoding="utf-16")
    found, problems, command = described(tmp_path / "list.txt", "file list", input_wavs_dir=str(tmp_path / "wavs"))
    assert (found["names"], found["recordings"], found["folder"]) == (4, 3, f"{tmp_path}/wavs")
    assert found["duration"] == pytest.approx(3 * 60000 / RATE)
    assert problems[0].startswith(f"1 recording missing, such as {tmp_path}/wavs/c.wav")
    assert problems[1].startswith(f"1 name repeated, such as {tmp_path}/wavs/a.wav")
    assert facts(inspect(tmp_path / "list.txt"))["folder"] == found["folder"]
    assert command.endswith(f"--input_training_file {tmp_path}/list.txt --input_wavs_dir {tmp_path}/wavs")
    assert facts(inspect(ROOT / "samples" / "training.txt"))["recordings"] == 6


def test_configurations_are_described():
    found, problems, command = described(packaged_config("config_v2"), "configuration")
    assert found["configuration"] == {"like": "config_v2", "differences": []}
    assert (found["family"], found["rate"], found["mel"]["hop_size"]) == ("hifigan", 22050, 256)
    assert found["mel convention"][0] == "hifigan"
    assert (problems, command) == ([], f"hifigan-jax train --config {packaged_config('config_v2')}")


def changed(path, **keys):
    content = json.loads(packaged_config("config_v1").read_text()) | keys
    path.write_text(json.dumps({key: value for key, value in content.items() if value != "absent"}))
    return path


def test_configurations_with_mistakes_are_described(tmp_path):
    found, _, _ = described(changed(tmp_path / "a.json", sampling_rate=16000), "configuration")
    assert found["configuration"] == {"like": "config_v1", "differences": ["sampling_rate = 16000"]}
    _, problems, command = described(changed(tmp_path / "b.json", learning_rat=1), "configuration")
    assert problems == ["train refuses it: unknown key 'learning_rat'; did you mean 'learning_rate'?"]
    assert command is None
    assert "key 'num_mels' is missing" in refused(changed(tmp_path / "c.json", num_mels="absent"))
    (tmp_path / "d.json").write_text('{"mel_convention": "tacotron2", "sampling_rate": 16000}')
    assert described(tmp_path / "d.json", "mel convention")[0]["hop_size"] == 256


@pytest.fixture
def step(tiny_config, tiny_leaves, tmp_path):
    """A run with one checkpoint that can be resumed, as far as its files go, and one generator."""
    run_folder = tmp_path / "run"
    for number, names in ((10, [checkpoint.GENERATOR]), (20, [checkpoint.GENERATOR, checkpoint.TRAINING])):
        path = run_folder / "checkpoints" / f"{number:08d}"
        checkpoint.write(path, dict.fromkeys(names, tiny_leaves), tiny_config, number)
    save_config(tiny_config, run_folder / "config.json")
    (run_folder / "metrics.jsonl").write_text('{"step": 19, "mel_error": 0.5}\n{"step": 20, "mel_error": 0.25}\n')
    return path


def test_runs_and_checkpoints_are_described(step, tiny_leaves):
    count = sum(leaf.size for name, leaf in tiny_leaves.items() if not name.endswith("/g"))
    found, problems, command = described(step, "checkpoint of hifigan_jax")
    assert (found["step"], found["parameters"], found["resumable"]) == (20, count, True)
    assert problems == []
    assert command == f"hifigan-jax infer --checkpoint_file {step} --input_wavs_dir DIR"
    assert facts(inspect(step / "manifest.json")) == found
    folder = step.parent.parent
    found, problems, command = described(folder, "run of hifigan_jax")
    assert (found["newest step"], found["resumes from"], found["parameters"], problems) == (20, 20, count, [])
    assert found["last metrics"] == {"step": 20, "mel_error": 0.25}
    assert command == f"hifigan-jax train --config {folder}/config.json --checkpoint_path {folder}"
    assert described(folder / "metrics.jsonl", "metrics of a run")[0]["steps"] == [19, 20]


def test_damaged_checkpoints_are_described(step):
    for part in ("training", "generator"):
        largest = max((path for path in (step / part).rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        content = bytearray(largest.read_bytes())
        content[len(content) // 2] ^= 1
        largest.write_bytes(content)
        if part == "training":
            _, problems, _ = described(step, "checkpoint of hifigan_jax")
            assert problems[0].startswith("training/")
            assert "is damaged (its checksum differs)" in problems[0]
    assert "is damaged (its checksum differs)" in refused(step)
    found, problems, _ = described(step.parent.parent, "run of hifigan_jax")
    assert found["newest step"] == 10
    assert "using step 10 instead" in problems[0]
    assert any("training cannot be resumed" in problem or "checksum differs" in problem for problem in problems)
    shutil.rmtree(step.parent)
    step.parent.mkdir()
    assert "contains no checkpoint yet" in refused(step.parent.parent)


def test_weights_are_described_as_infer_loads_them(step, tiny_config, tmp_path):
    generator = load_generator(step)
    count = sum(leaf.size for name, leaf in named_leaves(generator.params).items() if not name.endswith("/g"))
    state_dict = tiny_config.generator.state_dict_of(generator.params)
    write_safetensors(tmp_path / "a.safetensors", state_dict, tiny_config.to_json())
    (tmp_path / "reference").mkdir()
    write_torch_file(tmp_path / "reference" / "g_00000020", {"generator": state_dict})
    write_torch_file(tmp_path / "b.pth", {"model": {f"module.{name}": value for name, value in state_dict.items()}})
    save_config(tiny_config, tmp_path / "reference" / "config.json")
    for path, form in ((tmp_path / "a.safetensors", "safetensors"), (tmp_path / "reference" / "g_00000020", "PyTorch")):
        found, problems, command = described(path, "generator")
        assert (found["format"], found["parameters"], problems) == (form, count, [])
        assert command == f"hifigan-jax infer --checkpoint_file {path} --input_wavs_dir DIR"
    assert found["step"] == 20
    assert described(tmp_path / "reference", "run of the reference")[0]["generators"] == 1
    config = tmp_path / "reference" / "config.json"
    assert described(tmp_path / "b.pth", "generator", config=config)[2].endswith(f" --config {config}")
    write_torch_file(tmp_path / "c.pth", {"state_dict": {"conv_pre.weight": np.zeros((2, 2, 2))}})
    assert str(tmp_path / "c.pth") in refused(tmp_path / "c.pth")


def test_weights_with_nan_are_described(step, tiny_config, tmp_path):
    state_dict = dict(tiny_config.generator.state_dict_of(load_generator(step).params))
    state_dict["conv_pre.bias"] = np.full_like(state_dict["conv_pre.bias"], np.nan)
    write_safetensors(tmp_path / "a.safetensors", state_dict, tiny_config.to_json())
    _, problems, _ = described(tmp_path / "a.safetensors", "generator")
    assert problems == ["1 tensor with NaN or infinite values, the first conv_pre/bias: use another checkpoint"]


def test_discriminators_of_the_reference_are_described(tmp_path):
    content = {"mpd": {}, "msd": {}, "optim_g": {}, "optim_d": {}, "steps": 5000, "epoch": 3}
    write_torch_file(tmp_path / "do_00005000", content)
    found, problems, command = described(tmp_path / "do_00005000", "discriminators and optimizers of the reference")
    assert (found["steps"], found["epoch"], command) == (5000, 3, None)
    assert problems == ["to resume, the g_* file of the same step has to be beside it (g_00005000)"]
    (tmp_path / "g_00005000").write_bytes(b"x")
    assert described(tmp_path / "do_00005000", "discriminators and optimizers of the reference")[1] == []


def test_results_of_evaluations_are_described(tmp_path):
    for name in ("results.json", "folder/results.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(RESULTS))
    found, problems, command = described(tmp_path / "results.json", "results of an evaluation")
    assert (found["systems"], found["recordings"], found["PESQ"]) == (["griffin_lim", "ours"], 2, {"ours": 3.5})
    assert problems == ["1 file or values missing: b: no such file"]
    assert command == f"hifigan-jax report {tmp_path}/results.json"
    assert described(tmp_path / "folder", "results of an evaluation")[0] == found


def protobuf(number, content):
    """A field of a protobuf message: bytes, or a small number."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    size = len(content)
    return bytes([number << 3 | 2, size & 127 | 128, size >> 7]) + content


def onnx_file(path, config):
    entry = protobuf(1, b"config") + protobuf(2, config.encode())
    fields = [protobuf(1, 7), protobuf(2, b"hifigan_jax"), protobuf(7, bytes(1000)), protobuf(8, protobuf(2, 13))]
    path.write_bytes(b"".join(fields) + protobuf(14, entry))
    return path


def test_onnx_files_are_described_without_reading_the_graph(tmp_path):
    path = onnx_file(tmp_path / "a.onnx", packaged_config("config_v3").read_text())
    found, _, _ = described(path, "generator (ONNX)")
    assert (found["producer"], found["opsets"], found["configuration"]["like"]) == ("hifigan_jax", [13], "config_v3")
    path.write_bytes(path.read_bytes()[:500])
    assert "not an ONNX file, or damaged" in refused(path)


def test_exported_files_are_described(tiny_config, tiny_leaves, tmp_path):
    pytest.importorskip("onnx")
    from hifigan_jax.export.onnx import export_mel_onnx, export_onnx

    source = checkpoint.write(tmp_path / "step", {"generator": tiny_leaves}, tiny_config)
    export_onnx(load_generator(source), tmp_path / "a.onnx")
    export_mel_onnx(tiny_config.mel, tmp_path / "b.onnx")
    found, _, _ = described(tmp_path / "a.onnx", "generator (ONNX)")
    assert (found["family"], found["opsets"], found["source"]) == ("hifigan", [13], "step")
    assert described(tmp_path / "b.onnx", "log-mel graph (ONNX)")[0]["hop_size"] == "256"


def test_stablehlo_folders_are_described(tmp_path):
    (tmp_path / "generator.jax").write_bytes(b"program")
    manifest = {
        "platforms": ["cpu", "tpu"],
        "model": json.loads(packaged_config("config_v1").read_text()),
        "sha256": {"generator.jax": hashlib.sha256(b"program").hexdigest()},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    found, _, _ = described(tmp_path, "generator (StableHLO)")
    assert (found["platforms"], found["configuration"]["like"]) == (["cpu", "tpu"], "config_v1")
    assert facts(inspect(tmp_path / "generator.jax")) == found
    (tmp_path / "generator.jax").write_bytes(b"other")
    assert "generator.jax is damaged" in refused(tmp_path)


BROKEN = {
    "empty.wav": (b"", "empty"),
    "junk.wav": (b"junk" * 100, "cannot be decoded"),
    "cut.npy": (b"\x93NUMPY\x01\x00v\x00{'descr'", "a damaged .npy array"),
    "text.npy": (b"hello", "not a .npy array"),
    "cut.npz": (b"PK\x03\x04" + bytes(50), "damaged"),
    "cut.pth": (b"\x80\x02}q\x00(X\x03", "not a PyTorch file, or damaged"),
    "cut.safetensors": (struct.pack("<Q", 1000) + b"{}", "not a safetensors file, or damaged"),
    "a.json": (b'{"x":', "not a JSON file"),
    "b.json": (b'{"x": 1}', "none of its keys is known"),
    "c.json": (b"[" * 100_000, "not a JSON file: nested too deeply"),
    "utf16.json": ('{"hop_size": 256}'.encode("utf-16"), "not a JSON file in UTF-8: save it as UTF-8"),
    "digits.json": (b'{"hop_size": ' + b"9" * 5000, "not a JSON file: a number has too many digits"),
    "section.json": (b'{"mel_convention": ["hifigan"]}', "mel_convention: input should be a valid string, not ['hifigan']"),
    "d.json": (b'{"schema": 1, "systems": 3}', "evaluate again"),
    "table.md": (b"# Text\n| a | b |\n| --- | --- |\n| c | d |\n", "not a file of a kind"),
    "typo.json": (b'{"mel_convention": "tacotron2", "sampling_rat": 16000}', "did you mean 'sampling_rate'?"),
    "prose.txt": (b"This is a text.\nIt lists nothing.\n", "not a file of a kind"),
    "random.dat": (bytes(range(256)) * 4, "not a file of a kind"),
    "a.onnx": (b"\xff" * 100, "not an ONNX file, or damaged"),
    "metrics.jsonl": (b'{"step": x}\n', "not a file of a kind"),
    "latin.txt": ("für|Text\n".encode("latin-1"), "not in UTF-8"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_have_one_clear_line(tmp_path, name):
    content, reason = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    assert reason in refused(tmp_path / name)


def test_what_is_no_file_has_one_clear_line(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "named pipe" in refused(tmp_path / "pipe")
    assert "No such file" in refused(tmp_path / "absent")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "manifest.json")
    assert "a folder without recordings" in refused(tmp_path / "folder")
    assert "name those in the cache" in refused("hf://a/b")


def test_the_program_describes_the_rest_and_returns_an_exit_code(speech, tmp_path, capfd):
    soundfile.write(tmp_path / "a.wav", speech, RATE)
    (tmp_path / "b.wav").write_bytes(b"")
    saved(tmp_path / "c.npy", mel_of(speech))
    paths = [str(tmp_path / name) for name in ("a.wav", "b.wav", "c.npy")]
    assert run("inspect", paths) == 3
    said = capfd.readouterr().out.split("\n\n")
    assert [part.splitlines()[0] for part in said] == [
        f"{paths[0]}: recording",
        f"{paths[1]}: empty: copy or write it again",
        f"{paths[2]}: mel",
    ]
    assert run("inspect", ["--json", *paths]) == 3
    files = json.loads(capfd.readouterr().out)["files"]
    assert [(one["path"], one["kind"], one["error"]) for one in files] == [
        (paths[0], "recording", None),
        (paths[1], None, f"{paths[1]}: empty: copy or write it again"),
        (paths[2], "mel", None),
    ]
    assert files[2]["facts"]["convention"][0] == "hifigan"
    assert run("inspect", paths[::2]) == 0


def test_json_contains_no_nan(tmp_path, capfd):
    saved(tmp_path / "a.npy", np.full((80, 100), np.nan, np.float32))
    assert run("inspect", ["--json", str(tmp_path / "a.npy")]) == 0
    assert json.loads(capfd.readouterr().out)["files"][0]["facts"]["range"] is None


def test_the_other_files_of_a_run_are_named(tmp_path):
    (tmp_path / "events.out.tfevents.1").write_bytes(bytes(24))
    (tmp_path / "recordings.json").write_text('{"sha256": "x", "files": {"a.wav": [1, 2, 3, 4, 5]}}')
    assert inspect(tmp_path / "events.out.tfevents.1").description.kind == "TensorBoard log"
    assert inspect(tmp_path / "recordings.json").description.kind == "index of a run"


def test_odd_metrics_are_described(tmp_path, capfd):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "mel_error": NaN}\n5\n{"step": 1e400}\n{"step')
    assert described(tmp_path / "metrics.jsonl", "metrics of a run")[1] == [
        "3 lines damaged: the next start of the run removes them"
    ]
    assert run("inspect", ["--json", str(tmp_path / "metrics.jsonl")]) == 0
    assert json.loads(capfd.readouterr().out)["files"][0]["facts"]["last"] == {"step": 1, "mel_error": None}


def test_names_are_quoted_in_commands(speech, tmp_path):
    path = saved(tmp_path / "a b'c\nd.npy", mel_of(speech))
    report = inspect(path)
    assert shlex.split(report.description.command)[3] == str(path)
    assert len(str(report).splitlines()) == 10


def test_names_like_flags_are_no_flags_in_commands(speech, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved("-a.npy", mel_of(speech))
    assert inspect("-a.npy").description.command == "hifigan-jax infer --input_mels_dir ./-a.npy"


@pytest.mark.parametrize("name", ["Paul_1", "FORM_1", "RIFF", "ID3", "PK", "spkr_01/{1}"])
def test_lists_may_begin_with_any_letters(speech, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    soundfile.write(tmp_path / f"{name}.wav", speech, RATE)
    (tmp_path / "list").write_text(f"{name}|text\n")
    assert described(tmp_path / "list", "file list")[0]["recordings"] == 1


def test_logging_is_as_before(tmp_path):
    logger = logging.getLogger("hifigan_jax")
    before = logger.handlers, logger.propagate, logger.level
    inspect(tmp_path)
    assert (logger.handlers, logger.propagate, logger.level) == before


def test_mels_recordings_and_configurations_are_described_without_jax(speech, tmp_path):
    path = saved(tmp_path / "a.npy", mel_of(speech))
    names = [str(path), str(SAMPLE), str(packaged_config("config_v1")), str(ROOT / "samples" / "training.txt")]
    program = f"import sys\nfrom hifigan_jax.cli import run\nassert run('inspect', {names}) == 0\nassert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
