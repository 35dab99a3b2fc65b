"""A check that a mel can be of the convention it is taken for: its range, and whether it looks like speech in it.

Every convention defines magnitudes. Taken in the right one, those of speech have a typical level, dynamic range and change from
frame to frame; taken in another, they do not, and there is a convention in which they do. Mels whose conventions differ in
nothing but frequencies or framing cannot be distinguished by their values.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hifigan_jax.conventions import CONVENTIONS, Convention
from hifigan_jax.errors import DataError
from hifigan_jax.filterbank import analysis_window, compress, filterbank, silence
from hifigan_jax.mel_conversion import expand

SHORTEST = 56  # frames; shorter mels are checked for their range only
_MARGINS = {"clamp": (0.2, 0.1), "add": (0.1, 0.1)}  # parts of the range by which predicted mels may exceed it at each end
_OUTLIERS = 0.01  # part of the values that may be outside
_UNLIKELY = 12.0  # a distance above which a mel is not taken for speech
_CLOSER = 9.0  # by how much closer another convention must be


class Statistics(NamedTuple):
    """Level, dynamic range and change of a mel, in nepers of magnitude per filter of unit area."""

    quiet: float  # 5th percentile
    median: float
    loud: float  # 99th percentile
    change: float  # mean absolute difference of consecutive frames where it is louder than the median

    @property
    def distance(self) -> float:
        """The distance from typical speech: squared deviations, in tolerances, of level, range and change."""
        spread = max(self.loud - self.median, 1e-3)
        return (
            ((self.median + 5.9) / 1.2) ** 2
            + ((self.loud + 1.1) / 0.9) ** 2
            + (np.log(spread / 4.8) / 0.25) ** 2
            + (max(self.quiet - self.median + 1.9, 0) / 0.3) ** 2
            + (np.log(max(self.change, 1e-3) / 0.46) / 0.35) ** 2
        )


def statistics(mel: Float[np.ndarray, "F M"], c: Convention) -> Statistics:
    """The statistics of a mel, taken as one of the convention."""
    area = filterbank(c).sum(axis=1) * c.sampling_rate / c.n_fft  # 1 for filters of unit area
    magnitude = expand(np.minimum(mel, bounds(c)[1]), c)  # the few values that may be above it could be of any size
    level = np.log(np.maximum(magnitude, 1e-12)) - np.log(np.maximum(area, 1e-3))
    if c.power == 2:  # as of magnitudes with the same root mean square
        level = (level + np.log(c.n_fft / c.sampling_rate)) / 2
    quiet, median, loud = np.percentile(level, [5, 50, 99])
    change = np.abs(np.diff(level, axis=0))[level[1:] > median]
    return Statistics(float(quiet), float(median), float(loud), float(change.mean()) if change.size else 0.0)


def bounds(c: Convention) -> tuple[float, float]:
    """The lowest and the highest value that a mel of audio within [-1, 1] can have, over all bins."""
    window = analysis_window(c)
    filters = filterbank(c)
    energy = c.n_fft * (window**2).sum()  # of a spectrum, by Parseval
    if c.power == 2:
        highest = np.minimum(filters.max(axis=1) * energy, filters.sum(axis=1) * window.sum() ** 2)
    else:
        highest = np.minimum(np.linalg.norm(filters, axis=1) * energy**0.5, filters.sum(axis=1) * window.sum())  # Cauchy-Schwarz
    return float(silence(c).min()), float(compress(highest, c).max())


def check(mel: Float[np.ndarray, "F M"], c: Convention, known: Mapping[str, Convention] = CONVENTIONS) -> None:
    """Raises DataError, with the likely convention among `known`, if a mel cannot be of the convention.

    Mels of music, noise or silence are refused for their range only.
    """
    if reason := _out_of_range(mel, c):
        raise DataError(f"{reason}{_advice(likely(mel, known))}")
    if mel.shape[0] < SHORTEST:
        return
    found = statistics(mel, c)
    names = likely(mel, known, found.distance - _CLOSER) if found.distance > _UNLIKELY else []
    if names:
        raise DataError(f"its values are not those of speech in the expected convention{_advice(names)}")
    if found.distance > _UNLIKELY and _is_without_logarithm(mel, c, found.distance - _CLOSER):
        raise DataError(
            "its values look like magnitudes without the logarithm: take the logarithm, or pass --force (force=True) to use it"
        )


def likely(mel: Float[np.ndarray, "F M"], known: Mapping[str, Convention], closer_than: float = _UNLIKELY) -> list[str]:
    """The conventions of as many bins in which a mel is closest to speech, the closest first; empty if none is close.

    Those that are about as close are in the order of `known`.
    """
    distances = {
        name: statistics(mel, row).distance
        for name, row in known.items()
        if row.num_mels == mel.shape[1] and not _out_of_range(mel, row)
    }
    limit = min(closer_than, _UNLIKELY)
    return sorted((name for name, distance in distances.items() if distance < limit), key=lambda name: round(distances[name]))


def _is_without_logarithm(mel: Float[np.ndarray, "F M"], c: Convention, closer_than: float) -> bool:
    """Whether a mel looks like speech in the convention, in which silence is negative, once its values have been compressed."""
    if mel.min() < 0 or bounds(c)[0] >= 0:
        return False
    return bool(statistics(compress(mel, c), c).distance < min(closer_than, _UNLIKELY))


def _out_of_range(mel: Float[np.ndarray, "F M"], c: Convention) -> str | None:
    lowest, highest = bounds(c)
    below, above = (margin * (highest - lowest) for margin in _MARGINS[c.floor_mode])
    if ((mel < lowest - below) | (mel > highest + above)).mean() <= _OUTLIERS:
        return None
    return f"values from {mel.min():.2f} to {mel.max():.2f} are outside the convention's range, {lowest:.2f} to {highest:.2f}"


def _advice(names: list[str]) -> str:
    if not names:
        return ": pass --force (force=True) to use it"
    shown = ", ".join(names[:4])
    return f": it looks like {shown}: name it with --mel_convention (convention=), or pass --force (force=True)"
