import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.models.convolution import TILE
from hifigan_jax.models.edges import FULL_ROWS, Edges
from hifigan_jax.models.generator import Conditions
from hifigan_jax.models.hifigan.generator import HiFiGAN
from hifigan_jax.models.layers import fold_norms
from hifigan_jax.training.setup import generator_of

NARROW = {"upsample_initial_channel": 32}
ODD = HiFiGAN(
    num_mels=20,
    resblock="1",
    upsample_rates=(5, 3),
    upsample_kernel_sizes=(10, 6),
    upsample_initial_channel=16,
    resblock_kernel_sizes=(3, 5),
    resblock_dilation_sizes=((1, 3, 5), (1, 3, 5)),
)


GENERATORS = [
    *(
        pytest.param(generator_of(load_config(packaged_config(name), NARROW)), id=name)
        for name in ("config_v1", "config_v3")  # V2 is a narrower V1
    ),
    pytest.param(ODD, id="odd"),
]


@functools.cache
def initial_params(generator):
    conditions = Conditions(jnp.zeros((1, 4, generator.num_mels)))
    return jax.jit(generator.init)(jax.random.key(0), conditions)["params"]


@functools.cache
def program(generator):
    return jax.jit(lambda params, mel, edges: generator.apply({"params": params}, Conditions(mel), edges))


def generated(generator, params, mel, edges=FULL_ROWS):
    return program(generator)(params, mel, edges)


@pytest.mark.parametrize(
    ("name", "with_gains", "folded"),
    [("config_v1", 13_936_130, 13_926_017), ("config_v2", 928_514, 925_985), ("config_v3", 1_464_322, 1_462_273)],
)
def test_parameter_counts_equal_the_reference_s(name, with_gains, folded):
    generator = generator_of(load_config(packaged_config(name)))
    params = jax.eval_shape(generator.init, jax.random.key(0), Conditions(jnp.zeros((1, 4, 80))))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == with_gains
    assert sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(fold_norms, params))) == folded


@pytest.mark.parametrize("generator", GENERATORS)
def test_audio_has_hop_size_samples_per_frame(generator, normal):
    params = initial_params(generator)
    mel = normal(2, 7, generator.num_mels)
    audio = generated(generator, params, mel)
    assert audio.shape == (2, 7 * generator.hop_size)
    assert np.abs(audio).max() < 1


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_receptive_field_is_exact(generator):
    context = generator.receptive_field
    # With positive kernels and no biases, exactly the samples in reach of the only non-zero frame are non-zero.
    params = jax.tree.map(jnp.ones_like, initial_params(generator))
    params = jax.tree_util.tree_map_with_path(lambda path, leaf: leaf * (path[-1].key != "bias"), params)
    mel = jnp.zeros((1, 2 * context + 3, generator.num_mels)).at[:, context + 1].set(1)
    audio = np.asarray(generated(generator, params, mel)).reshape(-1, generator.hop_size)
    reached = np.flatnonzero(audio.any(axis=1))
    assert reached.min() >= 1
    assert reached.max() <= 2 * context + 1
    assert reached.min() == 1 or reached.max() == 2 * context + 1, "the receptive field is too large"


@pytest.mark.parametrize("generator", GENERATORS)
def test_tiles_are_aligned_to_tile_frames(generator):
    for rate in np.cumprod(generator.upsample_rates):
        for dilation in itertools.chain(*generator.resblock_dilation_sizes):
            assert generator.tile_frames * rate % (TILE * dilation) == 0


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_masked_row_equals_the_row_alone(generator, normal):
    params = initial_params(generator)
    mel = normal(3, 20, generator.num_mels)
    lengths = np.array([20, 9, 1])
    batch = generated(generator, params, mel, Edges(jnp.asarray(np.arange(20) < lengths[:, None])))
    for row, length in enumerate(lengths):
        alone = generated(generator, params, mel[row : row + 1, :length])[0]
        np.testing.assert_allclose(batch[row, : alone.size], alone, atol=1e-6)
        assert not batch[row, alone.size :].any()


@pytest.mark.parametrize("generator", GENERATORS)
def test_utterances_separated_by_the_context_equal_the_utterances_alone(generator, normal):
    params = initial_params(generator)
    places = [(0, 9), (9 + generator.receptive_field, 4)]  # first frame, frames
    size = sum(places[-1]) + 2
    mel, inside = normal(1, size, generator.num_mels), np.zeros((1, size), bool)
    for first, count in places:
        inside[0, first : first + count] = True
    row = generated(generator, params, mel, Edges(jnp.asarray(inside)))[0].reshape(size, -1)
    assert not row[~inside[0]].any()
    for first, count in places:
        alone = generated(generator, params, mel[:, first : first + count])[0]
        np.testing.assert_allclose(row[first : first + count].ravel(), alone, atol=1e-6)


@pytest.mark.parametrize("generator", GENERATORS)
def test_folding_changes_nothing(generator, normal, rng):
    params = initial_params(generator)
    params = jax.tree.map(lambda leaf: leaf * jnp.asarray(rng.uniform(0.7, 1.5, leaf.shape), jnp.float32), params)
    mel = normal(1, 9, generator.num_mels)
    folded = generated(generator.clone(folded=True), fold_norms(params), mel)
    np.testing.assert_allclose(folded, generated(generator, params, mel), atol=1e-6)


def test_bfloat16_is_used_in_convolutions_only():
    config = load_config(packaged_config("config_v3"), NARROW)
    exact, rounded = (generator_of(config.replace({"compute_dtype": name})) for name in ("float32", "bfloat16"))
    conditions = Conditions(jax.random.normal(jax.random.key(0), (1, 12, 80)))
    variables = jax.jit(rounded.init)(jax.random.key(1), conditions)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    difference = jax.jit(rounded.apply)(variables, conditions) - jax.jit(exact.apply)(variables, conditions)
    assert difference.dtype == jnp.float32
    assert 0 < np.abs(difference).max() < 0.02 * np.abs(exact.apply(variables, conditions)).max()
