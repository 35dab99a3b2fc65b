"""A few training steps of V3 with the full discriminators in float64, small enough for a test: batch 1, 2,048 samples."""

import functools

import cases
import jax
import numpy as np

from hifigan_jax.data import Batch
from hifigan_jax.training.reference import state_of_run
from hifigan_jax.training.setup import mesh_over, train_step
from hifigan_jax.training.state import TrainState, adamw
from hifigan_jax.weights.jik876 import discriminator_variables, generator_params

CONFIG = cases.CONFIGS["v3"].model_copy(update={"batch_size": 1, "segment_size": 2048})
STEPS = 4
TERMS = ("discriminator", "generator", "adversarial", "feature_matching", "mel")


def weights(dtype: str) -> list[cases.Arrays]:
    """State_dicts of the generator, MPD and MSD."""
    return [cases.weights_of(model, dtype) for model in ("v3", "mpd", "msd")]


def batches(dtype: str) -> list[np.ndarray]:
    """Audio [1, T] for each step."""
    return [cases.speech(3)[start : start + CONFIG.segment_size][None].astype(dtype) for start in range(40_000, 80_000, 10_000)]


def start(dtype: str) -> TrainState:
    """The state before the first step."""
    generator, discriminator = generator_params(weights(dtype)[0]), discriminator_variables(*weights(dtype)[1:])

    def player(params):
        blank = jax.tree.map(np.zeros_like, params)
        return {"params": params, "mu": blank, "nu": blank, "count": 0, "lr": CONFIG.learning_rate}

    players = {"generator": player(generator), "discriminator": player(discriminator["params"])}
    return state_of_run({**players, "spectral": discriminator["spectral"], "steps": -1, "epoch": 0}, adamw(CONFIG))


@functools.lru_cache(maxsize=1)
def compiled_step(dtype: str):
    """The training step (state, audio) -> (state, loss terms), for numpy arrays. In float64 with jax_enable_x64 only."""
    step = train_step(CONFIG, 1000, mesh_over(CONFIG, jax.devices()[:1]))
    compiled = step.lower(start(dtype), Batch(batches(dtype)[0], None)).compile()

    def move(state, audio):
        state, metrics = compiled(state, Batch(audio, None))
        return state, {name: float(metrics[name]) for name in TERMS}

    return move
