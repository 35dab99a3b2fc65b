"""`hifigan-jax export`: generators for other runtimes."""

import argparse
import os
from pathlib import Path

from hifigan_jax import runtime
from hifigan_jax.errors import UsageError
from hifigan_jax.files import refuse_special


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The program's arguments."""
    result = argparse.ArgumentParser(name, description="Write a generator for other runtimes.")
    formats = result.add_subparsers(dest="format", required=True, metavar="FORMAT")
    onnx = formats.add_parser(
        "onnx",
        help="for ONNX Runtime, sherpa-onnx, OpenVINO, TensorRT, browsers",
        description="Write an ONNX graph from log-mels (batch, bins, frames) to audio (batch, samples).",
    )
    _add_source(onnx)
    onnx.add_argument("target", type=Path, metavar="ONNX", help="the file to write")
    onnx.add_argument(
        "--precision",
        choices=("float32", "float16"),
        default="float32",
        help="type of the stored kernels: float16 halves the file; computation is in float32 (default: float32)",
    )
    onnx.add_argument(
        "--with_mel", type=Path, metavar="ONNX", help="also write the graph from audio (batch, samples) to the model's log-mels"
    )
    stablehlo = formats.add_parser(
        "stablehlo",
        help="for jax on CPUs, CUDA and TPUs without hifigan_jax",
        description="Write a folder with a program for any number of utterances and frames, and a loader that needs only jax and"
        " flatbuffers.",
    )
    _add_source(stablehlo)
    stablehlo.add_argument("target", type=Path, metavar="FOLDER", help="new folder")
    stablehlo.add_argument("--weights_inside", action="store_true", help="store the weights as constants of the program")
    return result


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="run or checkpoint of hifigan_jax, PyTorch or .safetensors file, or pretrained model")
    parser.add_argument("--config", metavar="JSON", help="the model's configuration, if there is none next to the weights")


def main(options: argparse.Namespace) -> int:
    """Exports and prints the paths of the files; returns the exit code."""
    runtime.prepare(compile_cache=True, onednn=False)
    return {"onnx": _onnx, "stablehlo": _stablehlo}[options.format](options)


def _refuse_targets(options: argparse.Namespace) -> None:
    """Raises UsageError or DiskError, before a model is loaded, if a file would replace one of the sources or the other file."""
    targets = [target for target in (options.target, options.with_mel) if target]
    if len({os.path.realpath(target) for target in targets}) < len(targets):
        raise UsageError(f"--with_mel {options.with_mel}: is the file of the generator: choose another name")
    for target in targets:
        refuse_special(target)
        for source in (options.checkpoint, options.config):
            if source and os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
                raise UsageError(f"{target}: is the checkpoint or its configuration: choose another name")


def _onnx(options: argparse.Namespace) -> int:
    _refuse_targets(options)
    from hifigan_jax.export import onnx  # imports jax
    from hifigan_jax.export.rounding import float16_error
    from hifigan_jax.loading import load_generator

    generator = load_generator(options.checkpoint, options.config)
    onnx.export_onnx(generator, options.target, options.precision)
    print(options.target)
    if options.with_mel:
        onnx.export_mel_onnx(generator.config.mel, options.with_mel)
        print(options.with_mel)
    if options.precision == "float16":
        print(f"float16: on a test sound, the audio differs by {float16_error(generator)}")
    return 0


def _stablehlo(options: argparse.Namespace) -> int:
    from hifigan_jax.export.stablehlo import VALIDITY, export_stablehlo  # imports jax
    from hifigan_jax.loading import load_generator

    export_stablehlo(load_generator(options.checkpoint, options.config), options.target, options.weights_inside)
    print(options.target)
    print(VALIDITY)
    return 0
