"""StableHLO artifacts: their audio in a process without this package, their operations, and errors."""

import hashlib
import importlib.util
import json
import re
import shutil
import sys

import jax
import numpy as np
import peers
import pytest

from hifigan_jax.cli import main
from hifigan_jax.export.source import folded
from hifigan_jax.export.stablehlo import PLATFORMS, export_stablehlo, generate_of
from hifigan_jax.models import convolution_cpu, convolution_xla
from hifigan_jax.synthesis import Vocoder

pytest.importorskip("flatbuffers")

SHAPES = {"short": (1, 1), "batch": (3, 5), "long": (1, 40)}  # utterances, frames


@pytest.fixture(scope="module")
def artifacts(tiny_checkpoint, tmp_path_factory):
    """Artifacts with the weights beside the program and inside of it."""
    folder = tmp_path_factory.mktemp("stablehlo")
    assert main(["export", "stablehlo", str(tiny_checkpoint), str(folder / "beside")]) == 0
    assert main(["export", "stablehlo", str(tiny_checkpoint), str(folder / "inside"), "--weights_inside"]) == 0
    return folder


@pytest.fixture
def mels():
    draws = np.random.default_rng(0)
    return {name: draws.normal(-4, 2, (rows, 80, frames)).astype(np.float32) for name, (rows, frames) in SHAPES.items()}


@pytest.mark.smoke
def test_a_process_without_this_package_computes_the_same_audio(artifacts, tiny_generator, mels, tmp_path, monkeypatch):
    found = peers.in_fresh_process(artifacts / "beside", mels, tmp_path)
    # The function with the convolutions of an artifact, those for all platforms.
    monkeypatch.setattr(convolution_cpu, "conv1d", convolution_xla.conv1d)
    jitted = jax.jit(generate_of(tiny_generator.config))
    weights, vocoder = folded(tiny_generator.params), Vocoder(tiny_generator.config, tiny_generator.params)
    for name, mel in mels.items():
        np.testing.assert_array_equal(found[name], jitted(weights, mel))
        np.testing.assert_allclose(found[name], vocoder.decode(mel, force=True), atol=1e-5)
    assert np.sqrt(np.mean(np.square(found["long"]))) >= 0.05


def test_the_mean_of_residual_blocks_has_the_bits_of_the_jitted_function(shared_tiny_config, tmp_path, monkeypatch, rng):
    """XLA merges the division by 3 with the slope of the next leaky ReLU in some programs and not in others."""
    from hifigan_jax.export.stablehlo_loader import load

    three = {"resblock_kernel_sizes": [3, 5, 7], "resblock_dilation_sizes": [[1, 2]] * 3, "upsample_initial_channel": 8}
    config = shared_tiny_config.replace(three)
    mel = rng.normal(-4, 2, (1, 80, 20)).astype(np.float32)
    _, generator = peers.loud(config, mel[0])
    export_stablehlo(generator, tmp_path / "artifact")
    found = np.asarray(load(tmp_path / "artifact")(mel))
    monkeypatch.setattr(convolution_cpu, "conv1d", convolution_xla.conv1d)
    np.testing.assert_array_equal(found, jax.jit(generate_of(config))(folded(generator.params), mel))
    assert peers.rms(found) >= 0.05


def test_weights_inside_and_beside_give_the_same_audio(artifacts, tiny_generator, mels):
    from hifigan_jax.export.stablehlo_loader import load

    beside, inside = (load(artifacts / name) for name in ("beside", "inside"))
    assert not (artifacts / "inside" / "weights.npz").exists()
    for mel in mels.values():
        np.testing.assert_allclose(inside(mel), beside(mel), atol=1e-6)


def test_an_artifact_has_plain_convolutions_for_all_platforms(artifacts):
    from jax import export

    program = export.deserialize((artifacts / "beside" / "generator.jax").read_bytes())
    assert program.platforms == PLATFORMS == ("cpu", "cuda", "tpu")
    text = program.mlir_module()
    assert set(re.findall(r"custom_call @(\w+)", text)) <= {"shape_assertion"}  # checked when it is compiled
    assert "stablehlo.convolution" in text
    assert not {"stablehlo.fft", "stablehlo.while", "stablehlo.optimization_barrier"} & set(re.findall(r"stablehlo\.\w+", text))


def test_the_manifest_describes_the_artifact(artifacts):
    manifest = json.loads((artifacts / "beside" / "manifest.json").read_text())
    assert manifest["sha256"].keys() == {"generator.jax", "weights.npz"}
    assert manifest["input"] == "log-mel, float32 [batch, 80, frames]"
    assert manifest["output"] == "audio, float32 [batch, frames * 256]"
    assert manifest["validity"].startswith(f"written by jax {jax.__version__}; read by versions released up to six months after")
    assert manifest["model"]["upsample_initial_channel"] == 16


@pytest.mark.parametrize("name", ["generator.jax", "weights.npz"])
def test_a_damaged_artifact_is_refused(name, artifacts, tmp_path):
    from hifigan_jax.export.stablehlo_loader import load

    for each in (artifacts / "beside").iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: damaged: its SHA-256 is not the one in manifest.json"):
        load(tmp_path)


def test_the_loader_explains_what_it_cannot_read(artifacts, tmp_path, monkeypatch):
    from hifigan_jax.export.stablehlo_loader import load

    folder = tmp_path / "artifact"
    shutil.copytree(artifacts / "inside", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "generator.jax").write_bytes(b"of a later jax")
    manifest["sha256"]["generator.jax"] = hashlib.sha256(b"of a later jax").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        ValueError, match=f"artifact: jax {jax.__version__} cannot read this program: written by jax .*; for later"
    ):
        load(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="manifest.json: damaged: Expecting"):
        load(folder)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="flatbuffers is not installed: .*: pip install flatbuffers"):
        load(folder)


def test_errors_are_one_line(tiny_checkpoint, artifacts, tmp_path, capfd, monkeypatch):
    def failure(target):
        code = main(["export", "stablehlo", str(tiny_checkpoint), str(target)])
        (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
        return code, line

    assert failure(artifacts / "beside") == (2, f"error: {artifacts / 'beside'}: already exists: choose a new name")
    (tmp_path / "file").write_text("")
    code, line = failure(tmp_path / "file" / "new")
    assert code == 5
    assert "cannot be written" in line
    code, line = failure(tmp_path / ("a" * 256))
    assert code == 3
    assert line.endswith("cannot be written: File name too long: choose another name")
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    assert failure(tmp_path / "new") == (2, "error: flatbuffers is not installed: pip install 'hifigan-jax[export]'")
    assert not (tmp_path / "new").exists()
