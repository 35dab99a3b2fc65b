"""A few training steps of V3 against MPD and MSD at an eighth of their width, on a batch of one segment of 2,048 samples."""

import functools

import cases
import jax
import numpy as np

from hifigan_jax.data import Batch
from hifigan_jax.models.discriminators.torch_names import discriminator_variables
from hifigan_jax.models.hifigan.torch_names import generator_params
from hifigan_jax.training.reference import state_of_run
from hifigan_jax.training.setup import mesh_over, train_step
from hifigan_jax.training.state import TrainState, adamw

CONFIG = cases.CONFIGS["v3_narrow"].replace({"batch_size": 1, "segment_size": 2048})
STEPS = 4
TERMS = ("discriminator", "generator", "adversarial", "feature_matching", "mel")


def weights(dtype: str) -> list[cases.Arrays]:
    """The state_dicts of the generator, MPD and MSD."""
    return [cases.weights_of(model, dtype) for model in cases.networks("v3_narrow")]


def batches(dtype: str) -> list[np.ndarray]:
    """Audio [1, T] for each step."""
    samples = CONFIG.optimization.segment_size
    return [cases.speech(3)[start : start + samples][None].astype(dtype) for start in range(40_000, 80_000, 10_000)]


def start(dtype: str) -> TrainState:
    """The state before the first step."""
    generator, discriminator = generator_params(weights(dtype)[0]), discriminator_variables(*weights(dtype)[1:])

    def network(params):
        blank = jax.tree.map(np.zeros_like, params)
        return {"params": params, "mu": blank, "nu": blank, "count": 0, "lr": CONFIG.optimization.learning_rate}

    networks = {"generator": network(generator), "discriminator": network(discriminator["params"])}
    run = {**networks, "spectral": discriminator["spectral"], "steps": -1, "epoch": 0}
    return state_of_run(run, adamw(CONFIG.optimization))


@functools.cache
def compiled_step(dtype: str):
    """The training step (state, audio) -> (state, loss terms), for numpy arrays. float64 needs jax_enable_x64."""
    step = train_step(CONFIG, 1000, mesh_over(CONFIG, jax.devices()[:1]))
    compiled = step.lower(start(dtype), Batch(batches(dtype)[0], None)).compile()

    def one_step(state, audio):
        state, metrics = compiled(state, Batch(audio, None))
        return state, {name: float(metrics[name]) for name in TERMS}

    return one_step
