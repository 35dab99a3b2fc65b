import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.models.discriminators.period.discriminator import PeriodDiscriminator
from hifigan_jax.models.discriminators.scale.discriminator import average_pool
from hifigan_jax.training.setup import discriminator_of


def test_parameter_counts_equal_the_reference_s():
    discriminator = discriminator_of(load_config(packaged_config("config_v1")))
    params = jax.eval_shape(discriminator.init, jax.random.key(0), jnp.zeros((1, 8192)))["params"]
    count = {family: 0 for family in ("mpd", "msd")}
    for name, part in params.items():
        count[name[:3]] += sum(leaf.size for leaf in jax.tree.leaves(part))
    assert count == {"mpd": 41_105_770, "msd": 29_618_821}


def test_there_are_54_feature_maps_and_8_scores():
    discriminator = discriminator_of(load_config(packaged_config("config_v1"), {"discriminator_channel_mult": 0.125}))
    variables = jax.eval_shape(discriminator.init, jax.random.key(0), jnp.zeros((1, 4096)))
    (output,) = jax.eval_shape(discriminator.apply, variables, jnp.zeros((2, 4096)))
    assert len(output.scores) == 8
    assert [len(features) for features in output.features] == [6] * 5 + [8] * 3
    assert all(features[-1].shape == score.shape for features, score in zip(output.features, output.scores, strict=True))


def test_mpd_has_the_periods_of_the_configuration():
    config = load_config(packaged_config("config_v1"), {"discriminators": ["mpd"], "mpd_periods": [4, 9]})
    variables = jax.eval_shape(discriminator_of(config).init, jax.random.key(0), jnp.zeros((1, 8192)))
    (output,) = jax.eval_shape(discriminator_of(config).apply, variables, jnp.zeros((2, 8192)))
    assert [score.shape[0] for score in output.scores] == [2 * 4, 2 * 9]


@pytest.mark.parametrize("length", [8, 9, 4097])
def test_average_pool_includes_the_zeros_at_the_edges(length, normal):
    audio = normal(2, length)
    padded = np.pad(np.asarray(audio), ((0, 0), (2, 2)))
    expected = [padded[:, 2 * i : 2 * i + 4].mean(axis=1) for i in range(length // 2 + 1)]
    np.testing.assert_allclose(average_pool(audio), np.stack(expected, axis=1), atol=1e-6)


def test_only_incomplete_periods_are_padded(normal):
    part = PeriodDiscriminator(3, 1 / 32)
    audio = normal(2, 300)
    params = part.init(jax.random.key(0), audio)
    full, _ = part.apply(params, audio)
    cut, _ = part.apply(params, audio[:, :298])  # padded to 300 by reflection of the two samples before the last
    reflected = jnp.concatenate([audio[:, :298], audio[:, 296:297], audio[:, 295:296]], axis=1)
    assert full.shape[1] == part.apply(params, reflected)[0].shape[1]
    np.testing.assert_allclose(cut, part.apply(params, reflected)[0], atol=1e-7)


def test_joint_outputs_for_several_batches_equal_those_of_separate_calls(normal, one_scale):
    config = load_config(packaged_config("config_v1"), {"discriminator_channel_mult": 0.125, "mpd_periods": [2, 3]})
    discriminator = discriminator_of(config)
    real, fake = normal(2, 2, 2048)
    variables = jax.jit(discriminator.init)(jax.random.key(0), real)

    @jax.jit
    def discriminate(variables, *batches):
        return discriminator.apply(variables, *batches, mutable=["spectral"])

    together, final = discriminate(variables, real, fake)
    (on_real,), updated = discriminate(variables, real)
    (on_fake,), separate = discriminate(variables | updated, fake)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), together, (on_real, on_fake))
    jax.tree.map(np.testing.assert_array_equal, final, separate)
