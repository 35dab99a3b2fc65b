"""Exported generators in other programs, and loud random weights, for tests and benchmarks/export.py."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from hifigan_jax.benchmark import random_params
from hifigan_jax.config import Config
from hifigan_jax.export.onnx import Precision, export_onnx
from hifigan_jax.generator_file import Generator
from hifigan_jax.synthesis import Vocoder

# sherpa-onnx ends the process if metadata is missing.
SHERPA = """
import sys
import numpy as np
import sherpa_onnx as so

folder = sys.argv[1]
names = {"acoustic_model": "acoustic.onnx", "vocoder": "vocoder.onnx", "lexicon": "lexicon.txt", "tokens": "tokens.txt"}
matcha = so.OfflineTtsMatchaModelConfig(**{key: f"{folder}/{name}" for key, name in names.items()})
config = so.OfflineTtsConfig(model=so.OfflineTtsModelConfig(matcha=matcha), silence_scale=1.0)
audio = so.OfflineTts(config).generate("你好")
np.save(f"{folder}/audio.npy", np.array(audio.samples, np.float32))
print(audio.sample_rate)
"""
STABLEHLO = """
import importlib.util, sys
import numpy as np

folder, mels, out = sys.argv[1:]
spec = importlib.util.spec_from_file_location("load", folder + "/load.py")
loader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loader)
vocoder = loader.load(folder)
np.savez(out, **{name: np.asarray(vocoder(mel)) for name, mel in np.load(mels).items()})
print(sorted({"hifigan_jax", "flax"} & sys.modules.keys()))
"""


def loud(config: Config, mel: np.ndarray) -> tuple[Vocoder, Generator]:
    """Random weights, gains and biases with which the audio of this mel (M, F) has an rms of at least 0.06."""
    draws = np.random.default_rng(1)
    ranges = {"g": (0.5, 1.5), "bias": (-0.3, 0.3), "v": (1, 1)}

    def drawn(path, leaf):
        low, high = ranges[path[-1].key]
        values = draws.uniform(low, high, leaf.shape)
        return (values if path[-1].key == "bias" else leaf * values).astype(np.float32)

    params = jax.tree_util.tree_map_with_path(drawn, random_params(config))
    vocoder = Vocoder(config, params)
    for gain in np.geomspace(1, 16, 17):
        scaled = jax.tree_util.tree_map_with_path(
            lambda path, leaf, gain=gain: leaf * np.float32(gain if path[-1].key == "g" else 1), params
        )
        vocoder.update(scaled)
        if rms(vocoder.decode(mel, force=True)) >= 0.06:
            return vocoder, Generator(config, scaled, __file__)
    raise AssertionError("no gain makes the audio loud enough")


def rms(audio: np.ndarray) -> float:
    """The root mean square."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))


def in_onnx_runtime(generator: Generator, path: Path, precision: Precision = "float32") -> Callable[[np.ndarray], np.ndarray]:
    """A function from mels (B, M, F) to the audio [B, T] of the generator's ONNX file in ONNX Runtime."""
    import onnxruntime

    export_onnx(generator, path, precision)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda mel: session.run(["audio"], {"mel": mel})[0]


def in_sherpa(generator: Generator, mel: np.ndarray, folder: Path, precision: Precision = "float32") -> tuple[np.ndarray, int]:
    """The samples and the rate that sherpa-onnx returns for any text with an acoustic model that always predicts `mel` (M, F)."""
    _acoustic_model(mel[None], folder / "acoustic.onnx")
    export_onnx(generator, folder / "vocoder.onnx", precision)
    (folder / "tokens.txt").write_text("_ 0\nn 1\nh 2\n")
    (folder / "lexicon.txt").write_text("你 n\n好 h\n", encoding="utf-8")
    printed = _run(SHERPA, folder)
    return np.load(folder / "audio.npy"), int(printed.split()[-1])


def _acoustic_model(mel: np.ndarray, path: Path) -> None:
    """Writes a stand-in for Matcha-TTS that returns this mel [1, M, F] for any text."""
    from onnx import TensorProto, helper, numpy_helper, save

    types = {"x": TensorProto.INT64, "x_length": TensorProto.INT64, "noise_scale": TensorProto.FLOAT}
    types["length_scale"] = TensorProto.FLOAT
    shapes = {"x": [1, "tokens"]}
    inputs = [helper.make_tensor_value_info(name, kind, shapes.get(name, [1])) for name, kind in types.items()]
    output = helper.make_tensor_value_info("mel", TensorProto.FLOAT, mel.shape)
    node = helper.make_node("Identity", ["value"], ["mel"])
    graph = helper.make_graph([node], "stand-in", inputs, [output], [numpy_helper.from_array(mel, "value")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    facts = {"sample_rate": "22050", "n_speakers": "1", "jieba": "1", "use_eos_bos": "0", "pad_id": "0", "version": "1"}
    helper.set_model_props(model, facts)
    save(model, path)


def in_fresh_process(artifact: Path, mels: Mapping[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """The audio of mels (B, M, F), computed by a StableHLO artifact in a process that has not imported this package."""
    np.savez(folder / "mels.npz", **mels)
    assert _run(STABLEHLO, artifact, folder / "mels.npz", folder / "audio.npz", cwd=folder).splitlines()[-1] == "[]"
    return dict(np.load(folder / "audio.npz"))


def _run(program: str, *arguments: Path, cwd: Path | None = None) -> str:
    """What a Python program prints, in a process without PYTHONPATH."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout
