from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from hifigan_jax.models import convolution_xla
from hifigan_jax.models.convolution import conv1d, conv_transpose1d


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
    """Adds the kernel times each input sample to the output, then cuts off the padding."""
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


def jitted(**options):
    """One program is compiled sooner than its operations one by one."""
    return jax.jit(partial(conv1d, **options))


def test_conv1d_equals_its_definition(case):
    x, kernel, options = case
    expected = definition(x, kernel, **options)
    np.testing.assert_allclose(jitted(**options)(x, kernel), expected, atol=1e-5 * np.abs(expected).max())


def test_float64_equals_the_definition_in_float64_precision(case, float64):
    x, kernel, options = case
    y = jitted(**options)(jnp.asarray(x, jnp.float64), jnp.asarray(kernel, jnp.float64))
    assert y.dtype == jnp.float64
    np.testing.assert_allclose(y, definition(x, kernel, **options), atol=1e-12)


def assert_close(tree, expected, tolerance):
    """All arrays agree within `tolerance` times their largest value."""
    for one, other in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        one, other = (np.asarray(array, np.float64) for array in (one, other))
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max(), rtol=0)


def test_gradients_of_all_forms_equal_those_of_xla(case, normal):
    x, kernel, options = case
    dy = normal(*jax.eval_shape(partial(conv1d, **options), x, kernel).shape)

    def gradients(conv):
        return jax.jit(lambda x, kernel, dy: jax.vjp(partial(conv, **options), x, kernel)[1](dy))(x, kernel, dy)

    assert_close(gradients(conv1d), gradients(convolution_xla.conv1d), 1e-5)


SMALL = {"groups": (8, 12, 5, 2, 3, 1, 4, 13), "dilation": (4, 6, 3, 1, 2, 3, 2, 11), "stride": (3, 4, 5, 3, 2, 1, 1, 14)}
each_small = pytest.mark.parametrize("case", SMALL.values(), ids=SMALL.keys(), indirect=True)


@each_small
def test_derivatives_of_any_order_and_mode_equal_those_of_xla(case, float64):
    x, kernel, options = case
    operands = x.astype(jnp.float64), kernel.astype(jnp.float64)

    def derivatives(conv):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(conv(x, kernel, **options)))

        first = jax.grad(loss, argnums=(0, 1))
        penalty = jax.grad(lambda *operands: sum(jnp.sum(one**2) for one in first(*operands)), argnums=(0, 1))

        def both(*operands):
            forward = jax.jvp(penalty, operands, jax.tree.map(jnp.cos, operands))
            return forward, jax.hessian(loss, argnums=1)(*operands)

        return jax.jit(both)(*operands)

    assert_close(derivatives(conv1d), derivatives(convolution_xla.conv1d), 1e-12)


@each_small
@pytest.mark.parametrize("axes", [(1, None), (None, 2), (0, 3)], ids=["inputs", "kernels", "both"])
def test_vmapped_convolutions_and_gradients_equal_those_of_each_example(case, axes, normal):
    x, kernel, options = case

    @jax.jit
    def both(x, kernel):
        y, pull_back = jax.vjp(partial(conv1d, **options), x, kernel)
        return y, pull_back(jnp.cos(y))

    operands = [normal(3, *one.shape) if axis is not None else one for one, axis in zip((x, kernel), axes, strict=True)]
    each = [both(*(one if axis is None else one[i] for one, axis in zip(operands, axes, strict=True))) for i in range(3)]
    moved = (one if axis is None else jnp.moveaxis(one, 0, axis) for one, axis in zip(operands, axes, strict=True))
    assert_close(jax.jit(jax.vmap(both, axes))(*moved), jax.tree.map(lambda *one: jnp.stack(one), *each), 1e-6)


@each_small
def test_under_shard_map_the_gradient_of_a_shared_kernel_is_summed_over_devices(case):
    """With check_vma, jax sums; without it, the caller has to."""
    x, kernel, options = case
    mesh = AbstractMesh((2,), ("data",), axis_types=(AxisType.Auto,))

    def gradients(x, kernel):
        return jax.grad(lambda *operands: jnp.sum(jnp.sin(conv1d(*operands, **options))), argnums=(0, 1))(x, kernel)

    for check, out_specs in ((True, (PartitionSpec("data"), PartitionSpec())), (False, PartitionSpec("data"))):
        specs = dict(in_specs=(PartitionSpec("data"), PartitionSpec()), out_specs=out_specs, check_vma=check)
        program = str(jax.make_jaxpr(jax.shard_map(gradients, mesh=mesh, **specs))(x, kernel))
        assert program.count("= psum") == (1 if check else 0), program


@each_small
def test_all_forms_compile_under_shard_map_with_the_same_gradients(case):
    x, kernel, options = case
    mesh = jax.make_mesh((1,), ("data",), (AxisType.Auto,), devices=jax.devices()[:1])

    def loss(conv, x, kernel):
        return jnp.sum(jnp.sin(conv(x, kernel, **options)))

    rows, replicated = PartitionSpec("data"), PartitionSpec()
    ours, theirs = (jax.grad(partial(loss, conv), argnums=(0, 1)) for conv in (conv1d, convolution_xla.conv1d))
    expected = jax.jit(theirs)(x, kernel)
    for check in (True, False):
        sharded = jax.shard_map(ours, mesh=mesh, in_specs=(rows, replicated), out_specs=(rows, replicated), check_vma=check)
        assert_close(jax.jit(sharded)(x, kernel), expected, 1e-5)


@each_small
def test_rematerialized_gradients_are_the_same(case):
    x, kernel, options = case

    def loss(x, kernel):
        return jnp.sum(jnp.sin(conv1d(x, kernel, **options)))

    again, once = (jax.jit(jax.grad(function, argnums=(0, 1)))(x, kernel) for function in (jax.checkpoint(loss), loss))
    assert_close(again, once, 1e-6)


@each_small
def test_results_in_bfloat16_are_those_of_the_definition_after_rounding(case):
    x, kernel, options = case
    x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)

    @jax.jit
    def both(x, kernel):
        y, pull_back = jax.vjp(partial(conv1d, **options), x, kernel)
        return y, pull_back(y)

    y, gradients = both(x, kernel)
    assert {one.dtype for one in (y, *gradients)} == {jnp.dtype(jnp.bfloat16)}
    assert_close(y, definition(x, kernel, **options), 1e-2)


def test_dtypes_are_promoted_and_mismatched_channels_are_an_error(normal):
    x, kernel = normal(1, 9, 4), normal(3, 4, 4).astype(jnp.bfloat16)
    np.testing.assert_array_equal(conv1d(x, kernel), conv1d(x, kernel.astype(jnp.float32)))
    for channels, groups in ((5, 1), (2, 3)):
        with pytest.raises(ValueError, match=f"in {groups} groups"):
            conv1d(x, normal(3, channels, 4), groups=groups)


def lowered(case, platform):
    x, kernel, options = case
    return jax.jit(partial(conv1d, **options)).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_use_xla_s_own_convolution(case, platform):
    text = lowered(case, platform)
    assert text.count("stablehlo.convolution") == 1
    assert "stablehlo.dot_general" not in text


@pytest.mark.parametrize("case", [CASES[name] for name in CASES if name.startswith("long")], indirect=True)
def test_cpus_compute_long_convolutions_as_convolutions_over_tiles(case):
    assert lowered(case, "cpu").count("stablehlo.convolution") == 8


@pytest.mark.parametrize("case", [CASES[name] for name in CASES if name.startswith("few_products")], indirect=True)
def test_cpus_compute_layers_with_few_products_without_convolutions(case):
    assert "stablehlo.convolution" not in lowered(case, "cpu")


@pytest.mark.parametrize(("taps", "stride"), [(16, 8), (4, 2), (8, 4), (11, 5), (8, 5), (3, 3), (7, 2)])
def test_transposed_convolution_equals_its_definition(taps, stride, normal):
    x = normal(2, 9, 5)
    kernel = normal(taps, 5, 3)
    y = jax.jit(partial(conv_transpose1d, stride=stride))(x, kernel)
    assert y.shape == (2, 9 * stride, 3)
    np.testing.assert_allclose(y, transposed_definition(x, kernel, stride), atol=2e-5)
