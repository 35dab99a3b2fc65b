"""The systems that compare.py times, each in its own process and with its own interpreter.

    python benchmarks/systems.py NAME synthesis|training --config JSON [...]

When ready, it prints one JSON line (versions, start-up time). For each line on stdin it runs its work once and prints the seconds
that this took. hifigan_jax needs no torch; the other systems need the extras `parity` and `peers`.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from hifigan_jax.config import Config, load_config

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "parity"))


def hifigan_jax(options: argparse.Namespace, config: Config):
    """Return the work of hifigan_jax, as users call it."""
    from hifigan_jax import runtime

    synthesis = options.task == "synthesis"
    runtime.prepare(compile_cache=False, training=None if synthesis else options.compute_dtype)
    from hifigan_jax import benchmark

    if synthesis:
        return benchmark.synthesis(config, options.frames, options.batch_size)
    return benchmark.training(config)


def torch(options: argparse.Namespace, config: Config):
    """Return the work of the reference's modules in eager torch. For synthesis weight norm is removed, as in its inference.py."""
    import peer
    import torch

    torch.set_num_threads(options.threads)
    if options.task == "training":
        modules = (peer.generator(config), *peer.discriminators(config))
        weights = [{name: tensor.numpy() for name, tensor in module.state_dict().items()} for module in modules]
        trainer = peer.Trainer(config, weights)
        audio = noise(config.optimization.batch_size, config.optimization.segment_size)
        return lambda: trainer.step(audio)
    generator = reference_generator(config)
    mel = random_mel(config, options)
    return lambda: run_torch(generator, mel)


def onnxruntime(options: argparse.Namespace, config: Config, exported=None):
    """Return the work of ONNX Runtime on an ONNX file: the reference's own export, or `exported`."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    with (exported or reference_export)(config) as path:
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    mel = random_mel(config, options)
    return lambda: session.run(None, {"mel": mel})


def openvino(options: argparse.Namespace, config: Config, exported=None):
    """Return the work of OpenVINO on an ONNX file, as in `onnxruntime`, in the precision of --compute_dtype."""
    import openvino

    core = openvino.Core()
    hints = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16}
    settings = {"INFERENCE_NUM_THREADS": options.threads, "INFERENCE_PRECISION_HINT": hints[options.compute_dtype]}
    mel = random_mel(config, options)
    with (exported or reference_export)(config) as path:
        model = core.read_model(path)
        model.reshape(list(mel.shape))  # OpenVINO is fastest with a fixed shape
        compiled = core.compile_model(model, "CPU", settings | {"PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    return lambda: request.infer({0: mel})


def reference_generator(config: Config):
    """Return the reference's generator in torch, without weight norm."""
    import peer

    generator = peer.generator(config).eval()
    generator.remove_weight_norm()
    return generator


def run_torch(generator, mel: np.ndarray) -> np.ndarray:
    """Return the audio of a mel."""
    import torch

    with torch.no_grad():
        return generator(torch.from_numpy(mel)).numpy()


@contextlib.contextmanager
def reference_export(config: Config):
    """Yield the path of the reference's generator as ONNX, with a dynamic length."""
    import torch

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        path = str(Path(folder) / "generator.onnx")
        axes = {"mel": {0: "batch", 2: "frames"}, "audio": {0: "batch", 2: "samples"}}
        example = torch.zeros(1, config.mel.num_mels, 32)
        names = {"input_names": ["mel"], "output_names": ["audio"]}
        torch.onnx.export(reference_generator(config), example, path, dynamic_axes=axes, dynamo=False, **names)
        yield path


@contextlib.contextmanager
def own_export(config: Config):
    """Yield the path of our ONNX file of the same generator, with the same weights."""
    from hifigan_jax.export.onnx import export_onnx
    from hifigan_jax.generator_file import Generator

    weights = {name: tensor.numpy() for name, tensor in reference_generator(config).state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generator.onnx"
        export_onnx(Generator(config, config.generator.params_of(weights, config.mel), __file__), path)
        yield str(path)


def random_mel(config: Config, options: argparse.Namespace) -> np.ndarray:
    """Return random mels (B, M, F), distributed about as log-mels are."""
    return np.random.default_rng(0).normal(-5, 2, (options.batch_size, config.mel.num_mels, options.frames)).astype(np.float32)


def noise(rows: int, samples: int) -> np.ndarray:
    """Return random audio [B, T]."""
    return np.random.default_rng(0).normal(0, 0.1, (rows, samples)).astype(np.float32)


OWN = "_own"  # the suffix of the systems that run our ONNX file
SYSTEMS = {"hifigan_jax": hifigan_jax, "torch": torch, "onnxruntime": onnxruntime, "openvino": openvino}
SYSTEMS |= {name + OWN: partial(SYSTEMS[name], exported=own_export) for name in ("onnxruntime", "openvino")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SYSTEMS)
    parser.add_argument("task", choices=("synthesis", "training"))
    parser.add_argument("--config", required=True)
    parser.add_argument("--frames", type=int, default=396)
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--compute_dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    overrides = {"batch_size": options.batch_size}
    if options.name == "hifigan_jax" and options.compute_dtype != "float32":
        overrides["compute_dtype"] = options.compute_dtype
    config = load_config(options.config, overrides)
    start = time.perf_counter()
    work = SYSTEMS[options.name](options, config)
    work()
    work()
    libraries = ("jax", "jaxlib") if options.name == "hifigan_jax" else (options.name.removesuffix(OWN),)
    versions = {library: importlib.metadata.version(library) for library in libraries} | {"Python": platform.python_version()}
    print(json.dumps({"versions": versions, "seconds_to_start": time.perf_counter() - start}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
