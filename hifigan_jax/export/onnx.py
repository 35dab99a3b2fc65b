"""Generators and log-mels as ONNX files, written operator by operator with the package onnx (extra `export`).

The generator's graph takes `mel` [B, M, F], float32 with any numbers of utterances and frames, and returns `audio`
[B, F * hop_size]. The mel's takes `audio` [B, T], of at least `settings.shortest` samples, and returns `mel`
[B, M, settings.frames(T)]. The metadata
contains the model's configuration.

Opset 13 and IR version 7 (2020): the newest that converters without updates, OpenVINO, TensorRT 8, ncnn and ONNX Runtime from 1.6
on all read. Nothing here needs an operator of a later opset.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from hifigan_jax import __version__
from hifigan_jax.config import Config, Mel
from hifigan_jax.errors import UsageError
from hifigan_jax.export.mel_graph import log_mel
from hifigan_jax.export.source import folded, model_of, provenance
from hifigan_jax.files import atomic_write
from hifigan_jax.filterbank import silence
from hifigan_jax.generator_file import Generator
from hifigan_jax.models.onnx_graph import OnnxGraph, Value

OPSET, IR_VERSION = 13, 7
Precision = Literal["float32", "float16"]
Shape = list[int | str]


def export_onnx(generator: Generator, path: Path, precision: Precision = "float32") -> None:
    """Writes the generator's graph. With "float16", kernels are stored in that type and converted back when the file is loaded.

    Raises UsageError for a family without an ONNX form or if the package onnx is missing, and DiskError.
    """
    config, onnx = generator.config, _onnx()
    graph = generator_graph(config, folded(generator.params))
    if precision == "float16":
        _store_as_float16(graph)
    mel, audio = ["batch", config.mel.num_mels, "frames"], ["batch", "samples"]
    model = _model(onnx, graph, ("mel", mel), ("audio", audio), metadata(config) | provenance(generator))
    _write(onnx, model, path)


def export_mel_onnx(settings: Mel, path: Path) -> None:
    """Writes the graph that computes log-mels from audio at the model's sampling rate. Raises UsageError, DiskError."""
    onnx, graph = _onnx(), OnnxGraph()
    log_mel(graph, settings, "audio", "mel")
    mel = ["batch", settings.num_mels, "frames"]
    _write(onnx, _model(onnx, graph, ("audio", ["batch", "samples"]), ("mel", mel), _texts(dict(settings))), path)


def generator_graph(config: Config, params: Mapping[str, np.ndarray]) -> OnnxGraph:
    """The graph from `mel` to `audio`. Raises UsageError if the family has no function for it.

    Mels that are too short for the generator's padding are extended with silence and their audio is cut, as in `Vocoder`.
    """
    add_generator, module = config.generator.onnx(), config.generator.build(config.mel)
    if add_generator is None:
        family = type(module).__name__
        raise UsageError(f"{family} cannot be exported to ONNX: use `hifigan-jax export stablehlo`, or another family")
    graph, shortest = OnnxGraph(params), module.shortest
    mel = "mel" if shortest == 1 else _extended(graph, shortest, config.mel)
    audio = add_generator(graph, module, mel)
    if shortest > 1:
        samples = graph.add("Mul", graph.size("mel", 2), np.array([config.mel.hop_size]))
        audio = graph.slice(audio, 0, samples, axis=2)
    graph.add("Squeeze", audio, np.array([1]), output="audio")
    return graph


def _extended(graph: OnnxGraph, shortest: int, settings: Mel) -> Value:
    """The input `mel` with frames of silence after it, if it has fewer than `shortest`."""
    frame = silence(settings.convention).astype(np.float32)
    shape = graph.add("Concat", graph.size("mel", 0), np.array([1, 1]), axis=0)
    frames = graph.add("Expand", np.tile(frame[None, :, None], shortest - 1), shape)
    extended = graph.add("Concat", "mel", frames, axis=2)
    return graph.slice(extended, 0, graph.add("Max", graph.size("mel", 2), np.array([shortest])), axis=2)


def metadata(config: Config) -> dict[str, str]:
    """The model's keys, each as text, and what sherpa-onnx reads: its `model_type` hifigan is any graph from mel to samples."""
    keys = model_of(config)
    sherpa = {"model_type": "hifigan", "sample_rate": str(config.mel.sampling_rate)}
    return sherpa | _texts(keys) | {"config": json.dumps(keys)}


def _texts(keys: Mapping[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in keys.items()}


def _store_as_float16(graph: OnnxGraph) -> None:
    """Stores kernels as float16. ONNX Runtime converts them back once, when it loads the file, so the speed is the same."""
    casts = OnnxGraph()
    for name, value in list(graph.tensors.items()):
        if name.endswith("/kernel"):
            stored = graph.constant(as_float16(value), f"{name}/float16")
            casts.add("Cast", stored, output=name, to=1)  # float32
            del graph.tensors[name]
    graph.nodes[:0] = casts.nodes


def as_float16(kernel: np.ndarray) -> np.ndarray:
    """The kernel in float16. Raises UsageError if a weight is too large."""
    with np.errstate(over="ignore"):
        rounded = kernel.astype(np.float16)
    if not np.isfinite(rounded).all():
        raise UsageError("some weights are beyond 65504, the largest float16: export with --precision float32")
    return rounded


def _onnx() -> ModuleType:
    try:
        import onnx
    except ImportError:
        raise UsageError("onnx is not installed: pip install 'hifigan-jax[export]'") from None
    return onnx


def _model(onnx: ModuleType, graph: OnnxGraph, source: tuple[str, Shape], result: tuple[str, Shape], facts: Mapping[str, str]):
    """The ModelProto with one float32 input and one output, each a name and a shape."""
    from onnx import helper, numpy_helper

    float32 = onnx.TensorProto.FLOAT
    values = [helper.make_tensor_value_info(name, float32, shape) for name, shape in (source, result)]
    nodes = [helper.make_node(n.operator, n.inputs, [n.output], n.output, **n.attributes) for n in graph.nodes]
    tensors = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in graph.tensors.items()]
    content = helper.make_graph(nodes, "hifigan_jax", values[:1], values[1:], tensors)
    versions = dict(opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model = helper.make_model(content, producer_name="hifigan_jax", producer_version=__version__, **versions)
    helper.set_model_props(model, dict(facts))
    return model


def _write(onnx: ModuleType, model, path: Path) -> None:
    onnx.checker.check_model(model, full_check=True)  # infers all shapes
    with atomic_write(path) as temporary:
        Path(temporary).write_bytes(model.SerializeToString(deterministic=True))
