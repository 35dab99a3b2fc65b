"""The training state as pure data: its structure, its initial values, and its names in checkpoints."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from hifigan_jax.config import Mel, Optimization
from hifigan_jax.models.generator import Conditions
from hifigan_jax.trees import named_leaves

# A learning rate (a traced number) -> the optimizer with this rate; its state does not depend on the rate.
Optimizer = Callable[[Float[Array, ""]], optax.GradientTransformation]


class NetworkState(NamedTuple):
    """One of the two networks: its parameters and its optimizer's state."""

    params: Any
    opt_state: optax.OptState


class TrainState(NamedTuple):
    """All that a run needs to resume. `step` counts the updates done; `epoch` and `batch_in_epoch` are its place in the data."""

    step: Int[Array, ""]
    epoch: Int[Array, ""]
    batch_in_epoch: Int[Array, ""]
    generator: NetworkState
    discriminator: NetworkState
    spectral: Any  # the power-iteration vectors (u, v) of layers with spectral norm


def adamw(options: Optimization) -> Optimizer:
    """The reference's optimizer: decoupled weight decay on every parameter, including biases and weight-norm gains."""
    return lambda learning_rate: optax.adamw(
        learning_rate, options.adam_b1, options.adam_b2, eps=1e-8, weight_decay=options.weight_decay
    )


def learning_rate(options: Optimization) -> Callable[[Int[Array, ""]], Float[Array, ""]]:
    """Epoch -> learning_rate x lr_decay^epoch, computed with exp: a float32 power has an error of 4e-5 after 3,000 epochs."""
    return lambda epoch: options.learning_rate * jnp.exp(epoch * math.log(options.lr_decay))


def initial_state(
    generator: nn.Module, discriminator: nn.Module, optimizer: Optimizer, mel: Mel, options: Optimization
) -> TrainState:
    """The state at step 0, with random parameters from the seed. Traceable: wrap it in `jax.jit` or `jax.eval_shape`."""
    generator_key, discriminator_key = jax.random.split(jax.random.key(options.seed))
    mel_example = jnp.zeros((1, options.segment_size // mel.hop_size, mel.num_mels))
    audio_example = jnp.zeros((1, options.segment_size))
    generator_params = generator.init(generator_key, Conditions(mel_example))["params"]
    discriminator_variables = discriminator.init(discriminator_key, audio_example)
    spectral = discriminator_variables.get("spectral", {})
    first_rate = jnp.float32(options.learning_rate)
    return TrainState(
        *(jnp.zeros((), jnp.int32) for _ in range(3)),
        *(
            NetworkState(params, optimizer(first_rate).init(params))
            for params in (generator_params, discriminator_variables["params"])
        ),
        spectral,
    )


# Fields that have another name in checkpoints: existing files keep the name of an older version.
_ON_DISK = {"opt_state": "moments"}


def to_parts(state: TrainState) -> dict[str, dict[str, Any]]:
    """The state as the two parts of a checkpoint, by leaf name: "generator" (its parameters) and "training" (everything else)."""
    rest = state._replace(generator=state.generator._replace(params={}))
    return {"generator": named_leaves(state.generator.params), "training": _named_on_disk(rest)}


def from_parts(parts: dict[str, dict[str, Any]], like: TrainState) -> TrainState:
    """The inverse of `to_parts`; `like` is any state of the same structure."""

    def fill(tree, leaves, names):
        return jax.tree.unflatten(jax.tree.structure(tree), [leaves[name] for name in names])

    empty = like._replace(generator=like.generator._replace(params={}))
    rest = fill(empty, parts["training"], _named_on_disk(empty))
    params = fill(like.generator.params, parts["generator"], named_leaves(like.generator.params))
    return rest._replace(generator=rest.generator._replace(params=params))


def _named_on_disk(state: TrainState) -> dict[str, Any]:
    def on_disk(name):
        return "/".join(_ON_DISK.get(part, part) for part in name.split("/"))

    return {on_disk(name): leaf for name, leaf in named_leaves(state).items()}
