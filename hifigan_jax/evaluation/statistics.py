"""Bootstrap confidence intervals of means over files."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

CONFIDENCE, RESAMPLES, SEED = 0.95, 10_000, 0
_SPREAD = 1e-9  # of a resample's standard deviation to that of the values; one below has equal values, up to rounding
FEWEST = 5  # values; fewer have no interval
METHOD = (
    "bootstrap-t over files, which count as independent;"
    " each limit is the farther of the equal-tailed and the symmetric interval's"
)
_BLOCK = 2**22  # values drawn at once


class Summary(NamedTuple):
    """Mean and median over files, and the interval of the mean, None for fewer than FEWEST values."""

    mean: float
    low: float | None
    high: float | None
    median: float
    count: int


def summarize(values: Float[np.ndarray, " N"], lowest: float | None = None, highest: float | None = None) -> Summary | None:
    """The summary of the values that are not NaN; None if there are none. The interval ends at the limits of their range."""
    values = values[~np.isnan(values)]
    if not values.size:
        return None
    mean, low, high = float(values.mean()), None, None
    if values.size >= FEWEST:
        low, high = interval(values)
        low = low if lowest is None else min(mean, max(low, lowest))
        high = high if highest is None else max(mean, min(high, highest))
    return Summary(mean, low, high, float(np.median(values)), values.size)


def interval(
    values: Float[np.ndarray, " N"], resamples: int = RESAMPLES, seed: int = SEED, level: float = CONFIDENCE
) -> tuple[float, float]:
    """The bootstrap-t interval of the mean (Efron and Tibshirani 1993, section 12.5; Hall 1988).

    Each resample's mean is studentized by its own standard error, so that the interval follows the skew of the values. The
    equal-tailed and the symmetric interval each cover the mean of skewed values a little too rarely; each limit is the farther
    of the two. Resamples of equal values have no such error, and are left out.
    """
    mean, size = values.mean(), values.size
    error = values.std(ddof=1) / np.sqrt(size)
    if error <= np.finfo(np.float64).eps * abs(mean):  # all values are equal
        return float(mean), float(mean)
    resampled = np.concatenate([_moments(values - mean, rows, draws) for rows, draws in _blocks(size, resamples, seed)])
    means, errors = resampled[:, 0], resampled[:, 1] / np.sqrt(size)
    valid = errors > _SPREAD * error
    t = means[valid] / errors[valid]
    tail = (1 - level) / 2
    low, high = np.quantile(t, [tail, 1 - tail])
    both = np.quantile(np.abs(t), level)
    return float(mean - max(high, both) * error), float(mean + max(-low, both) * error)


def _blocks(size: int, resamples: int, seed: int) -> Iterator[tuple[int, np.random.Generator]]:
    """The numbers of resamples that are drawn at once, and the generator that draws them."""
    draws = np.random.default_rng(seed)
    rows = max(_BLOCK // size, 1)
    for start in range(0, resamples, rows):
        yield min(rows, resamples - start), draws


def _moments(values: Float[np.ndarray, " N"], rows: int, draws: np.random.Generator) -> Float[np.ndarray, "B 2"]:
    """The mean and the standard deviation of each of `rows` resamples."""
    resamples = values[draws.integers(values.size, size=(rows, values.size))]
    return np.stack([resamples.mean(axis=1), resamples.std(axis=1, ddof=1)], axis=1)
