"""What training changes from step to step, as pure data, and how it starts."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from hifigan_jax.config import Config

# A learning rate (a traced number) -> the optimizer that moves at this rate; its state does not depend on the rate.
Optimizer = Callable[[Float[Array, ""]], optax.GradientTransformation]


class Player(NamedTuple):
    """One of the two networks: its parameters and its optimizer's state."""

    params: Any
    moments: optax.OptState


class TrainState(NamedTuple):
    """All that a run needs to go on. `step` counts updates done; the other two say where in the data it stands."""

    step: Int[Array, ""]
    epoch: Int[Array, ""]
    batch_in_epoch: Int[Array, ""]
    generator: Player
    discriminator: Player
    spectral: Any  # the power iteration's vectors (u, v) of spectrally normed layers


def adamw(config: Config) -> Optimizer:
    """The reference's optimizer: decoupled decay on every parameter, biases and weight-norm gains included."""
    return lambda learning_rate: optax.adamw(
        learning_rate, config.adam_b1, config.adam_b2, eps=1e-8, weight_decay=config.weight_decay
    )


def learning_rate(config: Config) -> Callable[[Int[Array, ""]], Float[Array, ""]]:
    """Epoch -> learning_rate x lr_decay^epoch, by the exponential: a float32 power would be 4e-5 off after 3,000 epochs."""
    return lambda epoch: config.learning_rate * jnp.exp(epoch * math.log(config.lr_decay))


def initial_state(generator: nn.Module, discriminator: nn.Module, optimizer: Optimizer, config: Config) -> TrainState:
    """Random parameters from config.seed, empty moments, step 0. Traceable: wrap it in `jax.jit` or `jax.eval_shape`."""
    for_generator, for_discriminator = jax.random.split(jax.random.key(config.seed))
    mel = jnp.zeros((1, config.segment_size // config.hop_size, config.num_mels))
    audio = jnp.zeros((1, config.segment_size))
    players = [generator.init(for_generator, mel)["params"], discriminator.init(for_discriminator, audio)]
    spectral = players[1].get("spectral", {})
    first_rate = jnp.float32(config.learning_rate)
    return TrainState(
        *(jnp.zeros((), jnp.int32) for _ in range(3)),
        *(Player(params, optimizer(first_rate).init(params)) for params in (players[0], players[1]["params"])),
        spectral,
    )


def to_parts(state: TrainState) -> dict[str, dict[str, Any]]:
    """The state as a checkpoint's two parts of named leaves: "generator", its parameters, and "training", everything else."""
    rest = state._replace(generator=state.generator._replace(params={}))
    return {"generator": named_leaves(state.generator.params), "training": named_leaves(rest)}


def from_parts(parts: dict[str, dict[str, Any]], like: TrainState) -> TrainState:
    """The state that `to_parts` took apart; `like` is any state of its structure."""

    def fill(tree, leaves):
        return jax.tree.unflatten(jax.tree.structure(tree), [leaves[name] for name in named_leaves(tree)])

    rest = fill(like._replace(generator=like.generator._replace(params={})), parts["training"])
    return rest._replace(generator=rest.generator._replace(params=fill(like.generator.params, parts["generator"])))


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of any tree by their paths, "conv_pre/bias"."""
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree.leaves_with_path(tree)}
