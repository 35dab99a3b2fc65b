import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import errors

from hifigan_jax.models.convolution import conv1d
from hifigan_jax.models.layers import SpectralNormConv, WeightNormConv, WeightNormConvTranspose, fold_norms, weight_norm


def test_weight_norm_initially_equals_the_plain_kernel(normal):
    x = normal(1, 20, 6)
    layer = WeightNormConv(8, 5)
    params = layer.init(jax.random.key(0), x)["params"]
    plain = conv1d(x, params["v"], padding=2) + params["bias"][None, None]
    np.testing.assert_allclose(layer.apply({"params": params}, x), plain, atol=1e-6)


def test_weight_norm_by_hand():
    v = jnp.array([[[3.0, 0.0]], [[4.0, 2.0]]])  # [K 2, in 1, out 2]: norms per output channel are 5 and 2
    kernel = weight_norm(v, jnp.array([10.0, 1.0]), axis=2)
    np.testing.assert_allclose(kernel, [[[6.0, 0.0]], [[8.0, 1.0]]], rtol=1e-6)


def test_transposed_convolutions_are_normed_per_input_channel():
    params = WeightNormConvTranspose(4, 8, 4).init(jax.random.key(0), jnp.zeros((1, 3, 6)))["params"]
    assert params["g"].shape == (6,)


@pytest.mark.parametrize(("layer", "fan_in"), [(WeightNormConv(64, 7), 7 * 10), (WeightNormConvTranspose(64, 8, 4), 8 * 64)])
def test_initial_kernels_cover_torch_s_interval(layer, fan_in):
    params = layer.init(jax.random.key(0), jnp.zeros((1, 9, 10)))["params"]
    for leaf in (params["v"], params["bias"]):
        assert 0.9 / np.sqrt(fan_in) < np.abs(leaf).max() <= 1 / np.sqrt(fan_in)


def test_folded_layers_equal_unfolded_ones(normal, rng):
    x = normal(2, 11, 6)
    for name, layer, folded in (
        ("conv_pre", WeightNormConv(8, 5), WeightNormConv(8, 5, folded=True)),
        ("ups_0", WeightNormConvTranspose(8, 8, 4), WeightNormConvTranspose(8, 8, 4, folded=True)),
    ):
        params = layer.init(jax.random.key(0), x)["params"]
        params["g"] = params["g"] * jnp.asarray(rng.uniform(0.5, 2, params["g"].shape), jnp.float32)
        plain = fold_norms({name: params})[name]
        assert plain.keys() == {"kernel", "bias"}
        expected = layer.apply({"params": params}, x)
        np.testing.assert_allclose(folded.apply({"params": plain}, x), expected, atol=1e-6)


def test_unfolded_parameters_in_a_folded_layer_are_an_error():
    x = jnp.zeros((1, 9, 6))
    params = WeightNormConv(8, 5).init(jax.random.key(0), x)["params"]
    with pytest.raises(errors.ScopeParamNotFoundError):
        WeightNormConv(8, 5, folded=True).apply({"params": params}, x)


def spectral(normal):
    layer = SpectralNormConv(8, 5)
    x = normal(4, 30, 6)
    return layer, x, layer.init(jax.random.key(0), x)


def test_power_iteration_finds_the_largest_singular_value(normal):
    layer, x, variables = spectral(normal)
    for _ in range(200):
        y, updated = layer.apply(variables, x, mutable=["spectral"])
        variables = variables | updated
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    sigma = np.linalg.svd(np.asarray(kernel).reshape(-1, 8), compute_uv=False)[0]
    np.testing.assert_allclose(y, conv1d(x, kernel, padding=2) / sigma + bias[None, None], atol=1e-5)


def test_two_power_iterations_in_one_batch_equal_two_batches(normal):
    layer, x, variables = spectral(normal)
    together, final = layer.apply(variables, x, 2, mutable=["spectral"])
    first, updated = layer.apply(variables, x[:2], mutable=["spectral"])
    second, separate = layer.apply(variables | updated, x[2:], mutable=["spectral"])
    np.testing.assert_allclose(together, np.concatenate([first, second]), atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, final, separate)
    assert np.abs(first - layer.apply(variables, x[:2])).max() > 1e-3  # the iteration matters


def test_immutable_vectors_are_used_as_stored(normal):
    layer, x, variables = spectral(normal)
    kernel, (u, v) = variables["params"]["kernel"], (variables["spectral"][name] for name in "uv")
    sigma = np.einsum("kio,ki,o->", kernel, v, u)
    expected = conv1d(x, kernel, padding=2) / sigma + variables["params"]["bias"][None, None]
    np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=1e-4, atol=1e-4)
