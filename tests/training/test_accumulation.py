"""Micro-batches and rematerialization change the memory of a step, not its result."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

from hifigan_jax.data import Batch
from hifigan_jax.models.discriminators.combined import Discriminator
from hifigan_jax.models.discriminators.period.discriminator import PeriodDiscriminator
from hifigan_jax.models.discriminators.scale.discriminator import ScaleDiscriminator
from hifigan_jax.training.setup import generator_of
from hifigan_jax.training.state import initial_state
from hifigan_jax.training.step import AXIS, make_train_step

ROWS = 3  # so that no mean over parts is exact by chance


@pytest.fixture(scope="module")
def compiled_step(shared_tiny_config):
    """compiled_step(...): the program of a float64 SGD step, its state and its batch, with a sub-discriminator of either kind."""

    @functools.cache
    def compiled_step(accumulation_steps=1, rematerialize=False):
        config = shared_tiny_config.replace({"rematerialize": rematerialize})
        generator = generator_of(config)
        parts = {"mpd_0": PeriodDiscriminator(2, 1 / 32), "msd_0": ScaleDiscriminator(0, True, 1 / 8)}
        discriminator = Discriminator(parts, rematerialize)
        arguments = generator, discriminator, lambda rate: optax.sgd(1e-3), config.mel, config.optimization
        state = jax.jit(lambda: initial_state(*arguments))()
        state = jax.tree.map(lambda leaf: leaf.astype(float) if leaf.dtype == jnp.float32 else leaf, state)
        step = make_train_step(
            generator=generator,
            discriminator=discriminator,
            optimizer=lambda rate: optax.sgd(1e-3),
            mel=config.mel,
            losses=config.losses,
            learning_rate=lambda epoch: jnp.float64(1e-3),
            batches_per_epoch=2,
            mesh=jax.make_mesh((1,), (AXIS,), (AxisType.Auto,), devices=jax.devices()[:1]),
            accumulation_steps=accumulation_steps,
        )
        batch = Batch(jnp.asarray(np.random.RandomState(0).normal(0, 0.1, (ROWS, config.optimization.segment_size))), None)
        return step.lower(state, batch).compile({"xla_backend_optimization_level": 0}), jax.device_get(state), batch

    return compiled_step


@pytest.mark.parametrize("option", [{"accumulation_steps": ROWS}, {"rematerialize": True}], ids=lambda option: next(iter(option)))
def test_the_result_is_that_of_the_plain_step(float64, compiled_step, option):
    (plain, before, batch), (frugal, same, _) = compiled_step(), compiled_step(**option)
    jax.tree.map(np.testing.assert_array_equal, same, before)
    (expected, losses), (after, frugal_losses) = plain(before, batch), frugal(same, batch)
    for name, value in losses.items():
        np.testing.assert_allclose(frugal_losses[name], value, rtol=1e-12, err_msg=name)
    for name in ("generator", "discriminator"):
        updates = [
            jnp.concatenate([jnp.ravel(a - b) for a, b in zip(*map(jax.tree.leaves, (state, before)), strict=True)])
            for before in [getattr(before, name).params]
            for state in (getattr(expected, name).params, getattr(after, name).params)
        ]
        assert jnp.linalg.norm(updates[0]) > 1e-6
        assert jnp.linalg.norm(updates[1] - updates[0]) <= 1e-9 * jnp.linalg.norm(updates[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), after.spectral, expected.spectral)
