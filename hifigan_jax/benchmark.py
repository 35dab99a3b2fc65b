"""Time synthesis and the training step on random data, as users call them, and record what was measured and how."""

import importlib.metadata
import json
import platform
import re
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hifigan_jax.config import Config
from hifigan_jax.data import Batch
from hifigan_jax.files import atomic_write
from hifigan_jax.machine import commit, processor, usable_processors
from hifigan_jax.models.generator import Conditions
from hifigan_jax.platforms import platform as row_of
from hifigan_jax.runtime import Compilations
from hifigan_jax.synthesis import Vocoder
from hifigan_jax.training.setup import mesh_over, placed_first_state, train_step
from hifigan_jax.training.step import AXIS

PRODUCT_SIZES = (2048, 4096)  # rows and columns of the matrices whose product measures a device's peak


def measure(work: Callable[[], Callable[[], Any]], rounds: int) -> dict[str, Any]:
    """Time `rounds` calls of the function that `work()` returns, after two untimed calls. Times are in seconds.

    `start_seconds` covers `work()` and the untimed calls; `compile_seconds` is the part of it spent in the compiler. `peak_bytes`
    is the device's peak memory if the device reports it, else the peak memory of the process.
    """
    compiling = Compilations()
    began = time.perf_counter()
    call = work()
    call()
    call()
    start, compile_seconds = time.perf_counter() - began, compiling.seconds
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return {
        "median": statistics.median(seconds),
        "seconds": seconds,
        "compile_seconds": compile_seconds,
        "start_seconds": start,
        "peak_bytes": peak_memory(jax.devices()[0]),
    }


def peak_flops(dtype: str) -> float:
    """Return the FLOP/s of one device: the best median over square matrix products by jax, and on CPUs by numpy too."""
    libraries = {"jax": lambda a: jax.block_until_ready(product(a))}
    product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    if row_of(jax.devices()[0].platform).shares_host and dtype == "float32":
        libraries["numpy"] = lambda a: np.matmul(a, a)
    best = 0.0
    for size in PRODUCT_SIZES:
        values = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
        for name, multiply in libraries.items():
            a = values if name == "numpy" else jnp.asarray(values, dtype)
            best = max(best, 2 * size**3 / measure(lambda a=a, multiply=multiply: lambda: multiply(a), 5)["median"])
    return best


def peak_memory(device: jax.Device) -> int:
    """Return the peak memory in bytes: the device's if it reports it, else that of the process."""
    stats = device.memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def about(devices: Sequence[jax.Device]) -> str:
    """Describe the devices and the versions in one line."""
    hardware = about_cpu() if devices[0].platform == "cpu" else f"{len(devices)} x {devices[0].device_kind}"
    versions = ", ".join(f"{library} {importlib.metadata.version(library)}" for library in ("jax", "jaxlib", "flax"))
    return f"{hardware}, Python {platform.python_version()}, {versions}"


def about_cpu(threads: int | None = None) -> str:
    """Describe the CPU and the number of threads (default: those that this process may use)."""
    return f"{processor()}, {threads or usable_processors()} threads"


def provenance() -> dict[str, Any]:
    """Return what produced a file of results: command, commit, date, CPU or accelerator, and versions."""
    return {
        "command": command_line(sys.argv),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "about": about(jax.devices()),
    }


def command_line(arguments: Sequence[str]) -> str:
    """Return the command that was run. Absolute paths are shortened to their last component."""
    script = Path(arguments[0])
    program = ["python", f"{script.parent.name}/{script.name}"] if script.suffix == ".py" else [script.name]
    return shlex.join([*program, *(re.sub(r"(^|=)/(?:[^/]*/)*([^/]+)/?$", r"\1\2", argument) for argument in arguments[1:])])


def write_results(path: str | Path, content: dict[str, Any]) -> None:
    """Write `content`, preceded by its `provenance`, as JSON. The file is replaced atomically. Raises DiskError."""
    text = json.dumps({**provenance(), **content}, indent=1, default=float) + "\n"
    with atomic_write(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def random_params(config: Config) -> Any:
    """Return random generator parameters, distributed about as at the start of training. Uses numpy, so nothing is compiled."""
    random = np.random.default_rng(0)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if path[-1].key == "g":
            return np.full(leaf.shape, 3**-0.5, leaf.dtype)  # the norm of n draws from U(-1/sqrt(n), 1/sqrt(n)) for large n
        return random.uniform(-0.05, 0.05, leaf.shape).astype(leaf.dtype)  # only the direction of v matters

    example = Conditions(np.zeros((1, 8, config.mel.num_mels), np.float32))
    generator = config.generator.build(config.mel)
    shapes = jax.eval_shape(generator.init, jax.random.key(0), example)["params"]
    return jax.tree_util.tree_map_with_path(draw, shapes)


def synthesis(config: Config, frames: int, rows: int, devices: Sequence[jax.Device] | None = None) -> Callable[[], np.ndarray]:
    """Return a function that decodes the same random mels (rows, M, frames) at each call."""
    vocoder = Vocoder(config, random_params(config), devices)
    mel = np.random.default_rng(0).normal(-5, 2, (rows, config.mel.num_mels, frames)).astype(np.float32)
    return lambda: vocoder.decode(mel)


def training(config: Config, mesh: Mesh | None = None) -> Callable[[], dict[str, float]]:
    """Return a function that runs one training step, always on the same random batch, and waits for its result."""
    mesh = mesh_over(config) if mesh is None else mesh
    replicated, sharded = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    state = placed_first_state(config, replicated)
    step = train_step(config, 1000, mesh)
    rows, samples = config.optimization.batch_size, config.optimization.segment_size
    audio = np.random.default_rng(0).normal(0, 0.1, (rows, samples)).astype(np.float32)
    batch = Batch(jax.device_put(audio, sharded), None)

    def run_step() -> dict[str, float]:
        nonlocal state
        state, metrics = step(state, batch)
        jax.block_until_ready(state)
        return {name: float(value) for name, value in metrics.items()}

    return run_step
