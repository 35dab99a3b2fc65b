"""1-D convolutions. The platform that a program is lowered for, not the one that traces it, determines how they are computed.

Arrays are channels-last [B, T, C], kernels [K, C_in / groups, C_out].

A convolution y = conv1d(x, kernel) and its gradients dx = input_gradient(dy, kernel) and dkernel = kernel_gradient(x, dy) are
linear in both operands, and <dy, y> = <dx, x> = <dkernel, kernel>. So each is a transpose of the others, and as three primitives
they have derivatives of any order. All platforms compute the same sums and differ only in the order of additions and in speed.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir, xla
from jaxtyping import Array, Float

import hifigan_jax.models.convolution_cpu as convolution_cpu
import hifigan_jax.models.convolution_xla as convolution_xla
from hifigan_jax.models.convolution_xla import phases_as_channels

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

    Computed in the wider of the two dtypes. Raises ValueError if the channels do not match.
    """
    dtype = jnp.promote_types(x.dtype, kernel.dtype)
    x, kernel = _with_same_varying_axes(x.astype(dtype), kernel.astype(dtype))
    return conv1d_p.bind(x, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)


@partial(jax.jit, static_argnames="stride")  # flops.py counts the equations of this name
def conv_transpose1d(
    x: Float[Array, "B T_in C_in"], kernel: Float[Array, "K C_in C_out"], *, stride: int
) -> Float[Array, "B T_out C_out"]:
    """Transposed convolution that multiplies the length by exactly `stride`: T_out = T_in * stride, for any K >= stride.

    The padding is (K - stride + 1) // 2 on the left and the remainder on the right: the reference's (K - stride) / 2 if
    K - stride is even, ParallelWaveGAN's rule (output_padding 1) if it is odd.

    Output sample t * stride + r sums the inputs t, t - 1, ... times the taps r, r + stride, ... Therefore, one dense convolution
    with ceil(K / stride) taps computes all `stride` phases of a frame as channels; a reshape puts them in order of time.
    """
    length, channels = x.shape[1], kernel.shape[-1]
    dense = phases_as_channels(kernel, stride)
    y = conv1d(x, dense, padding=dense.shape[0] - 1)  # [B, T_in + taps - 1, stride * C_out]
    y = y.reshape(x.shape[0], -1, channels)
    start = (kernel.shape[0] - stride + 1) // 2
    return y[:, start : start + length * stride]


def _with_same_varying_axes(*operands):
    """The operands, each marked as varying over all mesh axes of jax.shard_map that any of them varies over.

    The gradient of a replicated operand is then summed over these axes.
    """
    own = [jax.typeof(operand).manual_axis_type.varying for operand in operands]
    axes = frozenset.union(*own)
    missing = (tuple(axes - varying) for varying in own)
    return [jax.lax.pcast(operand, axes, to="varying") for operand, axes in zip(operands, missing, strict=True)]


def _output_type(x, kernel, *, stride, padding, dilation, groups):
    if x.shape[2] != groups * kernel.shape[1] or kernel.shape[2] % groups:
        raise ValueError(f"convolution in {groups} groups: {x.str_short()} does not match kernel {kernel.str_short()}")
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
    """If only the first operand is batched, the batch becomes more rows."""
    first, kernel = operands
    if axes[1] is not None:
        return _batched_as_groups(primitive, operands, axes, **options)
    first = jnp.moveaxis(first, axes[0], 0)
    y = primitive.bind(first.reshape(-1, *first.shape[2:]), kernel, **options)
    return y.reshape(*first.shape[:2], *y.shape[1:]), 0


def _batched_as_groups(primitive, operands, axes, *, groups, **options):
    """The batch is concatenated along the channels, each example in its own groups."""
    size = next(operand.shape[axis] for operand, axis in zip(operands, axes, strict=True) if axis is not None)

    def as_channels(operand, axis):
        operand = jnp.stack([operand] * size, 2) if axis is None else jnp.moveaxis(operand, axis, 2)
        return operand.reshape(*operand.shape[:2], -1)

    y = primitive.bind(*map(as_channels, operands, axes), groups=size * groups, **options)
    return y.reshape(*y.shape[:2], size, -1), 2


conv1d_p = _primitive("conv1d", _output_type, _batched_as_rows)
input_gradient_p = _primitive("conv1d_input_gradient", _input_type, _batched_as_rows)
kernel_gradient_p = _primitive("conv1d_kernel_gradient", _kernel_type, _batched_as_groups)

# Two rules each: the cotangents of the first and of the second operand. The operand to differentiate by is a placeholder.
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


def _lowering(name):
    """The rule that lowers a primitive to the form of this name for the platform of the program.

    A program for several platforms, or for any length of the audio, gets XLA's form, because the CPU's depends on the length.
    """

    def lower(context, *operands, **options):
        platforms = tuple(context.platforms or context.module_context.platforms)
        static = all(isinstance(size, int) for each in context.avals_in for size in each.shape)
        forms = convolution_cpu if static and platforms == ("cpu",) else convolution_xla
        return mlir.lower_fun(getattr(forms, name), multiple_results=False)(context, *operands, **options)

    return lower


mlir.register_lowering(conv1d_p, _lowering("conv1d"))
mlir.register_lowering(input_gradient_p, _lowering("input_gradient"))
mlir.register_lowering(kernel_gradient_p, _lowering("kernel_gradient"))
