import pytest

from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.flops import generator_flops, training_step_flops


@pytest.mark.parametrize(("name", "expected"), [("config_v1", 859), ("config_v3", 640)])
def test_a_step_costs_what_its_convolutions_cost_in_their_direct_form(name, expected):
    config = load_config(packaged_config(name), {"batch_size": 4})
    assert training_step_flops(config) / 1e9 == pytest.approx(expected, abs=1)


def test_a_convolution_costs_two_operations_a_tap(tiny_config):
    config = tiny_config.model_copy(
        update={
            "upsample_rates": (256,),
            "upsample_kernel_sizes": (256,),
            "upsample_initial_channel": 2,
            "resblock_kernel_sizes": (3,),
            "resblock_dilation_sizes": ((1, 1),),
        }
    )
    taps = 7 * 80 * 2 + 256 * 2 * 1 + 256 * (2 * 3 * 1 * 1) + 256 * 7 * 1 * 1  # conv_pre, ups, two resblock convs, conv_post
    assert generator_flops(config, 5) == 2 * 5 * taps
