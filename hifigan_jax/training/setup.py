"""What a configuration says of training: over which devices, from which state, by which step."""

from collections.abc import Callable, Sequence

import jax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.interpreters import partial_eval
from jax.sharding import AxisType, Mesh, NamedSharding

from hifigan_jax.config import Config
from hifigan_jax.data import Batch
from hifigan_jax.errors import UsageError
from hifigan_jax.mel import input_mel, loss_mel
from hifigan_jax.models import build_discriminator, build_generator
from hifigan_jax.training.state import Optimizer, TrainState, adamw, initial_state, learning_rate
from hifigan_jax.training.step import AXIS, make_train_step


def mesh_over(config: Config, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The devices (default: all) that batches are split over. Raises UsageError where a batch can't be."""
    count = jax.device_count() if devices is None else len(devices)
    if config.batch_size % count:
        raise UsageError(f"batch_size {config.batch_size} can't be split evenly over {count} devices: make it a multiple")
    rows = config.batch_size // count
    if rows % config.accumulation_steps:
        raise UsageError(
            f"accumulation_steps {config.accumulation_steps}: the {rows} rows of each of {count} devices can't be cut into as"
            " many equal parts: change it or batch_size"
        )
    return jax.make_mesh((count,), (AXIS,), (AxisType.Auto,), devices=devices)


def first_state(config: Config, optimizer: Optimizer | None = None) -> TrainState:
    """`initial_state` of the configuration's models, for the reference's optimizer if no other is given. Traceable."""
    return initial_state(build_generator(config), build_discriminator(config), optimizer or adamw(config), config)


def placed_first_state(config: Config, sharding: NamedSharding) -> TrainState:
    """`first_state` on all devices of `sharding`, which gives each of them, in whatever process, the whole.

    Only what the state needs of it is computed (no pass through the models), and one operation after the other: a program for
    each shape of a draw compiles in less than half the time of one program of all draws. The draws are the same; gains, which
    are sums, can differ from that program's by a rounding.
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
    """`make_train_step` of the configuration's models, for the reference's optimizer if no other is given."""
    return make_train_step(
        generator=build_generator(config),
        discriminator=build_discriminator(config),
        optimizer=optimizer or adamw(config),
        input_mel=input_mel(config),
        loss_mel=loss_mel(config),
        loss_weights=config.loss_weights,
        learning_rate=learning_rate(config),
        batches_per_epoch=batches_per_epoch,
        mesh=mesh,
        adversarial_from_step=config.adversarial_from_step,
        accumulation_steps=config.accumulation_steps,
    )
