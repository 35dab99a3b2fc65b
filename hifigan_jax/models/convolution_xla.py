"""Convolutions by XLA's own operation: what every other form is compared with, and what all platforms but CPUs compute.

Shapes and names as in convolution.py. The gradients are those that jax derives from the operation.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

# TF32 and bfloat16 products are a choice for the user to make, never a default (shared by all forms).
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
    """What outputs dy send back to the `length` inputs that they saw: [B, T_in, C_in]."""
    shape = (dy.shape[0], length, groups * kernel.shape[1])
    return transposed(lambda x: conv1d(x, kernel, groups=groups, **options), shape, dy)


def kernel_gradient(x, dy, *, taps, groups=1, **options):
    """What outputs dy send back to the kernel that they saw the inputs x through: [K, C_in / groups, C_out]."""
    shape = (taps, x.shape[2] // groups, dy.shape[2])
    return transposed(lambda kernel: conv1d(x, kernel, groups=groups, **options), shape, dy)


def transposed(function: Callable, shape: tuple[int, ...], dy: jax.Array) -> jax.Array:
    """The transpose of a linear function of an array of this shape, at dy."""
    like = jax.typeof(dy).update(shape=shape)  # inside of jax.shard_map it varies over the same axes as dy
    (gradient,) = jax.linear_transpose(function, like)(dy)
    return gradient


def phases(kernel, stride):
    """The kernel [K, C_in, C_out] as [taps, stride, C_in, C_out], taps = ceil(K / stride), filled up with zeros."""
    taps = -(-kernel.shape[0] // stride)
    return padded(kernel[None], 0, taps * stride - kernel.shape[0])[0].reshape(taps, stride, *kernel.shape[1:])


def by_phase(kernel, stride):
    """What turns upsampling by `stride` with a kernel [K, C_in, C_out] into a dense convolution: [taps, C_in, stride * C_out]."""
    reversed_phases = phases(kernel, stride)[::-1].swapaxes(1, 2)  # newest input last
    return reversed_phases.reshape(*reversed_phases.shape[:2], -1)


def padded(x, start, end):
    """`x` with so many zeros before and behind its second axis."""
    return jnp.pad(x, ((0, 0), (start, end)) + ((0, 0),) * (x.ndim - 2))
