"""Convolutions by XLA's own operation: the baseline for all other forms, and the form for all platforms except CPUs.

Shapes and names as in convolution.py. jax derives the gradients from the operation.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

# TF32 and bfloat16 products are the user's choice, never the default. All forms share this constant.
PRECISION = lax.Precision.HIGHEST


def conv1d(x, kernel, *, stride, padding, dilation, groups=1):
    """Outputs [B, T_out, C_out] of inputs [B, T_in, C_in] and a kernel [K, C_in / groups, C_out]."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride,),
        padding=[(padding, padding)],
        rhs_dilation=(dilation,),
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=groups,
        precision=PRECISION,
    )


def input_gradient(dy, kernel, *, length, groups=1, **options):
    """The gradient dx [B, T_in, C_in] for the output gradient dy, with T_in = `length`."""
    shape = (dy.shape[0], length, groups * kernel.shape[1])
    return transposed(lambda x: conv1d(x, kernel, groups=groups, **options), shape, dy)


def kernel_gradient(x, dy, *, taps, groups=1, **options):
    """The gradient dkernel [K, C_in / groups, C_out] for inputs x and the output gradient dy, with K = `taps`."""
    shape = (taps, x.shape[2] // groups, dy.shape[2])
    return transposed(lambda kernel: conv1d(x, kernel, groups=groups, **options), shape, dy)


def transposed(function: Callable, shape: tuple[int, ...], dy: jax.Array) -> jax.Array:
    """The transpose of a linear function of an array of this shape, applied to dy."""
    like = jax.typeof(dy).update(shape=shape)  # inside jax.shard_map, it varies over the same axes as dy
    (gradient,) = jax.linear_transpose(function, like)(dy)
    return gradient


def phases(kernel, stride):
    """The kernel [K, C_in, C_out] as [taps, stride, C_in, C_out], taps = ceil(K / stride), padded with zeros."""
    taps = -(-kernel.shape[0] // stride)
    return padded(kernel[None], 0, taps * stride - kernel.shape[0])[0].reshape(taps, stride, *kernel.shape[1:])


def phases_as_channels(kernel, stride):
    """The dense kernel [taps, C_in, stride * C_out] for upsampling by `stride` with a kernel [K, C_in, C_out]."""
    reversed_phases = phases(kernel, stride)[::-1].swapaxes(1, 2)  # the latest input is last
    return reversed_phases.reshape(*reversed_phases.shape[:2], -1)


def padded(x, start, end):
    """`x` padded with `start` zeros before and `end` zeros after its second axis."""
    return jnp.pad(x, ((0, 0), (start, end)) + ((0, 0),) * (x.ndim - 2))
