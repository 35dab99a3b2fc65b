"""Times synthesis and the training step, as their users call them, on made-up data, and says on what."""

import importlib.metadata
import platform
import resource
import statistics
import subprocess
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
from hifigan_jax.models.generator import Conditions
from hifigan_jax.platforms import platform as row_of
from hifigan_jax.runtime import Compilations
from hifigan_jax.synthesis import Vocoder
from hifigan_jax.training.setup import mesh_over, placed_first_state, train_step
from hifigan_jax.training.step import AXIS

PRODUCT_SIZES = (2048, 4096)  # of the matrix products that a device's peak is taken from


def measure(work: Callable[[], Callable[[], Any]], rounds: int) -> dict[str, Any]:
    """Medians and extremes of `rounds` calls of what `work()` makes, after two calls that aren't timed; seconds.

    `compile_seconds` is the time that compilers took until then. Peak memory is in bytes: the device's where it tells, else the
    whole process's.
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
    """FLOP/s of one device: the best median of square matrix products by jax, and by numpy where it shares the CPU."""
    by = {"jax": lambda a: jax.block_until_ready(product(a))}
    product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    if row_of(jax.devices()[0].platform).shares_host and dtype == "float32":
        by["numpy"] = lambda a: np.matmul(a, a)
    best = 0.0
    for size in PRODUCT_SIZES:
        values = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
        for name, multiply in by.items():
            a = values if name == "numpy" else jnp.asarray(values, dtype)
            best = max(best, 2 * size**3 / measure(lambda a=a, multiply=multiply: lambda: multiply(a), 5)["median"])
    return best


def peak_memory(device: jax.Device) -> int:
    """The most bytes that were in use at once."""
    stats = device.memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def about(devices: Sequence[jax.Device]) -> str:
    """The devices, the machine and the versions, in one line."""
    kind = devices[0].device_kind if devices[0].platform != "cpu" else processor()
    versions = ", ".join(f"{library} {importlib.metadata.version(library)}" for library in ("jax", "jaxlib", "flax"))
    return f"{len(devices)} x {kind}, Python {platform.python_version()}, {versions}"


def provenance(script: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What produced a file of results: command, commit, date, processor, versions."""
    here = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True).stdout.strip()
    return {
        "command": " ".join(["python", script, *arguments]),
        "commit": commit or None,
        "date": time.strftime("%Y-%m-%d"),
        "about": about(jax.devices()),
    }


def random_params(config: Config) -> Any:
    """A generator's parameters, spread much as training's first ones are, from numpy: it compiles nothing."""
    draws = np.random.default_rng(0)

    def drawn(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if path[-1].key == "g":
            return np.full(leaf.shape, 3**-0.5, leaf.dtype)  # the norm of n draws from U(-1/sqrt(n), 1/sqrt(n)) for large n
        return draws.uniform(-0.05, 0.05, leaf.shape).astype(leaf.dtype)  # of v, only the direction counts

    example = Conditions(np.zeros((1, 8, config.mel.num_mels), np.float32))
    generator = config.generator.build(config.mel)
    shapes = jax.eval_shape(generator.init, jax.random.key(0), example)["params"]
    return jax.tree_util.tree_map_with_path(drawn, shapes)


def synthesis(config: Config, frames: int, rows: int, devices: Sequence[jax.Device] | None = None) -> Callable[[], np.ndarray]:
    """Decodes one and the same batch of mels of random numbers, (rows, M, frames), each time it is called."""
    vocoder = Vocoder(config, random_params(config), devices)
    mel = np.random.default_rng(0).normal(-5, 2, (rows, config.mel.num_mels, frames)).astype(np.float32)
    return lambda: vocoder.decode(mel)


def training(config: Config, mesh: Mesh | None = None) -> Callable[[], dict[str, float]]:
    """Makes one more training step on one and the same batch each time it is called, and waits for it."""
    mesh = mesh_over(config) if mesh is None else mesh
    replicated, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    state = placed_first_state(config, replicated)
    step = train_step(config, 1000, mesh)
    rows, samples = config.optimization.batch_size, config.optimization.segment_size
    audio = np.random.default_rng(0).normal(0, 0.1, (rows, samples)).astype(np.float32)
    batch = Batch(jax.device_put(audio, split), None)

    def one_more() -> dict[str, float]:
        nonlocal state
        state, metrics = step(state, batch)
        jax.block_until_ready(state)
        return {name: float(value) for name, value in metrics.items()}

    return one_more


def processor() -> str:
    """The CPU's name."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "CPU"
