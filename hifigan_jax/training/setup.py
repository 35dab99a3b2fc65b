"""The mesh, the networks, the first state and the training step of a configuration."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.interpreters import partial_eval
from jax.sharding import AxisType, Mesh, NamedSharding

from hifigan_jax.config import Config
from hifigan_jax.data import Batch
from hifigan_jax.errors import UsageError
from hifigan_jax.models.discriminators.combined import Discriminator, build_discriminator
from hifigan_jax.training.state import Optimizer, TrainState, adamw, initial_state, learning_rate
from hifigan_jax.training.step import AXIS, make_train_step


def mesh_over(config: Config, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The devices (default: all) that batches are sharded over. Raises UsageError if a batch cannot be split evenly."""
    batch_size, parts = config.optimization.batch_size, config.optimization.accumulation_steps
    count = jax.device_count() if devices is None else len(devices)
    if batch_size % count:
        raise UsageError(f"batch_size {batch_size} cannot be split evenly over {count} devices: make it a multiple of {count}")
    rows = batch_size // count
    if rows % parts:
        raise UsageError(
            f"accumulation_steps {parts}: the {rows} rows on each of {count} devices cannot be split into {parts} equal"
            " micro-batches: change accumulation_steps or batch_size"
        )
    return jax.make_mesh((count,), (AXIS,), (AxisType.Auto,), devices=devices)


def generator_of(config: Config) -> nn.Module:
    """The generator to train."""
    options = config.optimization
    return config.generator.build(config.mel, compute_dtype=options.compute_dtype, rematerialize=options.rematerialize)


def discriminator_of(config: Config) -> Discriminator:
    """All discriminators to train against, as one module."""
    options = config.optimization
    return build_discriminator(config.discriminators, options.compute_dtype, options.rematerialize)


def first_state(config: Config, optimizer: Optimizer | None = None) -> TrainState:
    """`initial_state` of the configuration's models; the default optimizer is the reference's. Traceable."""
    optimizer = optimizer or adamw(config.optimization)
    return initial_state(generator_of(config), discriminator_of(config), optimizer, config.mel, config.optimization)


def placed_first_state(config: Config, sharding: NamedSharding) -> TrainState:
    """`first_state`, replicated over all devices of `sharding`, in all processes.

    Runs only the operations that the state depends on (no forward pass), one at a time: compiling one program per random-number
    shape takes less than half the time of compiling `first_state` as one program. The random numbers are the same. Gains, which
    are sums, can differ in the last bit.
    """
    traced, shapes = jax.make_jaxpr(lambda: first_state(config), return_shape=True)()
    needed, _ = partial_eval.dce_jaxpr(traced.jaxpr, [True] * len(traced.jaxpr.outvars))

    def placed(leaf):
        copies = [jax.device_put(leaf, device) for device in sharding.addressable_devices]
        return jax.make_array_from_single_device_arrays(leaf.shape, sharding, copies)

    leaves = jaxpr_as_fun(ClosedJaxpr(needed, traced.consts))()
    return jax.tree.unflatten(jax.tree.structure(shapes), map(placed, leaves))


def train_step(
    config: Config, batches_per_epoch: int, mesh: Mesh, optimizer: Optimizer | None = None
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """`make_train_step` of the configuration's models; the default optimizer is the reference's."""
    return make_train_step(
        generator=generator_of(config),
        discriminator=discriminator_of(config),
        optimizer=optimizer or adamw(config.optimization),
        mel=config.mel,
        losses=config.losses,
        learning_rate=learning_rate(config.optimization),
        batches_per_epoch=batches_per_epoch,
        mesh=mesh,
        accumulation_steps=config.optimization.accumulation_steps,
    )
