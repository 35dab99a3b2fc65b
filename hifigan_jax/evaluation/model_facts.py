"""The size, the operations and the speed of the models of an evaluation."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hifigan_jax.errors import CheckpointError, HifiganError
from hifigan_jax.evaluation.systems import model_digest
from hifigan_jax.evaluation.table import SPEED_COLUMNS

FRAMES, ROUNDS = 396, 9  # of the timed utterance; timed calls, whose median counts
_COUNTED_FRAMES = 1000  # operations at the ends of an utterance do not matter then
_GPU = ("gpu", "cuda", "rocm")


class Facts(NamedTuple):
    """Values of MODEL_COLUMNS by system, what is wrong with other systems, and how the speed was measured."""

    values: dict[str, dict[str, int | float]]
    problems: list[str]
    speed: str


def facts(models: Mapping[str, Mapping[str, Any]], columns: Sequence[str], dtype: str = "float32") -> Facts:
    """The facts of `models`, systems of a results.json, that `columns` name. Without a GPU there is no speed on one.

    A model that cannot be loaded, or is not the one that was evaluated, is a problem.
    """
    devices = _devices(columns) if any(name in SPEED_COLUMNS for name in columns) else {}
    values: dict[str, dict[str, int | float]] = {}
    problems: list[str] = []
    speeds: dict[tuple[str, str], float] = {}
    for name, content in models.items():
        try:
            generator = _load(content)
        except HifiganError as error:
            problems.append(f"{name}: {error}")
            continue
        config = generator.config.replace({"compute_dtype": dtype})
        values[name] = {"parameters": parameters(generator.params), "macs": macs(config)}
        for column, device in devices.items():
            key = column, repr((config.generator, config.mel))
            if key not in speeds:  # which does not depend on the weights
                speeds[key] = real_time(config, device)
            values[name][column] = speeds[key]
    return Facts(values, problems, _about(devices, dtype) if speeds else "")


def parameters(params: Any) -> int:
    """The number of parameters after weight normalization has been folded into the kernels, as publications count them."""
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(params)
    return sum(leaf.size for path, leaf in leaves if path[-1].key != "g")  # the gains of weight norm


def macs(config: Any) -> float:
    """Multiply-accumulate operations of convolutions and matrix products per second of audio."""
    from hifigan_jax.flops import generator_flops

    seconds = _COUNTED_FRAMES * config.mel.hop_size / config.mel.sampling_rate
    return generator_flops(config, _COUNTED_FRAMES) / 2 / seconds


def real_time(config: Any, device: Any) -> float:
    """Seconds of audio per second of synthesis: one utterance of FRAMES frames, median of ROUNDS calls, with transfers."""
    from hifigan_jax import benchmark

    median = benchmark.measure(lambda: benchmark.synthesis(config, FRAMES, 1, [device]), ROUNDS)["median"]
    return FRAMES * config.mel.hop_size / config.mel.sampling_rate / median


def _load(content: Mapping[str, Any]) -> Any:
    from hifigan_jax.loading import load_generator

    generator = load_generator(content["source"])
    if model_digest(generator.params, generator.config) != content["sha256"]:
        raise CheckpointError(f"{content['source']} is not the model that was evaluated: evaluate again")
    return generator


def _devices(columns: Sequence[str]) -> dict[str, Any]:
    """The devices to measure on by speed column."""
    import jax

    found = {"real_time_cpu": jax.devices("cpu")[0]}
    if jax.devices()[0].platform in _GPU:
        found["real_time_gpu"] = jax.devices()[0]
    return {name: device for name, device in found.items() if name in columns}


def _about(devices: Mapping[str, Any], dtype: str) -> str:
    from hifigan_jax import benchmark

    names = [benchmark.about_cpu() if device.platform == "cpu" else device.device_kind for device in devices.values()]
    how = f"one utterance of {FRAMES} frames, median of {ROUNDS} calls, {dtype}, jax {importlib.metadata.version('jax')}"
    return f"x real time: {how}; {'; '.join(names)}"
