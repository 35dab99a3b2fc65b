"""Convolutions with weight norm or spectral norm, and `fold_norms`, which folds weight norm into plain kernels.

All kernels are [K, C_in / groups, C_out], also those of transposed convolutions. Initial values are torch's defaults, as in the
reference: its own initializer runs after weight_norm and has no effect.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from hifigan_jax.models.convolution import conv1d, conv_transpose1d

# compute_dtype in the JSON -> the dtype of convolutions; None: the dtype of their inputs
COMPUTE_DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}


def uniform(fan_in: int) -> nn.initializers.Initializer:
    """Initializer U(-1/sqrt(fan_in), 1/sqrt(fan_in)): torch's default for the kernels and biases of convolutions."""
    bound = 1 / math.sqrt(fan_in)

    def initializer(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initializer


def norm_except(v: Float[Array, "K C_in C_out"], axis: int) -> Float[Array, " C"]:
    """Euclidean norm of `v` over all axes except `axis`."""
    return jnp.sqrt(jnp.sum(v * v, axis=tuple(i for i in range(v.ndim) if i != axis)))


def weight_norm(v: Float[Array, "K C_in C_out"], g: Float[Array, " C"], axis: int) -> Float[Array, "K C_in C_out"]:
    """Kernel g v / |v| with one norm per slice along `axis` (Salimans & Kingma 2016, equation 2)."""
    scale = g / norm_except(v, axis)
    return v * scale.reshape([-1 if i == axis else 1 for i in range(v.ndim)])


def conv_in_dtype(dtype: DTypeLike | None, conv: Callable, x: Float[Array, "B T C"], kernel: Float[Array, "K _ _"], **options):
    """`conv(x, kernel, **options)` computed in `dtype` (None: the dtype of the operands) and returned in the dtype of `x`."""
    if dtype is None:
        return conv(x, kernel, **options)
    return conv(x.astype(dtype), kernel.astype(dtype), **options).astype(x.dtype)


class WeightNormConv(nn.Module):
    """Convolution [B, T, C] -> [B, T', features] with bias and weight norm per output channel.

    With `folded`, the parameters are (kernel, bias), as returned by `fold_norms`, instead of (v, g, bias). Only the convolution
    is computed in `compute_dtype`: parameters, norms, bias and result keep their dtype.
    """

    features: int
    kernel_size: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    padding: int | None = None  # zeros on each side; None: keep the length if stride is 1
    folded: bool = False
    compute_dtype: DTypeLike | None = None

    NORM_AXIS = 2  # torch's dim 0 of (out, in, k)

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"]) -> Float[Array, "B T_out features"]:
        shape = (self.kernel_size, x.shape[-1] // self.groups, self.features)
        initializer = uniform(fan_in=shape[0] * shape[1])
        kernel = _normed_kernel(self, initializer, shape)
        padding = self.dilation * (self.kernel_size - 1) // 2 if self.padding is None else self.padding
        options = dict(stride=self.stride, padding=padding, dilation=self.dilation, groups=self.groups)
        y = conv_in_dtype(self.compute_dtype, conv1d, x, kernel, **options)
        return y + self.param("bias", initializer, (self.features,))[None, None]


class WeightNormConvTranspose(nn.Module):
    """Transposed convolution [B, T, C] -> [B, T * stride, features] with bias and weight norm per *input* channel."""

    features: int
    kernel_size: int
    stride: int
    folded: bool = False
    compute_dtype: DTypeLike | None = None

    NORM_AXIS = 1  # torch's dim 0 of (in, out, k)

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"]) -> Float[Array, "B T_out features"]:
        shape = (self.kernel_size, x.shape[-1], self.features)
        initializer = uniform(fan_in=self.kernel_size * self.features)  # torch uses the output channels here
        kernel = _normed_kernel(self, initializer, shape)
        bias = self.param("bias", initializer, (self.features,))
        return conv_in_dtype(self.compute_dtype, conv_transpose1d, x, kernel, stride=self.stride) + bias[None, None]


def _normed_kernel(layer: nn.Module, initializer, shape: tuple[int, int, int]) -> Float[Array, "K C_in C_out"]:
    if layer.folded:
        return layer.param("kernel", initializer, shape)
    v = layer.param("v", initializer, shape)
    g = layer.param("g", lambda _: norm_except(v, layer.NORM_AXIS))  # initially, the kernel is v
    return weight_norm(v, g, layer.NORM_AXIS)


class SpectralNormConv(nn.Module):
    """Convolution whose kernel is divided by its largest singular value, estimated by power iteration (Miyato et al. 2018).

    The batch consists of `power_iterations` equal parts, each equivalent to one forward pass of the reference. If the collection
    "spectral" is mutable, each part runs one iteration and uses its own estimate; otherwise, the stored vectors are used.
    The division follows the convolution, which is linear, so that all parts share one convolution.
    """

    features: int
    kernel_size: int
    stride: int = 1
    groups: int = 1
    compute_dtype: DTypeLike | None = None

    EPSILON = 1e-12

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"], power_iterations: int = 1) -> Float[Array, "B T_out features"]:
        shape = (self.kernel_size, x.shape[-1] // self.groups, self.features)
        initializer = uniform(fan_in=shape[0] * shape[1])
        kernel = self.param("kernel", initializer, shape)
        u = self.variable("spectral", "u", self._random_unit, shape[2:])
        v = self.variable("spectral", "v", self._random_unit, shape[:2])
        sigmas = []
        for _ in range(power_iterations):
            if self.is_mutable_collection("spectral") and not self.is_initializing():
                fixed = jax.lax.stop_gradient(kernel)
                v.value = _unit(jnp.einsum("kio,o->ki", fixed, u.value, precision="highest"), self.EPSILON)
                u.value = _unit(jnp.einsum("kio,ki->o", fixed, v.value, precision="highest"), self.EPSILON)
            sigmas.append(jnp.einsum("kio,ki,o->", kernel, v.value, u.value, precision="highest"))
        options = dict(stride=self.stride, padding=(self.kernel_size - 1) // 2, groups=self.groups)
        y = conv_in_dtype(self.compute_dtype, conv1d, x, kernel, **options)
        sigma = jnp.repeat(jnp.stack(sigmas), x.shape[0] // power_iterations)[:, None, None]
        return y / sigma + self.param("bias", initializer, (self.features,))[None, None]

    def _random_unit(self, shape):
        return _unit(jax.random.normal(self.make_rng("params"), shape), self.EPSILON)


def _unit(x, epsilon):
    return x / jnp.maximum(jnp.sqrt(jnp.sum(x * x)), epsilon)


def fold_norms(params: dict, transposed: tuple[str, ...] = ("ups_",)) -> dict:
    """Parameters with every (v, g) replaced by its kernel, for modules built with `folded=True`.

    Layers with names that start with one of `transposed` are transposed convolutions, with one norm per input channel.
    """

    def fold(name, node):
        if not isinstance(node, dict):
            return node
        if node.keys() == {"v", "g", "bias"}:
            axis = WeightNormConvTranspose.NORM_AXIS if name.startswith(transposed) else WeightNormConv.NORM_AXIS
            return {"kernel": weight_norm(node["v"], node["g"], axis), "bias": node["bias"]}
        return {key: fold(key, child) for key, child in node.items()}

    return fold("", params)
