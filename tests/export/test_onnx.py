"""ONNX files: what is in them, unusual configurations, log-mels, float16, and errors. test_contract.py covers the families."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax.cli import main
from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.conventions import CONVENTIONS
from hifigan_jax.errors import UsageError
from hifigan_jax.export.source import folded
from hifigan_jax.generator_file import Generator
from hifigan_jax.mel import LogMel
from hifigan_jax.models.generator import Conditions
from hifigan_jax.synthesis import Vocoder

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from hifigan_jax.export.onnx import export_mel_onnx, export_onnx  # noqa: E402

PLAIN_OPERATORS = {"Conv", "ConvTranspose", "LeakyRelu", "Tanh", "Add", "Squeeze"}


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.smoke
def test_the_command_writes_a_generator_and_its_mel(tiny_checkpoint, tmp_path, capfd, rng):
    generator, log_mel = tmp_path / "new folder" / "generator.onnx", tmp_path / "mel.onnx"
    assert main(["export", "onnx", str(tiny_checkpoint), str(generator), "--with_mel", str(log_mel)]) == 0
    assert capfd.readouterr().out.splitlines() == [str(generator), str(log_mel)]
    audio = rng.normal(0, 0.1, (2, 20_000)).astype(np.float32)
    vocoder = Vocoder.from_pretrained(tiny_checkpoint)
    (mel,) = session(log_mel).run(None, {"audio": audio})
    np.testing.assert_allclose(mel, vocoder.mel(audio), atol=1e-4)
    (synthesized,) = session(generator).run(None, {"mel": mel})
    assert np.sqrt(np.mean(np.square(synthesized))) >= 0.05
    np.testing.assert_allclose(synthesized, vocoder.decode(mel, force=True), atol=1e-5)


def test_the_file_describes_the_model(tiny_generator, tmp_path):
    export_onnx(tiny_generator, tmp_path / "generator.onnx")
    model = onnx.load(tmp_path / "generator.onnx")
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 13)]
    assert model.ir_version == 7
    assert {node.op_type for node in model.graph.node} <= PLAIN_OPERATORS
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["model_type"] == "hifigan"
    assert facts["sample_rate"] == facts["sampling_rate"] == "22050"
    assert (facts["generator"], facts["hop_size"], facts["mel_convention"]) == ("hifigan", "256", "hifigan")
    assert len(facts["source_sha256"]) == 64
    keys = json.loads(facts["config"])
    assert keys["upsample_initial_channel"] == 16
    assert "checkpoint_path" not in keys
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = [
        [axis.dim_param or axis.dim_value for axis in each.type.tensor_type.shape.dim]
        for each in (*inferred.input, *inferred.output)
    ]
    assert shapes == [["batch", 80, "frames"], ["batch", "samples"]]


def test_the_same_checkpoint_gives_the_same_bytes(tiny_generator, tmp_path):
    for name in ("one.onnx", "other.onnx"):
        export_onnx(tiny_generator, tmp_path / name)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "other.onnx").read_bytes()


def test_float16_halves_the_file_and_its_error_is_printed(tiny_checkpoint, tiny_generator, tmp_path, capfd, rng):
    exact, rounded = tmp_path / "float32.onnx", tmp_path / "float16.onnx"
    export_onnx(tiny_generator, exact)
    assert main(["export", "onnx", str(tiny_checkpoint), str(rounded), "--precision", "float16"]) == 0
    printed = capfd.readouterr().out
    kernels = sum(value.nbytes for name, value in folded(tiny_generator.params).items() if name.endswith("/kernel"))
    assert exact.stat().st_size - rounded.stat().st_size == pytest.approx(kernels / 2, rel=0.1)
    mel = rng.normal(-4, 2, (1, 80, 40)).astype(np.float32)
    one, other = (session(path).run(None, {"mel": mel})[0] for path in (exact, rounded))
    assert one.dtype == other.dtype == np.float32
    error = np.sqrt(np.mean(np.square(one - other)))
    assert 0 < error < 1e-3 * np.sqrt(np.mean(np.square(one)))
    assert "float16: on a test sound, the audio differs by " in printed
    stated = float(printed.partition(" at most, ")[2].partition(" ")[0])
    assert error / 10 < stated < error * 10


ODD = {
    "odd hop, padding and mels": {
        **{
            "upsample_rates": [3, 5],
            "upsample_kernel_sizes": [4, 10],
            "hop_size": 15,
            "n_fft": 65,
            "win_size": 33,
            "num_mels": 7,
        },
        **{"resblock": "2", "resblock_kernel_sizes": [1, 7], "resblock_dilation_sizes": [[1, 2], [3, 6]]},
    },
    "kernels as long as their rates, large dilations": {
        **{"upsample_rates": [1, 16], "upsample_kernel_sizes": [2, 16]},
        **{"resblock_kernel_sizes": [5], "resblock_dilation_sizes": [[9, 27, 40]]},
    },
    "melgan, odd rates": {"generator": "melgan", "upsample_rates": [5, 3], "hop_size": 15, "n_fft": 65, "residual_layers": 3},
    "istftnet, three frames overlap": {
        "generator": "istftnet",
        "upsample_rates": [4],
        "gen_istft_n_fft": 12,
        "gen_istft_hop_size": 4,
    },
}
SMALL = {"hop_size": 16, "n_fft": 64, "win_size": 64, "num_mels": 20, "upsample_initial_channel": 8}
SMALL |= {"resblock": "1", "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 2]]}


def odd_config(changes):
    """A small configuration with these changes."""
    family = changes.get("generator", "hifigan")
    base = load_config(packaged_config({"hifigan": "config_v3"}.get(family, family)))
    rates = {"upsample_rates": [4, 4], "upsample_kernel_sizes": [8, 8]} | changes
    if "upsample_kernel_sizes" not in changes:
        rates["upsample_kernel_sizes"] = [2 * rate for rate in rates["upsample_rates"]]
    content = SMALL | {"segment_size": 480} | rates
    return base.replace({key: value for key, value in content.items() if key in base.flat()})


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD)
def test_unusual_configurations_give_the_same_audio(changes, tmp_path, rng):
    config = odd_config(changes)
    module = config.generator.build(config.mel)
    params = jax.jit(module.init)(jax.random.key(0), Conditions(jnp.zeros((1, 8, config.mel.num_mels))))["params"]
    params = jax.tree.map(lambda leaf: leaf * jnp.asarray(rng.uniform(0.9, 1.6, leaf.shape), leaf.dtype), params)
    (tmp_path / "weights").write_text("")  # its checksum is in the metadata
    export_onnx(Generator(config, params, str(tmp_path / "weights")), tmp_path / "generator.onnx")
    mel = rng.normal(-3, 2, (2, 9, config.mel.num_mels)).astype(np.float32)
    expected = np.asarray(jax.jit(module.apply)({"params": params}, Conditions(jnp.asarray(mel))))
    (audio,) = session(tmp_path / "generator.onnx").run(None, {"mel": mel.swapaxes(1, 2)})
    assert np.sqrt(np.mean(np.square(expected))) >= 0.05
    np.testing.assert_allclose(audio, expected, atol=1e-5)


def check_mel(settings, folder, rng):
    export_mel_onnx(settings, folder / "mel.onnx")
    run = session(folder / "mel.onnx").run
    assert (folder / "mel.onnx").stat().st_size < 100_000
    for samples in (max(settings.shortest, settings.hop_size), 60 * 40 + 59):
        audio = rng.normal(0, 0.1, samples).astype(np.float32)
        audio[: samples // 2] = 0  # silence
        (mel,) = run(None, {"audio": np.stack([audio, -audio])})
        np.testing.assert_allclose(mel[0].T, LogMel(settings)(audio), atol=1e-4)
        np.testing.assert_array_equal(mel[1], mel[0])


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_log_mels_are_those_of_the_convention(convention, tmp_path, rng):
    mel = load_config(packaged_config("config_v3")).mel
    sizes = {"hop_size": 60, "n_fft": 256, "win_size": 200, "num_mels": 16, "fmax": 7000.0, "sampling_rate": 16000}
    check_mel(mel.replace(mel_convention=convention, **sizes), tmp_path, rng)


def test_log_mels_with_an_odd_hop(tmp_path, rng):
    check_mel(
        load_config(packaged_config("config_v3")).mel.replace(num_mels=8, hop_size=55, n_fft=256, win_size=256), tmp_path, rng
    )


def test_log_mels_have_a_mean_and_standard_deviation_per_bin(tmp_path, rng):
    mel = load_config(packaged_config("config_v3")).mel.replace(num_mels=3, hop_size=60, n_fft=256, win_size=256)
    check_mel(mel.replace(mel_mean=(-5.0, 1.0, 2.0), mel_std=(1.0, 2.0, 3.0), mel_power=2), tmp_path, rng)


def export(*arguments):
    return main(["export", "onnx", *map(str, arguments)])


def test_errors_are_one_line(tiny_checkpoint, tmp_path, capfd, monkeypatch):
    (tmp_path / "file").write_text("not weights")
    cases = [
        ((tmp_path / "none.pth", tmp_path / "a.onnx"), 4, "no such file, folder or pretrained model"),
        ((tmp_path / "file", tmp_path / "a.onnx"), 4, "file: not a PyTorch file"),
        ((tiny_checkpoint, tmp_path / "file" / "a.onnx"), 5, "a.onnx: cannot be written"),
        ((tiny_checkpoint, tmp_path), 5, "cannot be written"),
    ]
    for arguments, code, message in cases:
        assert export(*arguments) == code
        (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
        assert message in line
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert export(tiny_checkpoint, tmp_path / "a.onnx") == 2
    assert capfd.readouterr().err.splitlines()[-1] == "error: onnx is not installed: pip install 'hifigan-jax[export]'"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_neither_the_checkpoint_nor_the_other_file_is_overwritten(tmp_path, capfd):
    source, config = tmp_path / "weights", tmp_path / "config.json"
    source.write_text("weights")
    config.write_text("{}")
    (tmp_path / "link.onnx").symlink_to(source)
    cases = [
        ((source, source), "weights: is the checkpoint or its configuration: choose another name"),
        ((source, tmp_path / "link.onnx"), "link.onnx: is the checkpoint or its configuration"),
        ((source, tmp_path / "a.onnx", "--with_mel", config, "--config", config), "config.json: is the checkpoint or its"),
        ((source, tmp_path / "a.onnx", "--with_mel", tmp_path / "x" / ".." / "a.onnx"), "a.onnx: is the file of the generator"),
    ]
    for arguments, message in cases:
        assert export(*arguments) == 2
        assert message in capfd.readouterr().err
    assert export(source, tmp_path / "a.onnx", "--with_mel", tmp_path) == 5  # before the first file is written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "link.onnx", "weights"]
    assert source.read_text() == "weights"


def test_weights_beyond_float16_are_refused(tiny_generator, tmp_path):
    params = jax.tree.map(lambda leaf: leaf * 1e6, tiny_generator.params)
    with pytest.raises(UsageError, match="beyond 65504"):
        export_onnx(tiny_generator._replace(params=params), tmp_path / "a.onnx", "float16")
    assert not (tmp_path / "a.onnx").exists()
