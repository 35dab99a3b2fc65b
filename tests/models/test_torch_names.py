import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.errors import CheckpointError
from hifigan_jax.models.discriminators.torch_names import discriminator_variables
from hifigan_jax.models.hifigan.torch_names import generator_params
from hifigan_jax.models.layers import fold_norms
from hifigan_jax.training.setup import discriminator_of


def numbered(*shape):
    """Entry [i, j, k] is ijk + 1 in decimal digits, so that every entry identifies its position."""
    digits = enumerate(np.indices(shape)[::-1])
    return 1 + sum(index * 10**digit for digit, index in digits).astype(np.float32)


# A generator with one upsampling and one block: names and shapes [out, in, k], transposed [in, out, k].
KERNELS = {
    "conv_pre": (4, 3, 7),
    "ups.0": (4, 2, 6),
    "resblocks.0.convs1.0": (2, 2, 3),
    "resblocks.0.convs1.1": (2, 2, 3),
    "resblocks.0.convs2.0": (2, 2, 3),
    "conv_post": (1, 2, 7),
}
OURS = ["conv_pre", "ups_0", "resblocks_0/convs1_0", "resblocks_0/convs1_1", "resblocks_0/convs2_0", "conv_post"]


def biases():
    return {f"{name}.bias": numbered(shape[1 if name == "ups.0" else 0]) for name, shape in KERNELS.items()}


def with_weight_norm(v="weight_v", g="weight_g"):
    state = biases()
    for name, shape in KERNELS.items():
        state[f"{name}.{v}"] = numbered(*shape)
        state[f"{name}.{g}"] = numbered(shape[0], 1, 1)
    return state


def without_weight_norm():
    return biases() | {f"{name}.weight": numbered(*shape) for name, shape in KERNELS.items()}


def flat(tree):
    return traverse_util.flatten_dict(tree, sep="/")


def assert_equal(tree, other):
    assert flat(tree).keys() == flat(other).keys()
    for name, leaf in flat(tree).items():
        np.testing.assert_array_equal(leaf, flat(other)[name], err_msg=name)


def test_names_by_hand():
    assert flat(generator_params(with_weight_norm())).keys() == {
        f"{layer}/{leaf}" for layer in OURS for leaf in ("v", "g", "bias")
    }


def test_axes_by_hand():
    params = generator_params(with_weight_norm())
    kernel = params["conv_pre"]["v"]  # theirs [out, in, k], ours [k, in, out]
    assert kernel.shape == (7, 3, 4)
    assert kernel[6, 2, 3] == 326 + 1
    transposed = params["ups_0"]["v"]  # theirs [in, out, k]
    assert transposed.shape == (6, 4, 2)
    assert transposed[5, 3, 1] == 315 + 1
    np.testing.assert_array_equal(params["ups_0"]["g"], [1, 101, 201, 301])
    np.testing.assert_array_equal(params["conv_pre"]["g"], [1, 101, 201, 301])
    np.testing.assert_array_equal(params["ups_0"]["bias"], [1, 2])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_are_contiguous_and_keep_their_dtype(dtype):
    for leaf in jax.tree.leaves(generator_params({name: value.astype(dtype) for name, value in with_weight_norm().items()})):
        assert leaf.dtype == dtype
        assert leaf.flags.c_contiguous


def test_both_spellings_of_weight_norm_give_the_same_parameters():
    newer = with_weight_norm(v="parametrizations.weight.original1", g="parametrizations.weight.original0")
    assert_equal(generator_params(newer), generator_params(with_weight_norm()))


def test_removed_weight_norm_is_restored():
    params = generator_params(without_weight_norm())
    for name, leaf in flat(generator_params(with_weight_norm())).items():
        if not name.endswith("/g"):
            np.testing.assert_array_equal(flat(params)[name], leaf)
    # One norm per entry of torch's first axis: output channels, or input channels of transposed convolutions.
    for ours, theirs in (("conv_pre", "conv_pre"), ("ups_0", "ups.0")):
        norms = [np.linalg.norm(numbered(*KERNELS[theirs])[channel].astype(np.float64)) for channel in range(4)]
        np.testing.assert_allclose(params[ours]["g"], norms, rtol=1e-6)
        axis = (0, 2) if ours == "ups_0" else (0, 1)
        np.testing.assert_allclose(
            np.sqrt(np.square(params[ours]["v"], dtype=np.float64).sum(axis)), params[ours]["g"], rtol=1e-6
        )


def test_a_channel_of_zeros_survives_without_weight_norm():
    state = without_weight_norm()
    state["conv_pre.weight"][2] = 0
    state["ups.0.weight"][2] = 0
    folded = fold_norms(jax.tree.map(jnp.asarray, generator_params(state)))
    np.testing.assert_allclose(folded["conv_pre"]["kernel"], state["conv_pre.weight"].transpose(2, 1, 0), rtol=1e-6)
    np.testing.assert_allclose(folded["ups_0"]["kernel"], state["ups.0.weight"].transpose(2, 0, 1), rtol=1e-6)


def test_the_prefix_of_distributed_training_is_removed():
    prefixed = {f"module.{name}": value for name, value in with_weight_norm().items()}
    assert_equal(generator_params(prefixed), generator_params(with_weight_norm()))


def without(name):
    return {key: value for key, value in with_weight_norm().items() if not key.startswith(name)}


def replaced(**changes):
    return with_weight_norm() | {name.replace("__", "."): value for name, value in changes.items()}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "not a HiFi-GAN generator"),
        ([], "not a state_dict"),
        (None, "not a state_dict"),
        ({"conv_pre.bias": [1.0]}, "not a state_dict"),
        ({"generator": with_weight_norm()}, "not a state_dict"),
        (without("conv_pre"), "not a HiFi-GAN generator"),
        (without("conv_post"), "not a HiFi-GAN generator"),
        (without("ups.0.bias"), "layer ups_0 is incomplete"),
        (without("conv_pre.weight_g"), "layer conv_pre is incomplete"),
        (without("resblocks.0.convs1.1.weight_v"), "layer convs1_1 is incomplete"),
        (with_weight_norm() | without_weight_norm(), "incomplete"),
        (replaced(conv_pre__running_mean=numbered(4)), "unknown tensor name conv_pre.running_mean"),
        (replaced(weight=numbered(4)), "unknown tensor name weight"),
        (replaced(conv_pre__weight_v=numbered(4, 3)), "conv_pre"),
        (replaced(conv_pre__weight_v=numbered(4, 3, 7, 2)), "conv_pre"),
        (replaced(ups__0__weight_v=np.array(3, np.float32)), "ups"),
        (replaced(conv_pre__bias__bias=numbered(4)), "conv_pre"),
        (with_weight_norm() | {0: numbered(4)}, "not a state_dict"),
        (with_weight_norm() | {"a\nb": numbered(4)}, "unknown tensor name"),
    ],
)
def test_a_state_dict_of_another_model_is_refused(state, words):
    with pytest.raises(CheckpointError) as caught:
        generator_params(state)
    assert words in str(caught.value)


# --- discriminators -------------------------------------------------------------------------------------------------------------

MPD = {
    "discriminators.0.convs.1.bias": numbered(4),
    "discriminators.0.convs.1.weight_g": numbered(4, 1, 1, 1),
    "discriminators.0.convs.1.weight_v": numbered(4, 3, 5)[..., None],
    "discriminators.4.conv_post.bias": numbered(1),
    "discriminators.4.conv_post.weight_g": numbered(1, 1, 1, 1),
    "discriminators.4.conv_post.weight_v": numbered(1, 4, 3)[..., None],
}
MSD = {
    "discriminators.0.convs.2.bias": numbered(4),
    "discriminators.0.convs.2.weight_orig": numbered(4, 3, 5),
    "discriminators.0.convs.2.weight_u": numbered(4),
    "discriminators.0.convs.2.weight_v": np.arange(15, dtype=np.float32),  # of the flattened [in, k]
    "discriminators.1.convs.0.bias": numbered(4),
    "discriminators.1.convs.0.weight_g": numbered(4, 1, 1),
    "discriminators.1.convs.0.weight_v": numbered(4, 1, 5),
}


def test_discriminator_names_and_axes_by_hand():
    variables = discriminator_variables(MPD, MSD)
    params, spectral = flat(variables["params"]), flat(variables["spectral"])
    assert params.keys() == {
        *(f"mpd_0/convs_1/{leaf}" for leaf in ("v", "g", "bias")),
        *(f"mpd_4/conv_post/{leaf}" for leaf in ("v", "g", "bias")),
        *(f"msd_0/convs_2/{leaf}" for leaf in ("kernel", "bias")),
        *(f"msd_1/convs_0/{leaf}" for leaf in ("v", "g", "bias")),
    }
    assert spectral.keys() == {"msd_0/convs_2/u", "msd_0/convs_2/v"}
    assert params["mpd_0/convs_1/v"].shape == (5, 3, 4)
    assert params["mpd_0/convs_1/v"][4, 2, 3] == 324 + 1
    assert params["msd_0/convs_2/kernel"][4, 2, 3] == 324 + 1
    np.testing.assert_array_equal(params["mpd_0/convs_1/g"], [1, 1001, 2001, 3001])


def test_the_singular_vector_v_is_reordered_like_the_kernel():
    spectral = discriminator_variables(MPD, MSD)["spectral"]["msd_0"]["convs_2"]
    np.testing.assert_array_equal(spectral["u"], [1, 2, 3, 4])
    assert spectral["v"].shape == (5, 3)
    np.testing.assert_array_equal(spectral["v"][1], [1, 6, 11])  # tap 1 of inputs 0, 1, 2: theirs at in * 5 + k
    kernel = discriminator_variables(MPD, MSD)["params"]["msd_0"]["convs_2"]["kernel"]
    theirs = MSD["discriminators.0.convs.2.weight_orig"].reshape(4, 15) @ MSD["discriminators.0.convs.2.weight_v"]
    np.testing.assert_allclose(np.einsum("kio,ki->o", kernel, spectral["v"]), theirs, rtol=1e-6)


def test_the_prefix_is_also_removed_from_discriminators():
    prefixed = [{f"module.{name}": value for name, value in state.items()} for state in (MPD, MSD)]
    assert_equal(discriminator_variables(*prefixed), discriminator_variables(MPD, MSD))


def reference_state(family):
    """A state_dict with the shapes of the reference's full discriminators, from its source by hand."""
    widths = {"mpd": [1, 32, 128, 512, 1024, 1024, 1], "msd": [1, 128, 128, 256, 512, 1024, 1024, 1024, 1]}[family]
    taps = {"mpd": [5, 5, 5, 5, 5, 3], "msd": [15, 41, 41, 41, 41, 41, 5, 3]}[family]
    groups = {"mpd": [1] * 6, "msd": [1, 4, 16, 16, 16, 16, 1, 1]}[family]
    state = {}
    for number in range(5 if family == "mpd" else 3):
        for layer, (inputs, outputs, k, g) in enumerate(zip(widths, widths[1:], taps, groups, strict=False)):
            name = f"discriminators.{number}." + ("conv_post" if layer == len(taps) - 1 else f"convs.{layer}")
            last_axis, shape = ((1,) if family == "mpd" else ()), (outputs, inputs // g, k)
            kernel = np.broadcast_to(np.float32(1), shape + last_axis)
            state[f"{name}.bias"] = np.zeros(outputs, np.float32)
            if family == "msd" and number == 0:
                state |= {f"{name}.weight_orig": kernel, f"{name}.weight_u": np.zeros(outputs, np.float32)}
                state[f"{name}.weight_v"] = np.zeros(inputs // g * k, np.float32)
            else:
                state |= {f"{name}.weight_v": kernel, f"{name}.weight_g": np.ones((outputs, 1, 1, *last_axis), np.float32)}
    return state


def test_the_reference_s_discriminators_have_our_shapes():
    variables = discriminator_variables(reference_state("mpd"), reference_state("msd"))
    discriminator = discriminator_of(load_config(packaged_config("config_v1")))
    expected = jax.eval_shape(discriminator.init, jax.random.key(0), np.zeros((1, 8192), np.float32))
    assert jax.tree.map(np.shape, dict(variables)) == jax.tree.map(np.shape, dict(expected))
