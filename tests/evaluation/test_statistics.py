import math

import numpy as np
import pytest

from hifigan_jax.evaluation.statistics import FEWEST, interval, summarize

TRIALS, RESAMPLES = 1000, 1000
DRAWS = {
    "normal": (lambda draws, size: draws.normal(1.0, 2.0, size), 1.0),
    "log-normal": (lambda draws, size: draws.lognormal(0.0, 1.0, size), math.exp(0.5)),
}


def coverage(name, size):
    """How often the interval of `size` draws contains the true mean."""
    draw, mean = DRAWS[name]
    draws = np.random.default_rng(size)
    intervals = (interval(draw(draws, size), RESAMPLES, trial) for trial in range(TRIALS))
    return sum(low <= mean <= high for low, high in intervals) / TRIALS


@pytest.mark.parametrize("name", DRAWS)
def test_intervals_of_60_files_cover_the_true_mean(name):
    assert 0.93 <= coverage(name, 60) <= 0.97


@pytest.mark.parametrize("name", DRAWS)
def test_intervals_of_18_files_cover_the_true_mean_nearly_as_often(name, capsys):
    found = coverage(name, 18)
    with capsys.disabled():
        print(f"\ncoverage of the 95 % interval, 18 {name} draws: {found:.1%}")
    assert 0.90 <= found <= 0.98


def test_a_summary_by_hand():
    found = summarize(np.array([1.0, 2.0, math.nan, 6.0]))
    assert (found.mean, found.median, found.count) == (3.0, 2.0, 3)
    assert found.low is found.high is None  # fewer than FEWEST
    assert summarize(np.array([math.nan])) is None


def test_an_interval_ends_at_the_limits_of_the_range():
    values = np.array([0.2, 0.9, 0.95, 0.97, 0.99])
    assert summarize(values).high > 1
    assert summarize(values, 0.0, 1.0).high == 1
    assert summarize(1 - values, 0.0, 1.0).low == 0
    assert summarize(values, 0.0, 0.1).high == values.mean()  # never on the wrong side of the mean


def test_equal_values_have_an_interval_of_length_zero():
    found = summarize(np.full(FEWEST, 4.64))
    assert (found.low, found.high) == (found.mean, found.mean)


@pytest.mark.parametrize("size", [92, 117])  # in which the mean of equal values is not exactly their value
def test_resamples_of_equal_values_do_not_widen_the_interval(size):
    values = np.full(size, 0.3368976266911904)
    values[:2] = 0.6893444454848344
    low, high = interval(values)
    assert 0 <= low < values.mean() < high <= 1


def test_the_interval_of_a_normal_sample_is_close_to_students_t():
    values = np.random.default_rng(1).normal(size=400)
    low, high = interval(values)
    error = values.std(ddof=1) / math.sqrt(values.size)
    assert low == pytest.approx(values.mean() - 1.966 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.966 * error, abs=0.1 * error)


def test_the_interval_follows_the_skew_of_the_values():
    values = np.random.default_rng(0).lognormal(size=60)
    low, high = interval(values)
    assert high - values.mean() > values.mean() - low


def test_the_interval_scales_and_shifts_with_the_values():
    values = np.random.default_rng(0).normal(size=20)
    low, high = interval(values)
    assert interval(3 * values + 1) == pytest.approx((3 * low + 1, 3 * high + 1))


def test_an_interval_in_blocks_equals_one_of_the_same_draws(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    once = interval(values)
    monkeypatch.setattr("hifigan_jax.evaluation.statistics._BLOCK", 1000)
    assert interval(values) == once
