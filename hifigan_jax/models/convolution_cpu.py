"""The forms of convolutions that CPUs compute faster than XLA's own, and the choice between them.

Shapes and names as in convolution.py. Every form computes the same sums (tests/models/test_convolution.py holds them together).
"""

from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.linalg import block_diag

import hifigan_jax.models.convolution_xla as convolution_xla
from hifigan_jax.models.convolution_xla import PRECISION, by_phase, padded, phases, transposed

# Groups of up to this many output channels share one product of blocks, which compiles in a sixth of the time; wider ones are
# computed one by one, which is faster from here on.
_WIDEST_GROUP_IN_BLOCKS = 8
_BLOCK = 8  # outputs

# Where fewer products pay for the sums around them: groups with at least so many taps per phase of their stride; one group of 5
# taps with at least so many channels in and out (C_in * C_out); one group of as many channels in as out
# (those of residual blocks), with at least so many taps, weights and samples.
_FEWEST_TAPS_OF_GROUPS = 11
_TAPS_OF_WIDE, _NARROWEST_WIDE = 5, 2**18
_FEWEST_TAPS_OF_LONG, _SMALLEST_LONG, _SHORTEST_LONG = 7, 2**16, 256

# The points of Toom-Cook's algorithm, beside infinity, for 5 taps and for chunks of 4: small numbers and their inverses lose the
# fewest bits. Instead of -2, the chunks have the pair of i and -i, for three products instead of two: with it, the sums of a
# generator come out nearer to float64's than by the definition.
_POINTS = {5: (0, 1, -1, 2, -2, 0.5, -0.5), 4: (0, 1, -1, 1j, 2)}
TILE = 4  # outputs; dilated, of every phase

# The widest kernels of a backward pass (C_in * C_out) that the CPU still turns round in less time than it multiplies by them.
_WIDEST_TURNED = 2**16


def conv1d(x, kernel, *, groups, **options):
    """As convolution_xla.conv1d."""
    if form := _form(x.dtype, kernel.shape, groups, **options):
        return form(x, kernel)
    return _each_group(partial(_dense, **options), x, kernel, groups)


def input_gradient(dy, kernel, *, length, groups, **options):
    """As convolution_xla.input_gradient."""
    if form := _form(dy.dtype, kernel.shape, groups, **options):
        return transposed(lambda x: form(x, kernel), (dy.shape[0], length, groups * kernel.shape[1]), dy)
    return _each_group(partial(_dense_input_gradient, length=length, **options), dy, kernel, groups)


def kernel_gradient(x, dy, *, taps, groups, **options):
    """As convolution_xla.kernel_gradient."""
    shape = (taps, x.shape[2] // groups, dy.shape[2])
    if form := _form(x.dtype, shape, groups, **options):
        return transposed(lambda kernel: form(x, kernel), shape, dy)
    return _each_group(partial(_dense_kernel_gradient, taps=taps, **options), x, dy, groups)


def _form(dtype, shape, groups, *, stride, padding, dilation):
    """The form that takes all groups of a convolution at once, and whose steps' own transposes are its gradients, if one pays."""
    taps, width, channels = shape
    double = dtype == jnp.float64  # XLA has no fast float64 convolution on CPU (1-2 GFLOP/s), but fast products (45-51).
    if groups > 1 and dilation == 1 and (double or channels // groups <= _WIDEST_GROUP_IN_BLOCKS):
        return partial(_by_blocks, stride=stride, padding=padding, groups=groups)
    if double:
        return partial(_by_taps, stride=stride, padding=padding, dilation=dilation, groups=groups)
    if dtype == jnp.float32 and dilation == 1:
        if groups == 1 and stride == 1 and taps == _TAPS_OF_WIDE and width * channels >= _NARROWEST_WIDE:
            return partial(_by_toom_cook, padding=padding, dilation=dilation)
        if groups > 1 and -(-taps // stride) >= _FEWEST_TAPS_OF_GROUPS:
            return partial(_by_spectra, stride=stride, padding=padding, groups=groups)
    return None


def _each_group(form, one, other, groups):
    """`form` of every group's channels by themselves."""
    parts = zip(jnp.split(one, groups, axis=-1), jnp.split(other, groups, axis=-1), strict=True)
    return jnp.concatenate([form(*part) for part in parts], axis=-1)


def _dense(x, kernel, *, stride, padding, dilation):
    """One group, long ones with fewer products."""
    if stride == 1 and _is_long(x, kernel):
        return _by_toom_cook(x, kernel, padding, dilation)
    return _kept_fast(x, kernel, stride, padding, dilation)


def _dense_kernel_gradient(x, dy, *, taps, stride, padding, dilation):
    shape = (taps, x.shape[2], dy.shape[2])
    return transposed(lambda kernel: _kept_fast(x, kernel, stride, padding, dilation), shape, dy)


def _dense_input_gradient(dy, kernel, *, length, stride, padding, dilation):
    """XLA's own is up to 40 times slower but for dilated kernels."""
    further = dilation * (kernel.shape[0] - 1) - padding
    if stride == 1 and _is_long(dy, kernel) and further >= 0:
        return _by_toom_cook(dy, kernel[::-1].swapaxes(1, 2), further, dilation)
    if dilation > 1:
        shape = (dy.shape[0], length, kernel.shape[1])
        return transposed(lambda x: _kept_fast(x, kernel, stride, padding, dilation), shape, dy)
    dx = (_scattered_by_overlap if kernel[0].size > _WIDEST_TURNED else _scattered)(dy, kernel, stride)
    return padded(dx, 0, max(padding + length - dx.shape[1], 0))[:, padding : padding + length]


def _is_long(x, kernel):
    """Whether fewer products pay for the sums around them."""
    taps, width, channels = kernel.shape
    large = taps >= _FEWEST_TAPS_OF_LONG and kernel.size >= _SMALLEST_LONG and x.shape[1] >= _SHORTEST_LONG
    return x.dtype == jnp.float32 and width == channels and large


def _kept_fast(x, kernel, stride, padding, dilation):
    """XLA's convolution of one group, away from its slow path on CPUs."""
    reach = dilation * (kernel.shape[0] - 1) + 1
    if reach > x.shape[1] or 2 * padding >= reach:  # more taps than inputs, here or backwards: no fast way through XLA
        x, padding = lax.optimization_barrier(padded(x, padding, padding)), 0
    return convolution_xla.conv1d(x, kernel, stride=stride, padding=padding, dilation=dilation)


def _scattered(dy, kernel, stride):
    """What every output sends back to the inputs it saw, [B, T_in, C_in] from the first padded input on, by a convolution."""
    dense = by_phase(kernel.swapaxes(1, 2), stride)
    return _kept_fast(dy, dense, 1, dense.shape[0] - 1, 1).reshape(dy.shape[0], -1, kernel.shape[1])


def _scattered_by_overlap(dy, kernel, stride):
    """The same by one matrix product and sums of shifted windows: the kernel needs no turning round."""
    rows = phases(kernel, stride)
    taps, _, width, channels = rows.shape
    y = jnp.matmul(dy, rows.reshape(-1, channels).T, precision=PRECISION)
    y = y.reshape(*dy.shape[:2], taps, stride * width)
    total = sum(padded(y[:, :, tap], tap, taps - 1 - tap) for tap in range(taps))
    return total.reshape(dy.shape[0], -1, width)


def _by_taps(x, kernel, stride, padding, dilation, groups):
    """The definition: a sum over taps of matrix products."""
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
    """Windows [B, count, length, C] that start `hop` apart, the first of them `padding` zeros before the data [B, T, C]."""
    overlap = -(-length // hop)  # hops that one window spans
    total = (count + overlap - 1) * hop
    x = padded(x, padding, max(total - x.shape[1] - padding, 0))[:, :total]
    x = x.reshape(x.shape[0], count + overlap - 1, hop, x.shape[2])
    return jnp.concatenate([x[:, i : i + count] for i in range(overlap)], axis=2)[:, :, :length]


def _by_blocks(x, kernel, stride, padding, groups):
    """Outputs in blocks of 8 that share one window of inputs: a batched product with a block-Toeplitz matrix per group."""
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


# Both of the following are fast bilinear algorithms, y = A ((G kernel) * (B x)) on tiles of outputs, with one product of channels
# for every row of B (Blahut, Fast Algorithms for Signal Processing, 2010, chapter 5): polynomials evaluated at points, multiplied
# there, interpolated, transposed. All three steps are linear, so that their own transposes are the backward pass, with as few
# products.


def _by_toom_cook(x, kernel, padding, dilation):
    """One group: few taps at a time, at points that would lose all precision for many.

    4 outputs of 5 taps take 8 products. More taps go in chunks of 4 that share one B x: 8 products a chunk, which are 8
    convolutions over the tiles with a tap for each chunk. A dilation d makes d samples one, of d times the channels, until the
    products.
    """
    taps, width, channels = kernel.shape
    rows, length = x.shape[0], x.shape[1] + 2 * padding - dilation * (taps - 1)
    chunk = _TAPS_OF_WIDE if taps == _TAPS_OF_WIDE else 4
    chunks = -(-taps // chunk)
    a, g, b = _toom_cook(chunk)
    tiles = -(-length // (TILE * dilation))
    windows = tiles + chunks - 1

    x = padded(x, padding, (windows + 1) * TILE * dilation - x.shape[1] - padding)
    x = x.reshape(rows, windows + 1, TILE, dilation * width)
    kernel = padded(kernel[None], 0, chunks * chunk - taps).reshape(chunks, chunk, width, channels)
    # Sums of slices and plain products: a batched product would have every kernel turned round in memory on the way back.
    xs = _combined(b, [x[:, i // TILE : i // TILE + windows, i % TILE] for i in range(b.shape[1])])
    ys = []
    for one, other in zip(xs, _combined(g, kernel.swapaxes(0, 1)), strict=True):
        one = one.reshape(rows, windows * dilation, width)
        y = jnp.matmul(one, other[0], precision=PRECISION) if chunks == 1 else _kept_fast(one, other, 1, 0, dilation)
        ys.append(y.reshape(rows, tiles, dilation * channels))
    return jnp.stack(_combined(a, ys), axis=2).reshape(rows, -1, channels)[:, :length]


def _by_spectra(x, kernel, stride, padding, groups):
    """Groups of many taps: at the roots of z^n = -1. A stride is undone by taking its phases as channels."""
    rows, width, channels = x.shape[0], kernel.shape[1] * stride, kernel.shape[2]
    length = (x.shape[1] + 2 * padding - kernel.shape[0]) // stride + 1
    taps = -(-kernel.shape[0] // stride)
    a, g, b = (jnp.asarray(matrix, x.dtype) for matrix in _odd_spectrum(taps))
    outputs, size = a.shape[0], b.shape[1]
    tiles = -(-length // outputs)

    x = _windows(x, padding, tiles, outputs * stride, size * stride)
    x = _moved(x.reshape(rows, tiles, size, stride, groups, -1), (2, 4, 0, 1, 3, 5)).reshape(size, groups, rows * tiles, width)
    kernel = phases(kernel, stride).reshape(taps, stride, -1, groups, channels // groups)
    kernel = _moved(kernel, (0, 3, 1, 2, 4)).reshape(taps, groups, width, -1)

    y = jnp.matmul(_rows_by(b, x), _rows_by(g, kernel), precision=PRECISION)
    y = _rows_by(a, y).reshape(outputs, groups, rows, tiles, -1)
    return _moved(y, (2, 3, 0, 1, 4)).reshape(rows, tiles * outputs, channels)[:, :length]


def _combined(matrix, parts):
    """The rows of a small matrix as weighted sums of `parts`."""
    return [sum(float(weight) * part for weight, part in zip(row, parts, strict=True) if weight) for row in matrix]


def _rows_by(matrix, x):
    """A matrix times the first axis of x."""
    return jnp.matmul(matrix, x.reshape(x.shape[0], -1), precision=PRECISION).reshape(-1, *x.shape[1:])


def _moved(x, order):
    """A transposition by itself: fused with a reshape, XLA's copy works out six indices for every number."""
    return lax.optimization_barrier(x.transpose(order))


def _toom_cook(taps):
    """Matrices A [TILE, P], G [P, taps], B [P, TILE + taps - 1] of a cross-correlation, P products."""
    points = _POINTS[taps]

    def values(count):  # of the first `count` powers; a complex point has two rows, for its conjugate too
        rows = [part(x ** np.arange(count)) for x in points for part in (np.real, np.imag)[: 1 + np.iscomplex(x)]]
        return np.array([*rows, np.eye(count)[-1]])

    def each(pair):
        return block_diag(*(pair if np.iscomplex(x) else 1 for x in points), 1)

    # A complex product is three real ones (Gauss): p = (ac, bd, (a + b)(c + d)), its parts p0 - p1 and p2 - p0 - p1.
    apart, together = each([[1, 0], [0, 1], [1, 1]]), each([[1, -1], [-1, -1], [0, 1]])
    b = together @ np.linalg.inv(values(TILE + taps - 1)).T
    b[abs(b) < 1e-12] = 0
    scale = np.min(abs(b), axis=1, where=b != 0, initial=np.inf, keepdims=True)  # leaves no fractions that would be rounded
    return (apart @ values(TILE)).T, scale * (apart @ values(taps)), b / scale


def _odd_spectrum(taps):
    """The same with P = 3/2 (outputs + taps - 1): pairs of complex numbers, each in Gauss's 3 real products."""
    size = -(-(taps + 15) // 32) * 32  # a multiple of 32 with at least 16 outputs
    exponents = np.arange(size)
    powers = np.exp(1j * np.pi / size * (2 * exponents[: size // 2, None] + 1) * exponents)
    a, g, b = 2 / size * powers[:, : size - taps + 1], powers[:, :taps], powers.conj()
    split = [np.concatenate([part.real, part.imag, part.real + part.imag]) for part in (g, b)]
    return np.concatenate([a.real + a.imag, a.imag - a.real, -a.imag]).T, *split
