"""The contract of a metric: a pure function of two recordings, and what a table must state about it."""

import importlib.util
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from hifigan_jax.audio import resample
from hifigan_jax.evaluation.provenance import version

Audio = Float[np.ndarray, " T"]


class Value(NamedTuple):
    """One number that a metric returns for each file."""

    label: str
    direction: Literal["higher", "lower"]  # which is better
    lowest: float | None = 0.0  # of its range; None: no limit
    highest: float | None = None
    statistic: Literal["mean", "median"] = "mean"  # over files, in tables


class Metric(NamedTuple):
    """A metric. `measure(reference, synthesized, rate)` returns the named values of one pair of files.

    Both inputs are float32 [T] in [-1, 1], of equal length, at `rate` Hz. A value is NaN where it is undefined. `measure` raises
    DataError for a pair that it cannot compare.
    """

    measure: Callable[[Audio, Audio, int], dict[str, float]]
    values: dict[str, Value]
    mode: str
    source: str
    cannot_separate: str
    rate: int | None = None  # Hz; None: the files' own
    packages: tuple[str, ...] = ()  # distributions, the one that defines the metric first; none: this package
    modules: tuple[str, ...] = ()  # that must be importable
    extra: str = "evaluate"  # of this package, which installs them
    uses_reference: bool = True

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that are not installed."""
        return tuple(name for name in self.modules if importlib.util.find_spec(name) is None)

    @property
    def install(self) -> str:
        """The command that installs the packages."""
        return f"pip install 'hifigan-jax[{self.extra}]'"

    @property
    def versions(self) -> dict[str, str | None]:
        """The versions of the packages."""
        return {name: version(name) for name in self.packages or ("hifigan-jax",)}


def at_rate(audio: Audio, rate: int, target: int) -> Float[np.ndarray, " S"]:
    """Audio as metrics take it: at their sampling rate, clipped to [-1, 1]."""
    return np.clip(audio if rate == target else resample(audio, rate, target), -1, 1)
