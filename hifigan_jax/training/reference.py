"""Conversion of training states to and from the reference's `g_*` and `do_*` files."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hifigan_jax.config import Config
from hifigan_jax.errors import CheckpointError
from hifigan_jax.models.registry import DISCRIMINATORS
from hifigan_jax.training.setup import first_state
from hifigan_jax.training.state import NetworkState, Optimizer, TrainState, adamw, from_parts, to_parts
from hifigan_jax.trees import shape_difference
from hifigan_jax.weights.reference_run import read_run, write_run

logger = logging.getLogger(__name__)


def read_reference_state(pair: tuple[Path, Path], config: Config) -> TrainState:
    """The state in a pair of `g_*` and `do_*` files, as numpy arrays, with `batch_in_epoch` 0.

    The learning rate follows from the epoch; a warning is logged if the file contains another. Raises CheckpointError for files
    that cannot be read or do not match the configuration.
    """
    run = read_run(*pair)
    state, expected = state_of_run(run, adamw(config.optimization)), state_shapes(config)
    difference = shape_difference(state, expected)
    if difference:
        raise CheckpointError(f"{pair[1]}: does not match the configuration: {difference}: pass the run's own with --config")
    rate = config.optimization.learning_rate * config.optimization.lr_decay ** run["epoch"]
    for network in ("generator", "discriminator"):
        if not math.isclose(run[network]["lr"], rate, rel_tol=1e-6):
            logger.warning(
                "%s: the %s's learning rate was %.6g; resuming with learning_rate x lr_decay^epoch, %.6g in epoch %d",
                *(pair[1], network, run[network]["lr"], rate, run["epoch"]),
            )
    parts, like = to_parts(state), to_parts(expected)
    for part, leaves in parts.items():
        leaves.update({name: np.asarray(leaf, like[part][name].dtype) for name, leaf in leaves.items()})
    return from_parts(parts, expected)


def write_reference_state(folder: Path, state: TrainState, config: Config) -> tuple[Path, Path]:
    """Writes the state as a pair of `g_*` and `do_*` files; returns their paths. Raises DiskError."""
    reference = {name: DISCRIMINATORS[name]() for name in ("mpd", "msd")}
    if config.discriminators != reference:
        logger.warning("the discriminators differ from the reference's, which cannot load this do_* file")
    run = run_of_state(jax.device_get(state), config)
    options = config.optimization
    return write_run(folder, run, (options.adam_b1, options.adam_b2), options.weight_decay, options.learning_rate)


def state_of_run(run: Mapping[str, Any], optimizer: Optimizer) -> TrainState:
    """The training state of a run of the reference (see `weights.reference_run`), with `batch_in_epoch` 0."""

    def network(given):
        blank = jax.eval_shape(lambda: optimizer(jnp.float32(0)).init(given["params"]))
        values = {"count": np.int32(given["count"]), "mu": given["mu"], "nu": given["nu"]}
        return NetworkState(given["params"], optax.tree_utils.tree_set(blank, **values))

    position = np.int32(run["steps"] + 1), np.int32(run["epoch"]), np.int32(0)
    return TrainState(*position, network(run["generator"]), network(run["discriminator"]), run["spectral"])


def run_of_state(state: TrainState, config: Config) -> dict[str, Any]:
    """The inverse of `state_of_run`, for AdamW, with the learning rate of the state's epoch."""
    rate = config.optimization.learning_rate * config.optimization.lr_decay ** int(state.epoch)

    def network(given):
        mu, nu, count = (optax.tree_utils.tree_get(given.opt_state, key) for key in ("mu", "nu", "count"))
        return {"params": given.params, "mu": mu, "nu": nu, "count": int(count), "lr": rate}

    return {
        "generator": network(state.generator),
        "discriminator": network(state.discriminator),
        "spectral": state.spectral,
        "steps": int(state.step) - 1,
        "epoch": int(state.epoch),
    }


def state_shapes(config: Config) -> TrainState:
    """The shapes and dtypes of the state that a configuration trains with AdamW."""
    return jax.eval_shape(lambda: first_state(config))
