import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.flops import generator_flops, products, training_step_flops
from hifigan_jax.models.convolution import conv1d, conv_transpose1d
from hifigan_jax.models.generator import Conditions
from hifigan_jax.training.setup import generator_of


@pytest.mark.parametrize(("name", "expected"), [("config_v1", 859), ("config_v3", 640)])
def test_a_step_counts_convolutions_in_their_direct_form(name, expected):
    config = load_config(packaged_config(name), {"batch_size": 4})
    assert training_step_flops(config) / 1e9 == pytest.approx(expected, abs=1)


def test_a_convolution_takes_two_operations_per_tap(tiny_config):
    config = tiny_config.replace(
        {
            "upsample_rates": (256,),
            "upsample_kernel_sizes": (256,),
            "upsample_initial_channel": 2,
            "resblock_kernel_sizes": (3,),
            "resblock_dilation_sizes": ((1, 1),),
        }
    )
    taps = 7 * 80 * 2 + 256 * 2 * 1 + 256 * (2 * 3 * 1 * 1) + 256 * 7 * 1 * 1  # conv_pre, ups, two resblock convs, conv_post
    assert generator_flops(config, 5) == 2 * 5 * taps


class Function(nn.Module):
    """A module without parameters."""

    function: object

    def __call__(self, x):
        return self.function(x)


def operations(function, x):
    return sum(product.operations for product in products(Function(function), x))


@pytest.mark.parametrize(("taps", "stride"), [(16, 8), (11, 5), (7, 2)])
def test_a_transposed_convolution_multiplies_every_input_by_every_tap(taps, stride, normal):
    """The zeros that pad the kernels of phases do not count."""
    kernel = normal(taps, 3, 4)
    (product,) = products(Function(lambda x: conv_transpose1d(x, kernel, stride=stride)), normal(2, 9, 3))
    assert product.function == "conv_transpose1d"
    assert product.operands == ((2, 9, 3), (taps, 3, 4))
    assert dict(product.options) == {"stride": stride}
    assert product.operations == 2 * (2 * 9) * taps * 3 * 4


def test_convolutions_and_products_are_counted_in_all_inner_programs(normal):
    x, kernel, matrix = normal(4, 20, 6), normal(5, 2, 9), normal(6, 7)
    strided = dict(stride=2, padding=2, groups=3)
    in_conv = 2 * (4 * 10 * 9) * (5 * 2)
    in_xla, in_product = 2 * (4 * 16 * 9) * (5 * 2), 2 * (4 * 20) * 6 * 7

    def apply(x):
        xla = jax.lax.conv_general_dilated(
            x, kernel, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=3
        )
        return jnp.sum(conv1d(x, kernel, **strided)) + jnp.sum(xla) + jnp.sum(x @ matrix)

    total = in_conv + in_xla + in_product
    assert operations(apply, x) == total
    differentiable = jax.custom_vjp(apply)
    differentiable.defvjp(lambda x: (apply(x), x), lambda x, dy: (dy * x,))
    for inner in (jax.jit(apply), jax.checkpoint(apply), differentiable):
        assert operations(inner, x) == total
    mesh = AbstractMesh((2,), ("data",), axis_types=(AxisType.Auto,))
    rows = PartitionSpec("data")
    assert operations(jax.shard_map(lambda x: apply(x)[None], mesh=mesh, in_specs=rows, out_specs=rows), x) == total
    assert operations(lambda x: jax.lax.map(lambda row: apply(row[None]), x), x) == total
    assert operations(lambda x: jax.lax.cond(jnp.sum(x) > 0, apply, lambda x: jnp.sum(x @ matrix), x), x) == total
    with pytest.raises(ValueError, match="while loop"):
        operations(lambda x: jax.lax.while_loop(lambda x: jnp.sum(x) > 0, lambda x: x @ normal(6, 6), x), x)


def test_products_have_their_layer_s_name_options_and_operands(tiny_config):
    found = products(generator_of(tiny_config), Conditions(jnp.zeros((1, 4, 80))))
    assert [product.layer.rpartition("/")[2] for product in found[:3]] == ["conv_pre", "ups_0", "convs_0"]
    assert dict(found[3].options) == {"stride": 1, "padding": 2, "dilation": 2, "groups": 1}
    assert found[3].operands == ((1, 32, 8), (3, 8, 8))
