"""1-D convolutions whose form is chosen for the platform that a program is lowered for, not for the one that traces it.

Everything is channels-last, audio-like [B, T, C], with kernels [K, C_in / groups, C_out].

A convolution y = conv1d(x, kernel) and its gradients dx = input_gradient(dy, kernel) and dkernel = kernel_gradient(x, dy) are
linear in both operands, and <dy, y> = <dx, x> = <dkernel, kernel>. So each is the others' transpose, and as three primitives they
have derivatives of any order. Each platform computes the same sums; they differ in the order of additions and in speed only.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir, xla
from jaxtyping import Array, Float

import hifigan_jax.models.convolution_cpu as convolution_cpu
import hifigan_jax.models.convolution_xla as convolution_xla
from hifigan_jax.models.convolution_xla import by_phase

TILE = convolution_cpu.TILE


def conv1d(
    x: Float[Array, "B T_in C_in"],
    kernel: Float[Array, "K C_group C_out"],
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Float[Array, "B T_out C_out"]:
    """Cross-correlation with zero padding on both sides, T_out = (T_in + 2 padding - dilation (K - 1) - 1) // stride + 1.

    Computed in the wider of both types. Raises ValueError where the channels don't fit.
    """
    dtype = jnp.promote_types(x.dtype, kernel.dtype)
    x, kernel = _varying_alike(x.astype(dtype), kernel.astype(dtype))
    return conv1d_p.bind(x, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)


@partial(jax.jit, static_argnames="stride")  # one equation of this name wherever it is traced, for flops.py to count
def conv_transpose1d(
    x: Float[Array, "B T_in C_in"], kernel: Float[Array, "K C_in C_out"], *, stride: int
) -> Float[Array, "B T_out C_out"]:
    """Transposed convolution that multiplies the length by exactly `stride`: T_out = T_in * stride, for any K >= stride.

    The padding is (K - stride + 1) // 2 on the left and whatever remains on the right: the reference's (K - stride) / 2 where
    K - stride is even, ParallelWaveGAN's rule (output_padding 1) where it is odd.

    Output sample t * stride + r sees the inputs t, t - 1, ... through the taps r, r + stride, ...: one dense convolution with
    ceil(K / stride) taps that yields all `stride` phases of a frame as channels, laid out in time by a reshape.
    """
    length, channels = x.shape[1], kernel.shape[-1]
    dense = by_phase(kernel, stride)
    y = conv1d(x, dense, padding=dense.shape[0] - 1)  # [B, T_in + taps - 1, stride * C_out]
    y = y.reshape(x.shape[0], -1, channels)
    start = (kernel.shape[0] - stride + 1) // 2
    return y[:, start : start + length * stride]


def _varying_alike(*operands):
    """The operands, each varying over all mesh axes of jax.shard_map that any of them varies over.

    The gradient of one that is the same everywhere is then summed over the axes.
    """
    own = [jax.typeof(operand).manual_axis_type.varying for operand in operands]
    axes = frozenset.union(*own)
    missing = (tuple(axes - varying) for varying in own)
    return [jax.lax.pcast(operand, axes, to="varying") for operand, axes in zip(operands, missing, strict=True)]


def _output_type(x, kernel, *, stride, padding, dilation, groups):
    if x.shape[2] != groups * kernel.shape[1] or kernel.shape[2] % groups:
        raise ValueError(f"a convolution in {groups} groups of {x.str_short()} with a kernel {kernel.str_short()}")
    length = (x.shape[1] + 2 * padding - dilation * (kernel.shape[0] - 1) - 1) // stride + 1
    return x.update(shape=(x.shape[0], max(length, 0), kernel.shape[2]), weak_type=False)


def _input_type(dy, kernel, *, length, groups, **_):
    return dy.update(shape=(dy.shape[0], length, groups * kernel.shape[1]), weak_type=False)


def _kernel_type(x, dy, *, taps, groups, **_):
    return x.update(shape=(taps, x.shape[2] // groups, dy.shape[2]), weak_type=False)


def _primitive(name, result_type, batched):
    primitive = Primitive(name)
    primitive.def_impl(partial(xla.apply_primitive, primitive))
    primitive.def_abstract_eval(result_type)
    batching.primitive_batchers[primitive] = partial(batched, primitive)
    return primitive


def _batched_as_rows(primitive, operands, axes, **options):
    """A batch of first operands alone is more rows."""
    first, kernel = operands
    if axes[1] is not None:
        return _batched_as_groups(primitive, operands, axes, **options)
    first = jnp.moveaxis(first, axes[0], 0)
    y = primitive.bind(first.reshape(-1, *first.shape[2:]), kernel, **options)
    return y.reshape(*first.shape[:2], *y.shape[1:]), 0


def _batched_as_groups(primitive, operands, axes, *, groups, **options):
    """Examples beside each other as channels, each in groups of its own."""
    size = next(operand.shape[axis] for operand, axis in zip(operands, axes, strict=True) if axis is not None)

    def side_by_side(operand, axis):
        operand = jnp.stack([operand] * size, 2) if axis is None else jnp.moveaxis(operand, axis, 2)
        return operand.reshape(*operand.shape[:2], -1)

    y = primitive.bind(*map(side_by_side, operands, axes), groups=size * groups, **options)
    return y.reshape(*y.shape[:2], size, -1), 2


conv1d_p = _primitive("conv1d", _output_type, _batched_as_rows)
input_gradient_p = _primitive("conv1d_input_gradient", _input_type, _batched_as_rows)
kernel_gradient_p = _primitive("conv1d_kernel_gradient", _kernel_type, _batched_as_groups)

# Two rules each: what a cotangent sends back to the first operand, and what to the second. The one asked for is a placeholder.
ad.defbilinear(
    conv1d_p,
    lambda dy, x, kernel, **options: input_gradient_p.bind(dy, kernel, length=x.aval.shape[1], **options),
    lambda dy, x, kernel, **options: kernel_gradient_p.bind(x, dy, taps=kernel.aval.shape[0], **options),
)
ad.defbilinear(
    input_gradient_p,
    lambda x, dy, kernel, length, **options: conv1d_p.bind(x, kernel, **options),
    lambda x, dy, kernel, length, **options: kernel_gradient_p.bind(x, dy, taps=kernel.aval.shape[0], **options),
)
ad.defbilinear(
    kernel_gradient_p,
    lambda kernel, x, dy, taps, **options: input_gradient_p.bind(dy, kernel, length=x.aval.shape[1], **options),
    lambda kernel, x, dy, taps, **options: conv1d_p.bind(x, kernel, **options),
)

for platform, forms in ((None, convolution_xla), ("cpu", convolution_cpu)):  # None: all others
    for primitive, form in (
        (conv1d_p, forms.conv1d),
        (input_gradient_p, forms.input_gradient),
        (kernel_gradient_p, forms.kernel_gradient),
    ):
        mlir.register_lowering(primitive, mlir.lower_fun(form, multiple_results=False), platform)
