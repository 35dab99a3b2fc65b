"""How many floating-point operations a model needs, counted from the shapes of its convolutions in their direct form.

A compiler's own count is no yardstick: it counts the zeros that some forms multiply with and misses what others save. Additions
of biases, activations and mels are left out; they are under one per cent.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from hifigan_jax.config import Config
from hifigan_jax.models import build_discriminator, build_generator
from hifigan_jax.models.layers import Conv, ConvTranspose, SpectralConv


def generator_flops(config: Config, frames: int) -> int:
    """Of the synthesis of `frames` mel frames."""
    return _count(build_generator(config), jnp.zeros((1, frames, config.num_mels)))


def discriminator_flops(config: Config, samples: int) -> int:
    """Of one look of all discriminators at `samples` samples."""
    return _count(build_discriminator(config), jnp.zeros((1, samples)))


def training_step_flops(config: Config) -> int:
    """Of one training step on the whole batch.

    A backward pass costs as much for the inputs as forward, and again as much for the weights. The generator goes forward and
    back once; the discriminator goes forward and back on real and on fake audio to move itself, then forward on both and back to
    the fake's samples alone.
    """
    generator = generator_flops(config, config.segment_size // config.hop_size)
    discriminator = discriminator_flops(config, config.segment_size)
    return config.batch_size * (3 * generator + 9 * discriminator)


class Convolution(NamedTuple):
    """One convolution of a model: where it is, what it takes, and how many operations one forward pass of it costs."""

    name: str
    x: tuple[int, int, int]  # [B, T_in, C_in]
    kernel: tuple[int, int, int]  # [K, C_in / groups, C_out]
    stride: int
    dilation: int
    groups: int
    transposed: bool
    operations: int


def convolutions(module: nn.Module, example: jax.Array) -> list[Convolution]:
    """Those that `module` applies to an input of this shape, in their order."""
    found = []

    def intercept(call: Callable, arguments, options, context: nn.module.InterceptorContext):
        y = call(*arguments, **options)
        layer = context.module
        if context.method_name == "__call__" and isinstance(layer, Conv | ConvTranspose | SpectralConv):
            x, transposed = arguments[0], isinstance(layer, ConvTranspose)
            dilation, groups = getattr(layer, "dilation", 1), getattr(layer, "groups", 1)
            kernel = (layer.kernel_size, x.shape[-1] // groups, layer.features)
            rows, samples, _ = (x if transposed else y).shape
            operations = 2 * rows * samples * math.prod(kernel)
            how = (layer.stride, dilation, groups, transposed)
            found.append(Convolution("/".join(layer.path), x.shape, kernel, *how, operations))
        return y

    with nn.intercept_methods(intercept):
        jax.eval_shape(lambda: module.init(jax.random.key(0), example))
    return found


def _count(module: nn.Module, example: jax.Array) -> int:
    return sum(convolution.operations for convolution in convolutions(module, example))
