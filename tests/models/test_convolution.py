import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax.models import convolution


def definition(x, kernel, stride=1, padding=0, dilation=1, groups=1):
    """The sum in numpy, float64, tap by tap and group by group."""
    taps, width, channels = kernel.shape
    x = np.pad(np.asarray(x, np.float64), ((0, 0), (padding, padding), (0, 0)))
    kernel = np.asarray(kernel, np.float64)
    length = (x.shape[1] - dilation * (taps - 1) - 1) // stride + 1
    y = np.zeros((x.shape[0], length, channels))
    for o in range(channels):
        group = o // (channels // groups)
        inputs = x[:, :, group * width : (group + 1) * width]
        for t in range(length):
            y[:, t, o] = np.einsum("bki,ki->b", inputs[:, t * stride : t * stride + dilation * taps : dilation], kernel[:, :, o])
    return y


def transposed_definition(x, kernel, stride):
    """Every input sample spreads its kernel over the output; then the padding is cut off."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    taps, _, channels = kernel.shape
    length = x.shape[1]
    y = np.zeros((x.shape[0], (length - 1) * stride + taps, channels))
    for t in range(length):
        y[:, t * stride : t * stride + taps] += np.einsum("bi,kio->bko", x[:, t], kernel)
    start = (taps - stride + 1) // 2
    return y[:, start : start + length * stride]


CASES = {  # in, out, taps, stride, padding, dilation, groups, length
    "dense": (6, 10, 7, 1, 3, 1, 1, 23),
    "dilated": (6, 6, 3, 1, 12, 12, 1, 31),
    "strided": (3, 8, 5, 3, 2, 1, 1, 29),
    "grouped": (8, 16, 41, 2, 20, 1, 4, 50),
    "grouped_stride_4": (32, 64, 41, 4, 20, 1, 16, 67),
    "wide_groups": (16, 160, 41, 1, 20, 1, 4, 18),
    "grouped_dilated": (8, 8, 5, 1, 4, 2, 2, 20),
    "shorter_than_kernel": (8, 8, 41, 2, 20, 1, 4, 3),
    "wide": (300, 256, 5, 1, 2, 1, 1, 17),
    "wide_strided": (260, 256, 5, 3, 2, 1, 1, 31),
    "few_products": (8, 48, 41, 1, 20, 1, 4, 53),
    "few_products_stride_2": (8, 48, 41, 2, 20, 1, 4, 131),
    "few_products_stride_4": (8, 48, 41, 4, 20, 1, 4, 203),
    "few_products_shorter_than_kernel": (8, 48, 41, 2, 20, 1, 4, 3),
    "few_products_wide": (512, 512, 5, 1, 2, 1, 1, 18),
    "long": (100, 100, 7, 1, 3, 1, 1, 259),
    "long_dilated": (80, 80, 11, 1, 15, 3, 1, 301),
    "long_shortened": (100, 100, 8, 1, 0, 5, 1, 300),
    "long_lengthened": (100, 100, 7, 1, 20, 1, 1, 256),
    "fully_padded": (6, 10, 2, 1, 1, 1, 1, 12),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request, normal):
    c_in, c_out, taps, stride, padding, dilation, groups, length = request.param
    x = normal(2, length, c_in)
    kernel = normal(taps, c_in // groups, c_out)
    return x, kernel, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def test_conv1d_equals_its_definition(case):
    x, kernel, options = case
    expected = definition(x, kernel, **options)
    np.testing.assert_allclose(convolution.conv1d(x, kernel, **options), expected, atol=1e-5 * np.abs(expected).max())


def test_float64_equals_its_definition_to_float64(case, float64):
    x, kernel, options = case
    y = convolution.conv1d(jnp.asarray(x, jnp.float64), jnp.asarray(kernel, jnp.float64), **options)
    assert y.dtype == jnp.float64
    np.testing.assert_allclose(y, definition(x, kernel, **options), atol=1e-12)


def test_every_form_has_the_gradients_of_the_library(case):
    x, kernel, options = case

    def gradients(conv):
        y, pull_back = jax.vjp(conv, x, kernel)
        return pull_back(jax.random.normal(jax.random.key(1), y.shape))

    ours = gradients(lambda x, kernel: convolution.conv1d(x, kernel, **options))
    library = gradients(lambda x, kernel: convolution.convolution_xla.conv1d(x, kernel, **options))
    for mine, theirs in zip(ours, library, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("case", [CASES[name] for name in CASES if name.startswith("long")], indirect=True)
def test_long_convolutions_are_convolutions_over_tiles(case):
    x, kernel, options = case
    program = jax.make_jaxpr(lambda x, kernel: convolution.conv1d(x, kernel, **options))(x, kernel)
    assert str(program).count("= conv_general_dilated") == (8 if jax.default_backend() == "cpu" else 1)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other backends have the library's form alone")
@pytest.mark.parametrize("case", [CASES[name] for name in CASES if name.startswith("few_products")], indirect=True)
def test_layers_that_gain_by_few_products_have_no_convolution(case):
    x, kernel, options = case
    program = jax.make_jaxpr(lambda x, kernel: convolution.conv1d(x, kernel, **options))(x, kernel)
    assert "conv_general_dilated" not in str(program)


@pytest.mark.parametrize(("taps", "stride"), [(16, 8), (4, 2), (8, 4), (11, 5), (8, 5), (3, 3), (7, 2)])
def test_transposed_convolution_equals_its_definition(taps, stride, normal):
    x = normal(2, 9, 5)
    kernel = normal(taps, 5, 3)
    y = convolution.conv_transpose1d(x, kernel, stride=stride)
    assert y.shape == (2, 9 * stride, 3)
    np.testing.assert_allclose(y, transposed_definition(x, kernel, stride), atol=2e-5)
