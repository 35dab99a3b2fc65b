import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax.losses import (
    feature_matching_loss,
    hinge_discriminator,
    hinge_generator,
    least_squares_discriminator,
    least_squares_generator,
    mean_absolute_difference,
)

REAL = [jnp.array([1.0, 0.0]), jnp.array([[3.0]])]
FAKE = [jnp.array([0.0, 2.0]), jnp.array([[-1.0]])]


def test_least_squares_loss_of_discriminators_by_hand():
    # (0 + 1) / 2 + (0 + 4) / 2 for the first sub-discriminator, 4 + 1 for the second
    assert least_squares_discriminator(REAL, FAKE) == 0.5 + 2 + 4 + 1


def test_least_squares_loss_of_the_generator_by_hand():
    # (1 + 1) / 2, then (1 + 1)^2
    assert least_squares_generator(FAKE) == 1 + 4


def test_hinge_losses_by_hand():
    # (0 + 1) / 2 + (1 + 3) / 2 for the first sub-discriminator, 0 + 0 for the second
    assert hinge_discriminator(REAL, FAKE) == 0.5 + 2
    assert hinge_generator(FAKE) == -1 + 1
    assert hinge_discriminator([jnp.ones(3)], [-jnp.ones(3)]) == 0


def test_perfect_scores_have_zero_loss():
    ones, zeros = [jnp.ones((2, 5)), jnp.ones((2, 3, 2))], [jnp.zeros((2, 5)), jnp.zeros((2, 3, 2))]
    assert least_squares_discriminator(ones, zeros) == 0
    assert least_squares_generator(ones) == 0


def test_feature_matching_is_a_sum_of_means_over_all_maps():
    real = [[jnp.array([[1.0, 2.0]]), jnp.zeros((2, 2, 2))], [jnp.array([5.0])]]
    fake = [[jnp.array([[0.0, 4.0]]), jnp.full((2, 2, 2), 0.25)], [jnp.array([1.0])]]
    assert feature_matching_loss(real, fake) == 1.5 + 0.25 + 4


def test_terms_are_not_weighted():
    """The training step applies the weights 2 and 45."""
    assert feature_matching_loss([[jnp.ones(3)]], [[jnp.zeros(3)]]) == 1
    assert mean_absolute_difference(jnp.ones((1, 2, 3)), jnp.zeros((1, 2, 3))) == 1


def test_mean_absolute_difference_by_hand():
    assert mean_absolute_difference(jnp.array([[1.0, -2.0]]), jnp.array([[3.0, -1.0]])) == 1.5


def test_a_large_map_counts_no_more_than_a_small_one():
    assert least_squares_generator([jnp.zeros((4, 1000)), jnp.zeros((4, 1))]) == 2


def test_numbers_of_maps_must_match():
    with pytest.raises(ValueError, match="shorter"):
        least_squares_discriminator(REAL, FAKE[:1])
    with pytest.raises(ValueError, match="shorter"):
        feature_matching_loss([REAL], [FAKE[:1]])


def test_gradients_by_hand():
    score = jnp.array([0.0, 3.0])
    np.testing.assert_allclose(jax.grad(lambda fake: least_squares_generator([fake]))(score), [-1, 2])  # (s - 1), for 2 entries
    np.testing.assert_allclose(jax.grad(lambda fake: least_squares_discriminator([score], [fake]))(score), [0, 3])
    np.testing.assert_allclose(jax.grad(lambda real: least_squares_discriminator([real], [score]))(score), [-1, 2])
