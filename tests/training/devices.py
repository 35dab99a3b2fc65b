"""Run by test_devices.py with eight devices: compares one SGD step on one device with one on several; prints JSON."""

import json
import math
import re
import sys

import jax
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.data import Batch
from hifigan_jax.models.discriminators.combined import Discriminator
from hifigan_jax.models.discriminators.period.discriminator import PeriodDiscriminator
from hifigan_jax.models.discriminators.scale.discriminator import ScaleDiscriminator
from hifigan_jax.training.setup import generator_of
from hifigan_jax.training.state import initial_state
from hifigan_jax.training.step import AXIS, make_train_step

CONFIG = load_config(
    packaged_config("config_v3"),
    {
        "upsample_initial_channel": 16,
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 2]],
        "batch_size": 8,
        "segment_size": 2048,
    },
)
# One sub-discriminator of either kind: all eight take minutes to compile for all numbers of devices.
DISCRIMINATOR = Discriminator({"mpd_0": PeriodDiscriminator(2, 1 / 8), "msd_0": ScaleDiscriminator(0, True, 1 / 8)})


def start(dtype: str):
    """A state in `dtype`; its random values are drawn in float32 for both."""
    models = generator_of(CONFIG), DISCRIMINATOR
    sections = CONFIG.mel, CONFIG.optimization
    state = jax.device_get(jax.jit(lambda: initial_state(*models, lambda rate: optax.sgd(1.0), *sections))())
    jax.config.update("jax_enable_x64", dtype == "float64")
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if leaf.dtype == np.float32 else leaf, state)


def gradients(before, devices: int, micro_batches: int = 1):
    """The gradients of both networks by (before - after) / rate, and the compiled program."""
    mesh = jax.make_mesh((devices,), (AXIS,), (AxisType.Auto,), devices=jax.devices()[:devices])
    step = make_train_step(
        generator=generator_of(CONFIG),
        discriminator=DISCRIMINATOR,
        optimizer=lambda rate: optax.sgd(1.0),
        mel=CONFIG.mel,
        losses=CONFIG.losses,
        learning_rate=lambda epoch: CONFIG.optimization.learning_rate * CONFIG.optimization.lr_decay**epoch,
        batches_per_epoch=10,
        mesh=mesh,
        accumulation_steps=micro_batches,
    )
    audio = np.random.RandomState(0).normal(0, 0.1, (CONFIG.optimization.batch_size, CONFIG.optimization.segment_size))
    audio = audio.astype(jax.tree.leaves(before.generator.params)[0].dtype)
    state = jax.device_put(before, NamedSharding(mesh, PartitionSpec()))
    batch = Batch(jax.device_put(audio, NamedSharding(mesh, PartitionSpec(AXIS))), None)
    compiled = step.lower(state, batch).compile({"xla_backend_optimization_level": 0})
    after, _ = compiled(state, batch)
    after = jax.device_get(after)
    networks = ("discriminator", "generator")
    found = {name: difference(getattr(before, name).params, getattr(after, name).params) for name in networks}
    return found, compiled


def values_all_reduced(program: str) -> int:
    """The total number of values that the program's all-reduces exchange."""
    results = re.findall(r"= (.*) all-reduce(?:-start)?\(", program)
    shapes = [shape for result in results for shape in re.findall(r"\b[a-z]+[0-9]+\[([0-9,]*)\]", result)]
    return sum(math.prod(int(size) for size in shape.split(",") if size) for shape in shapes)


def other_collectives(program: str) -> list[str]:
    """The kinds of all other transfers between devices."""
    return re.findall(r" (all-gather|all-to-all|collective-[a-z]+|reduce-scatter|ragged-all-to-all|send|recv)[a-z-]*\(", program)


def difference(before, after) -> np.ndarray:
    leaves = jax.tree.leaves(jax.tree.map(lambda b, a: (b.astype(np.float64) - a).ravel(), before, after))
    return np.concatenate(leaves)


def main(dtype: str, micro_batches: int, numbers: list[int]) -> None:
    before = start(dtype)
    networks = (before.generator, before.discriminator)
    parameters = sum(leaf.size for network in networks for leaf in jax.tree.leaves(network.params))
    alone, program_alone = gradients(before, 1)
    rows = []
    for devices in numbers:
        found, program = gradients(before, devices, micro_batches)
        distance = {name: np.linalg.norm(found[name] - alone[name]) / np.linalg.norm(alone[name]) for name in found}
        measured = {
            "devices": devices,
            "parameters": parameters,
            "all_reduces": len(re.findall(r" all-reduce(?:-start)?\(", program.as_text())),
            "values_all_reduced": values_all_reduced(program.as_text()),
            "other_collectives": other_collectives(program.as_text()),
            "share_of_flops": program.cost_analysis()["flops"] / program_alone.cost_analysis()["flops"],
        }
        rows.append(measured | distance)
    print(json.dumps(rows))


main(sys.argv[1], int(sys.argv[2]), [int(number) for number in sys.argv[3:]])
