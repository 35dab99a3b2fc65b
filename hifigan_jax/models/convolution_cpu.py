"""Convolution algorithms that are faster on CPUs than XLA's own, and the choice between them.

Shapes and names as in convolution.py. All forms compute the same sums (see tests/models/test_convolution.py).
"""

from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import lax

import hifigan_jax.models.convolution_xla as convolution_xla
from hifigan_jax.models.convolution_xla import PRECISION, padded, phases, phases_as_channels, transposed

# Groups of up to this many output channels are computed by one batched product, which compiles in a sixth of the time. Wider
# groups are faster when computed one by one.
_MAX_CHANNELS_IN_BLOCKS = 8
_BLOCK = 8  # outputs

# Fast bilinear algorithms save multiplications but need more additions. They pay off for groups with at least this many taps per
# phase of the stride; for one group of 5 taps with at least this many channels (C_in * C_out); and for one group with
# C_in = C_out (residual blocks) and at least this many taps, weights and samples.
_MIN_TAPS_OF_GROUPS = 11
_WIDE_TAPS, _MIN_WIDE_CHANNELS = 5, 2**18
_MIN_LONG_TAPS, _MIN_LONG_WEIGHTS, _MIN_LONG_SAMPLES = 7, 2**16, 256

# The points of the Toom-Cook algorithm, besides infinity, for 5 taps and for chunks of 4: small numbers and their inverses lose
# the fewest bits. The chunks include the pair i and -i, which takes three products instead of two: with it, a generator's outputs
# are closer to float64 than those computed by the definition.
_POINTS = {5: (0, 1, -1, 2, -2, 0.5, -0.5), 4: (0, 1, -1, 1j, 2)}
TILE = 4  # outputs per tile; with dilation, outputs of each phase

# The largest kernels (C_in * C_out) that the CPU transposes for a backward pass in less time than the products take.
_LARGEST_TRANSPOSED = 2**16


def conv1d(x, kernel, *, groups, **options):
    """See convolution_xla.conv1d."""
    if form := _form(x.dtype, kernel.shape, groups, **options):
        return form(x, kernel)
    return _each_group(partial(_dense, **options), x, kernel, groups)


def input_gradient(dy, kernel, *, length, groups, **options):
    """See convolution_xla.input_gradient."""
    if form := _form(dy.dtype, kernel.shape, groups, **options):
        return transposed(lambda x: form(x, kernel), (dy.shape[0], length, groups * kernel.shape[1]), dy)
    return _each_group(partial(_dense_input_gradient, length=length, **options), dy, kernel, groups)


def kernel_gradient(x, dy, *, taps, groups, **options):
    """See convolution_xla.kernel_gradient."""
    shape = (taps, x.shape[2] // groups, dy.shape[2])
    if form := _form(x.dtype, shape, groups, **options):
        return transposed(lambda kernel: form(x, kernel), shape, dy)
    return _each_group(partial(_dense_kernel_gradient, taps=taps, **options), x, dy, groups)


def _form(dtype, shape, groups, *, stride, padding, dilation):
    """The form that computes all groups at once and whose transpose gives the gradients; None if no such form is faster."""
    taps, width, channels = shape
    double = dtype == jnp.float64  # XLA has no fast float64 convolution on CPU (1-2 GFLOP/s), but fast products (45-51).
    if groups > 1 and dilation == 1 and (double or channels // groups <= _MAX_CHANNELS_IN_BLOCKS):
        return partial(_by_blocks, stride=stride, padding=padding, groups=groups)
    if double:
        return partial(_by_taps, stride=stride, padding=padding, dilation=dilation, groups=groups)
    if dtype == jnp.float32 and dilation == 1:
        if groups == 1 and stride == 1 and taps == _WIDE_TAPS and width * channels >= _MIN_WIDE_CHANNELS:
            return partial(_by_toom_cook, padding=padding, dilation=dilation)
        if groups > 1 and -(-taps // stride) >= _MIN_TAPS_OF_GROUPS:
            return partial(_by_spectra, stride=stride, padding=padding, groups=groups)
    return None


def _each_group(form, one, other, groups):
    """Applies `form` to the channels of each group separately."""
    parts = zip(jnp.split(one, groups, axis=-1), jnp.split(other, groups, axis=-1), strict=True)
    return jnp.concatenate([form(*part) for part in parts], axis=-1)


def _dense(x, kernel, *, stride, padding, dilation):
    """One group; long convolutions use the Toom-Cook algorithm."""
    if stride == 1 and _is_long(x, kernel):
        return _by_toom_cook(x, kernel, padding, dilation)
    return _fast_xla_conv(x, kernel, stride, padding, dilation)


def _dense_kernel_gradient(x, dy, *, taps, stride, padding, dilation):
    shape = (taps, x.shape[2], dy.shape[2])
    return transposed(lambda kernel: _fast_xla_conv(x, kernel, stride, padding, dilation), shape, dy)


def _dense_input_gradient(dy, kernel, *, length, stride, padding, dilation):
    """Input gradient of one group. XLA's own is up to 40 times slower, except for dilated kernels."""
    full_padding = dilation * (kernel.shape[0] - 1) - padding
    if stride == 1 and _is_long(dy, kernel) and full_padding >= 0:
        return _by_toom_cook(dy, kernel[::-1].swapaxes(1, 2), full_padding, dilation)
    if dilation > 1:
        shape = (dy.shape[0], length, kernel.shape[1])
        return transposed(lambda x: _fast_xla_conv(x, kernel, stride, padding, dilation), shape, dy)
    dx = (_input_gradient_by_overlap_add if kernel[0].size > _LARGEST_TRANSPOSED else _input_gradient_by_conv)(dy, kernel, stride)
    return padded(dx, 0, max(padding + length - dx.shape[1], 0))[:, padding : padding + length]


def _is_long(x, kernel):
    """Whether the Toom-Cook algorithm pays off for one group."""
    taps, width, channels = kernel.shape
    large = taps >= _MIN_LONG_TAPS and kernel.size >= _MIN_LONG_WEIGHTS and x.shape[1] >= _MIN_LONG_SAMPLES
    return x.dtype == jnp.float32 and width == channels and large


def _fast_xla_conv(x, kernel, stride, padding, dilation):
    """XLA's convolution of one group, without its slow path on CPUs."""
    extent = dilation * (kernel.shape[0] - 1) + 1
    # XLA is slow if the kernel is longer than the input, here or in the gradient.
    if extent > x.shape[1] or 2 * padding >= extent:
        x, padding = lax.optimization_barrier(padded(x, padding, padding)), 0
    return convolution_xla.conv1d(x, kernel, stride=stride, padding=padding, dilation=dilation)


def _input_gradient_by_conv(dy, kernel, stride):
    """Input gradient including the padding, [B, T_in, C_in] from the first padded input on, by a convolution."""
    dense = phases_as_channels(kernel.swapaxes(1, 2), stride)
    return _fast_xla_conv(dy, dense, 1, dense.shape[0] - 1, 1).reshape(dy.shape[0], -1, kernel.shape[1])


def _input_gradient_by_overlap_add(dy, kernel, stride):
    """The same by one matrix product and sums of shifted windows, without transposing the kernel in memory."""
    rows = phases(kernel, stride)
    taps, _, width, channels = rows.shape
    y = jnp.matmul(dy, rows.reshape(-1, channels).T, precision=PRECISION)
    y = y.reshape(*dy.shape[:2], taps, stride * width)
    total = sum(padded(y[:, :, tap], tap, taps - 1 - tap) for tap in range(taps))
    return total.reshape(dy.shape[0], -1, width)


def _by_taps(x, kernel, stride, padding, dilation, groups):
    """By the definition: a sum over taps of matrix products."""
    taps, width, channels = kernel.shape
    x = jnp.pad(x, ((0, 0), (padding, padding), (0, 0)))
    length = (x.shape[1] - dilation * (taps - 1) - 1) // stride + 1
    x = x.reshape(*x.shape[:2], groups, width)
    kernel = kernel.reshape(taps, width, groups, channels // groups)
    y = sum(
        jnp.einsum("btgi,igo->btgo", x[:, start : start + (length - 1) * stride + 1 : stride], kernel[tap], precision=PRECISION)
        for tap, start in enumerate(range(0, dilation * taps, dilation))
    )
    return y.reshape(*y.shape[:2], channels)


def _windows(x, padding, count, hop, length):
    """Windows [B, count, length, C] of data [B, T, C]. They start `hop` apart, the first one `padding` zeros before the data."""
    overlap = -(-length // hop)  # hops that one window spans
    total = (count + overlap - 1) * hop
    x = padded(x, padding, max(total - x.shape[1] - padding, 0))[:, :total]
    x = x.reshape(x.shape[0], count + overlap - 1, hop, x.shape[2])
    return jnp.concatenate([x[:, i : i + count] for i in range(overlap)], axis=2)[:, :, :length]


def _by_blocks(x, kernel, stride, padding, groups):
    """All groups by a batched product with one block-Toeplitz matrix per group: blocks of 8 outputs share a window of inputs."""
    taps, width, channels = kernel.shape
    out_width = channels // groups
    length = (x.shape[1] + 2 * padding - taps) // stride + 1
    blocks = -(-length // _BLOCK)
    window = (_BLOCK - 1) * stride + taps

    x = _windows(x, padding, blocks, _BLOCK * stride, window).reshape(x.shape[0], blocks, window, groups, width)
    x = x.transpose(3, 0, 1, 2, 4).reshape(groups, -1, window * width)

    kernel = kernel.reshape(taps, width, groups, out_width).transpose(2, 0, 1, 3)
    shifted = [jnp.pad(kernel, ((0, 0), (i * stride, window - taps - i * stride), (0, 0), (0, 0))) for i in range(_BLOCK)]
    toeplitz = jnp.stack(shifted, axis=3).reshape(groups, window * width, _BLOCK * out_width)

    y = jnp.matmul(x, toeplitz, precision=PRECISION)  # [groups, B * blocks, block * C_out / groups]
    y = y.reshape(groups, -1, blocks, _BLOCK, out_width).transpose(1, 2, 3, 0, 4)
    return y.reshape(-1, blocks * _BLOCK, channels)[:, :length]


# The next two functions are fast bilinear algorithms, y = A ((G kernel) * (B x)) on tiles of outputs. They take one product of
# channels per row of B (Blahut, Fast Algorithms for Signal Processing, 2010, chapter 5). They are transposes of this
# multiplication of polynomials: evaluate at points, multiply the values, interpolate. All steps are linear, so that their
# transposes are the backward pass, which needs no more products.


def _by_toom_cook(x, kernel, padding, dilation):
    """One group by the Toom-Cook algorithm, a few taps at a time: with many points, it would lose too much precision.

    4 outputs of 5 taps take 8 products. Longer kernels are split into chunks of 4 taps, which share one B x and take 8 products
    each: 8 convolutions over the tiles with one tap per chunk. With dilation d, the sums treat d samples as one with d times the
    channels; only the products separate them.
    """
    taps, width, channels = kernel.shape
    rows, length = x.shape[0], x.shape[1] + 2 * padding - dilation * (taps - 1)
    chunk = _WIDE_TAPS if taps == _WIDE_TAPS else 4
    chunks = -(-taps // chunk)
    a, g, b = _toom_cook(chunk)
    tiles = -(-length // (TILE * dilation))
    windows = tiles + chunks - 1

    x = padded(x, padding, (windows + 1) * TILE * dilation - x.shape[1] - padding)
    x = x.reshape(rows, windows + 1, TILE, dilation * width)
    kernel = padded(kernel[None], 0, chunks * chunk - taps).reshape(chunks, chunk, width, channels)
    # Sums of slices and plain products: with a batched product, the backward pass would transpose every kernel in memory.
    xs = _weighted_sums(b, [x[:, i // TILE : i // TILE + windows, i % TILE] for i in range(b.shape[1])])
    ys = []
    for one, other in zip(xs, _weighted_sums(g, kernel.swapaxes(0, 1)), strict=True):
        one = one.reshape(rows, windows * dilation, width)
        y = jnp.matmul(one, other[0], precision=PRECISION) if chunks == 1 else _fast_xla_conv(one, other, 1, 0, dilation)
        ys.append(y.reshape(rows, tiles, dilation * channels))
    return jnp.stack(_weighted_sums(a, ys), axis=2).reshape(rows, -1, channels)[:, :length]


def _by_spectra(x, kernel, stride, padding, groups):
    """All groups of many taps, at the roots of z^n = -1. The phases of a stride become channels."""
    rows, width, channels = x.shape[0], kernel.shape[1] * stride, kernel.shape[2]
    length = (x.shape[1] + 2 * padding - kernel.shape[0]) // stride + 1
    taps = -(-kernel.shape[0] // stride)
    a, g, b = (jnp.asarray(matrix, x.dtype) for matrix in _odd_spectrum(taps))
    outputs, size = a.shape[0], b.shape[1]
    tiles = -(-length // outputs)

    x = _windows(x, padding, tiles, outputs * stride, size * stride)
    x = _permuted(x.reshape(rows, tiles, size, stride, groups, -1), (2, 4, 0, 1, 3, 5)).reshape(size, groups, rows * tiles, width)
    kernel = phases(kernel, stride).reshape(taps, stride, -1, groups, channels // groups)
    kernel = _permuted(kernel, (0, 3, 1, 2, 4)).reshape(taps, groups, width, -1)

    y = jnp.matmul(_matmul_rows(b, x), _matmul_rows(g, kernel), precision=PRECISION)
    y = _matmul_rows(a, y).reshape(outputs, groups, rows, tiles, -1)
    return _permuted(y, (2, 3, 0, 1, 4)).reshape(rows, tiles * outputs, channels)[:, :length]


def _weighted_sums(matrix, parts):
    """A small matrix times `parts`: one weighted sum per row."""
    return [sum(float(weight) * part for weight, part in zip(row, parts, strict=True) if weight) for row in matrix]


def _matmul_rows(matrix, x):
    """A matrix times x, along the first axis of x."""
    return jnp.matmul(matrix, x.reshape(x.shape[0], -1), precision=PRECISION).reshape(-1, *x.shape[1:])


def _permuted(x, order):
    """A transposition that is not fused: XLA's copy, if fused with a reshape, computes six indices for every number."""
    return lax.optimization_barrier(x.transpose(order))


def _toom_cook(taps):
    """Matrices A [TILE, P], G [P, taps], B [P, TILE + taps - 1] of a cross-correlation with P products."""
    points = _POINTS[taps]

    def values(count):  # the first `count` powers of all points; a complex point has two rows, real and imaginary
        rows = [part(x ** np.arange(count)) for x in points for part in (np.real, np.imag)[: 1 + np.iscomplex(x)]]
        return np.array([*rows, np.eye(count)[-1]])

    def each(pair):  # block-diagonal: `pair` for each complex point, 1 for the others and for infinity
        blocks = [np.array(pair if np.iscomplex(x) else [[1.0]]) for x in (*points, np.inf)]
        stops = np.cumsum([block.shape for block in blocks], axis=0)
        matrix = np.zeros(stops[-1])
        for block, (row, column) in zip(blocks, stops, strict=True):
            matrix[row - block.shape[0] : row, column - block.shape[1] : column] = block
        return matrix

    # A complex product takes three real ones (Gauss): p = (ac, bd, (a + b)(c + d)), with parts p0 - p1 and p2 - p0 - p1.
    split, join = each([[1, 0], [0, 1], [1, 1]]), each([[1, -1], [-1, -1], [0, 1]])
    b = join @ np.linalg.inv(values(TILE + taps - 1)).T
    b[abs(b) < 1e-12] = 0
    scale = np.min(abs(b), axis=1, where=b != 0, initial=np.inf, keepdims=True)  # avoids fractions, which would be rounded
    return (split @ values(TILE)).T, scale * (split @ values(taps)), b / scale


def _odd_spectrum(taps):
    """The same with P = 3/2 (outputs + taps - 1): complex conjugate pairs, three real products each (Gauss)."""
    size = -(-(taps + 15) // 32) * 32  # a multiple of 32 with at least 16 outputs
    exponents = np.arange(size)
    powers = np.exp(1j * np.pi / size * (2 * exponents[: size // 2, None] + 1) * exponents)
    a, g, b = 2 / size * powers[:, : size - taps + 1], powers[:, :taps], powers.conj()
    split = [np.concatenate([part.real, part.imag, part.real + part.imag]) for part in (g, b)]
    return np.concatenate([a.real + a.imag, a.imag - a.real, -a.imag]).T, *split
