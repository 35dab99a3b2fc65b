"""Training states to and from the reference's `g_*` and `do_*` files."""

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
    """The state, of numpy arrays, that a pair of `g_*` and `do_*` files holds; its place in the epoch is left at 0.

    The learning rate is not read but follows from the epoch; a warning says so where the file's differs. Raises CheckpointError
    for files that can't be read or don't fit the configuration.
    """
    run = read_run(*pair)
    state, expected = state_of_run(run, adamw(config.optimization)), state_shapes(config)
    difference = shape_difference(state, expected)
    if difference:
        raise CheckpointError(f"{pair[1]}: doesn't fit the configuration: {difference}: name its own with --config")
    rate = config.optimization.learning_rate * config.optimization.lr_decay ** run["epoch"]
    for network in ("generator", "discriminator"):
        if not math.isclose(run[network]["lr"], rate, rel_tol=1e-6):
            logger.warning(
                "%s: the %s's learning rate was %.6g; going on with learning_rate x lr_decay^epoch, %.6g in epoch %d",
                *(pair[1], network, run[network]["lr"], rate, run["epoch"]),
            )
    parts, like = to_parts(state), to_parts(expected)
    for part, leaves in parts.items():
        leaves.update({name: np.asarray(leaf, like[part][name].dtype) for name, leaf in leaves.items()})
    return from_parts(parts, expected)


def write_reference_state(folder: Path, state: TrainState, config: Config) -> tuple[Path, Path]:
    """Writes the pair of files `g_*` and `do_*` that hold the state; returns their paths. Raises DiskError."""
    theirs = {name: DISCRIMINATORS[name]() for name in ("mpd", "msd")}
    if config.discriminators != theirs:
        logger.warning("the reference's own MPD and MSD are others: this do_* file is for us alone")
    run = run_of_state(jax.device_get(state), config)
    options = config.optimization
    return write_run(folder, run, (options.adam_b1, options.adam_b2), options.weight_decay, options.learning_rate)


def state_of_run(run: Mapping[str, Any], optimizer: Optimizer) -> TrainState:
    """The state in which a run of the reference stood (see `weights.reference_run`), with its place in the epoch left at 0."""

    def network(given):
        blank = jax.eval_shape(lambda: optimizer(jnp.float32(0)).init(given["params"]))
        moments = {"count": np.int32(given["count"]), "mu": given["mu"], "nu": given["nu"]}
        return NetworkState(given["params"], optax.tree_utils.tree_set(blank, **moments))

    place = np.int32(run["steps"] + 1), np.int32(run["epoch"]), np.int32(0)
    return TrainState(*place, network(run["generator"]), network(run["discriminator"]), run["spectral"])


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
