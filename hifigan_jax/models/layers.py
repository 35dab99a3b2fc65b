"""Convolutions with weight norm and spectral norm, and `fold_norms`, which turns the former into plain kernels.

Kernels are [K, C_in / groups, C_out]; the transposed convolution's too. Initial values are torch's defaults, which is where the
reference really starts: its own initialiser runs after weight_norm and changes nothing.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from hifigan_jax.models.convolution import conv1d, conv_transpose1d

# compute_dtype in the JSON -> what convolutions are computed in; None: as their inputs come
COMPUTE_DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}


def uniform(fan_in: int) -> nn.initializers.Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): torch's default for the kernels and biases of convolutions."""
    bound = 1 / math.sqrt(fan_in)

    def initialise(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialise


def norm_over_others(v: Float[Array, "K C_in C_out"], axis: int) -> Float[Array, " C"]:
    """Euclidean norm of `v` over all axes but `axis`."""
    return jnp.sqrt(jnp.sum(v * v, axis=tuple(i for i in range(v.ndim) if i != axis)))


def weight_norm(v: Float[Array, "K C_in C_out"], g: Float[Array, " C"], axis: int) -> Float[Array, "K C_in C_out"]:
    """Kernel g v / |v| with one norm per slice along `axis` (Salimans & Kingma 2016, equation 2)."""
    scale = g / norm_over_others(v, axis)
    return v * scale.reshape([-1 if i == axis else 1 for i in range(v.ndim)])


def computed_in(dtype: DTypeLike | None, conv: Callable, x: Float[Array, "B T C"], kernel: Float[Array, "K _ _"], **options):
    """`conv(x, kernel, **options)` computed in `dtype` (None: as they come) and returned in the dtype of `x`."""
    if dtype is None:
        return conv(x, kernel, **options)
    return conv(x.astype(dtype), kernel.astype(dtype), **options).astype(x.dtype)


class Conv(nn.Module):
    """Convolution [B, T, C] -> [B, T', features] with bias and weight norm per output channel.

    With `folded`, the parameters are (kernel, bias) as `fold_norms` leaves them instead of (v, g, bias). The convolution alone is
    computed in `compute_dtype`: parameters, norms, bias and result stay as they are.
    """

    features: int
    kernel_size: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    padding: int | None = None  # zeros on each side; None: as many as keep the length where stride is 1
    folded: bool = False
    compute_dtype: DTypeLike | None = None

    NORM_AXIS = 2  # torch's dim 0 of (out, in, k)

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"]) -> Float[Array, "B T_out features"]:
        shape = (self.kernel_size, x.shape[-1] // self.groups, self.features)
        initialise = uniform(fan_in=shape[0] * shape[1])
        kernel = _normed_kernel(self, initialise, shape)
        padding = self.dilation * (self.kernel_size - 1) // 2 if self.padding is None else self.padding
        options = dict(stride=self.stride, padding=padding, dilation=self.dilation, groups=self.groups)
        y = computed_in(self.compute_dtype, conv1d, x, kernel, **options)
        return y + self.param("bias", initialise, (self.features,))[None, None]


class ConvTranspose(nn.Module):
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
        initialise = uniform(fan_in=self.kernel_size * self.features)  # torch counts the output channels here
        kernel = _normed_kernel(self, initialise, shape)
        bias = self.param("bias", initialise, (self.features,))
        return computed_in(self.compute_dtype, conv_transpose1d, x, kernel, stride=self.stride) + bias[None, None]


def _normed_kernel(layer: nn.Module, initialise, shape: tuple[int, int, int]) -> Float[Array, "K C_in C_out"]:
    if layer.folded:
        return layer.param("kernel", initialise, shape)
    v = layer.param("v", initialise, shape)
    g = layer.param("g", lambda _: norm_over_others(v, layer.NORM_AXIS))  # so that a new layer equals the plain one
    return weight_norm(v, g, layer.NORM_AXIS)


class SpectralConv(nn.Module):
    """Convolution whose kernel is divided by its largest singular value, estimated by power iteration (Miyato et al. 2018).

    The batch holds `power_iterations` equal parts, each of which counts as one forward pass of the reference: when the collection
    "spectral" is mutable, each makes one iteration and is divided by its own estimate; when it is not, the stored vectors serve.
    The division comes after the convolution, which is linear, so that all parts share one.
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
        initialise = uniform(fan_in=shape[0] * shape[1])
        kernel = self.param("kernel", initialise, shape)
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
        y = computed_in(self.compute_dtype, conv1d, x, kernel, **options)
        sigma = jnp.repeat(jnp.stack(sigmas), x.shape[0] // power_iterations)[:, None, None]
        return y / sigma + self.param("bias", initialise, (self.features,))[None, None]

    def _random_unit(self, shape):
        return _unit(jax.random.normal(self.make_rng("params"), shape), self.EPSILON)


def _unit(x, epsilon):
    return x / jnp.maximum(jnp.sqrt(jnp.sum(x * x)), epsilon)


def fold_norms(params: dict, transposed: tuple[str, ...] = ("ups_",)) -> dict:
    """The same parameters with every (v, g) replaced by its kernel, for modules built with `folded=True`.

    Layers whose name starts with one of `transposed` are transposed convolutions, normed along their input channels.
    """

    def fold(name, node):
        if not isinstance(node, dict):
            return node
        if node.keys() == {"v", "g", "bias"}:
            axis = ConvTranspose.NORM_AXIS if name.startswith(transposed) else Conv.NORM_AXIS
            return {"kernel": weight_norm(node["v"], node["g"], axis), "bias": node["bias"]}
        return {key: fold(key, child) for key, child in node.items()}

    return fold("", params)
