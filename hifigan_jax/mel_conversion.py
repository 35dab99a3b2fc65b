"""Conversion of mels from one convention to another, where it is exact: logarithm, floor, normalization and framing."""

import difflib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydantic
from jaxtyping import Float

from hifigan_jax.config.files import read_json
from hifigan_jax.config.flat import message_of
from hifigan_jax.config.sections import OVERRIDES, Mel
from hifigan_jax.conventions import CONVENTIONS, Convention
from hifigan_jax.errors import DataError, UsageError, did_you_mean
from hifigan_jax.filterbank import compress, silence

# Fields that a mel cannot be converted between, and what they are called in messages.
_FIXED = {
    "sampling_rate": "sampling_rate",
    "n_fft": "n_fft",
    "win_size": "win_size",
    "hop_size": "hop_size",
    "num_mels": "num_mels",
    "fmin": "fmin",
    "fmax": "fmax",
    "scale": "mel_scale",
    "norm": "mel_norm",
    "power": "mel_power",
}
# Mel magnitude below which floors are equivalent: that of the rounding noise of 16-bit audio is about 8e-6.
_INAUDIBLE = 2e-6
_RESOLUTION = 2.0**-23  # of float32


class Conversion(NamedTuple):
    """From mels of `source` to those of `target`, between which `obstacles` finds none."""

    source: Convention
    target: Convention

    @property
    def shift(self) -> int:
        """How many samples later in the audio the frames of `target` are than those of `source`."""
        return self.target.center - self.source.center

    def values(self, mel: Float[np.ndarray, "F M"]) -> Float[np.ndarray, "F M"]:
        """The values, float32, that `target` has for the frames of a mel of `source`. Raises DataError if one overflows."""
        if _values_of(self.source) == _values_of(self.target):
            return mel
        with np.errstate(over="ignore"):
            converted = compress(expand(mel, self.source), self.target).astype(np.float32)
        if not np.isfinite(converted).all():
            raise DataError(f"a mel with values up to {mel.max():.3g} cannot be converted: compute it again")
        return converted

    def for_synthesis(self, mel: Float[np.ndarray, "F M"]) -> Float[np.ndarray, "F_target M"]:
        """The mel to synthesize, in whose audio `kept` are the samples of the recording.

        If frames of `target` are earlier, a copy of frame 0 is prepended: by reflection, it is the frame before frame 0.
        """
        converted = self.values(mel)
        return np.concatenate([converted[:1], converted]) if self.shift < 0 else converted

    def kept(self, frames: int) -> slice:
        """The samples of the audio of `for_synthesis` that belong to the recording, from its first sample on."""
        hop, start = self.target.hop_size, self.shift % self.target.hop_size
        available = (frames + (self.shift < 0)) * hop
        wanted = max(self.source.samples(frames), hop // 2) if self.shift else frames * hop
        return slice(start, min(start + wanted, available))

    def first(self) -> tuple[int, int]:
        """The first frame that lies inside the recording, and the sample at which its audio starts."""
        frame = max(-(-self.shift // self.target.hop_size), 0)
        return frame, frame * self.target.hop_size - self.shift


def _values_of(c: Convention) -> tuple:
    return c.log_base, c.floor, c.floor_mode, c.mean, c.std, c.clip


def expand(mel: Float[np.ndarray, "F M"], c: Convention) -> Float[np.ndarray, "F M"]:
    """The mel magnitudes, float64, whose values in the convention are `mel`."""
    logarithm = mel.astype(np.float64) * np.asarray(c.std) + np.asarray(c.mean)
    magnitude = np.exp(logarithm if c.log_base == "e" else logarithm * np.log(10))
    return magnitude if c.floor_mode == "clamp" else np.maximum(magnitude - c.floor, 0)


def obstacles(source: Convention, target: Convention) -> list[str]:
    """Why mels of `source` cannot be converted to `target`, one text per reason; empty if they can."""
    differences = [
        f"{key} is {found}, expected {expected}"
        for field, key in _FIXED.items()
        if (found := _resolved(source, field)) != (expected := _resolved(target, field))
    ]
    if source.clip is not None and source.clip != target.clip:
        differences.append("its loudest values are clipped")
    if not differences and _lowest(source) > max(1.01 * _lowest(target), _INAUDIBLE):
        differences.append(f"its floor {_lowest(source):.2g} hides values down to {_lowest(target):.2g}")
    return differences


def _resolved(c: Convention, field: str) -> float | int | str:
    return c.sampling_rate / 2 if field == "fmax" and c.fmax is None else getattr(c, field)


def _lowest(c: Convention) -> float:
    """The mel magnitude below which values are lost."""
    if c.floor_mode == "add":
        return 10 * c.floor * _RESOLUTION
    return float(expand(silence(c)[None], c).max())


def conversion(target: Mel, convention: str | Path | Mel | None = None, statistics: str | Path | None = None) -> Conversion:
    """The conversion to `target` from a convention, whose mels are normalized with the statistics in a file if one is given.

    `convention` is a name, a mel section, or the path of a JSON file with the keys of one; None is that of `target`. Raises
    UsageError if it is unknown or if its mels cannot be converted.
    """
    source = _convention(target, convention)
    if statistics is not None:
        mean, std = read_statistics(statistics, source.num_mels)
        source = source._replace(mean=mean, std=std, clip=None)
    if found := obstacles(source, target.convention):
        reason = found[0] + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")
        usable = ", ".join(name for name, row in CONVENTIONS.items() if not obstacles(row, target.convention))
        advice = f", or mels of one of {usable}" if usable else ""
        name = _name(convention)
        advice = f"use a vocoder trained on {name} mels{advice}"
        raise UsageError(f"{name} mels cannot be converted to the vocoder's: {reason}: {advice}")
    return Conversion(source, target.convention)


def _name(convention: str | Path | Mel | None) -> str:
    return convention.mel_convention if isinstance(convention, Mel) else str(convention)


def _convention(target: Mel, convention: str | Path | Mel | None) -> Convention:
    if convention is None or convention == target.mel_convention:
        return target.convention
    if isinstance(convention, Mel):
        return convention.convention
    if not isinstance(convention, str | Path):
        raise UsageError(f"{convention!r:.60}: a mel convention is a name, a section of a configuration, or a JSON file")
    if convention in CONVENTIONS:
        return CONVENTIONS[str(convention)]
    if os.path.isfile(convention):
        return read_section(Path(convention)).convention
    known = ", ".join(CONVENTIONS)
    raise UsageError(f"{convention}: unknown mel convention{did_you_mean(str(convention), CONVENTIONS)} (known: {known})")


def read_section(path: Path) -> Mel:
    """The mel section in a JSON file with the keys of one, whose other keys are ignored. Raises UsageError."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a JSON object with the keys of a mel")
    try:
        for key in content:  # of others, a configuration may have any number
            if meant := _misspelled(key):
                raise UsageError(f"{path}: unknown key {key!r}; did you mean {meant!r}?")
        return Mel.model_validate({key: value for key, value in content.items() if key in Mel.model_fields})
    except pydantic.ValidationError as error:
        raise UsageError(f"{path}: {message_of(error.errors()[0])}") from None


def _misspelled(key: str) -> str | None:
    """The key of a mel that another key seems to be, None for keys of a mel and of other things."""
    if key in Mel.model_fields:
        return None
    without_prefix = {field: name for name, field in OVERRIDES.items()}
    close = difflib.get_close_matches(key, Mel.model_fields, n=1, cutoff=0.85)
    return Mel.ALSO_CALLED.get(key) or without_prefix.get(key) or next(iter(close), None)


def read_statistics(path: str | Path, num_mels: int | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each bin, from a .npy, .npz or .h5 file; with `num_mels` None, of as many as it contains.

    A .npy array contains both, (2, M) or (2,). An .npz or .h5 file contains `mean` and one of `std`, `scale`, `stddev`; an .npz
    file may contain ESPnet's `count`, `sum` and `sum_square` instead. Raises UsageError.
    """
    try:
        mean, std = _two_rows(_arrays(Path(path)))
        mean, std = (np.asarray(row, np.float64).reshape(-1) for row in (mean, std))
        sizes = {mean.size, std.size, 1, num_mels or max(mean.size, std.size)}
        if len(sizes) > 2:
            raise ValueError(f"it has {mean.size} means and {std.size} deviations")
        mean, std = (np.broadcast_to(row, max(sizes)) for row in (mean, std))
    except OSError as error:
        if error.errno is None:  # of h5py or numpy, for a file of another kind
            raise _no_statistics(path, num_mels, error) from None
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except ImportError:
        raise UsageError(f"{path}: needs h5py: pip install h5py, or save the statistics with numpy") from None
    except Exception as error:  # a damaged file can raise anything
        raise _no_statistics(path, num_mels, error) from None
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise UsageError(f"{path}: means must be finite and standard deviations positive: compute them again")
    return tuple(mean.tolist()), tuple(std.tolist())


def _no_statistics(path: str | Path, num_mels: int | None, error: Exception) -> UsageError:
    wanted = f" of {num_mels} bins" if num_mels else ""
    return UsageError(f"{path}: not mean and standard deviation{wanted} ({error}): save numpy.stack([mean, std]) as .npy")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix in {".h5", ".hdf5"}:
        import h5py

        with h5py.File(path) as file:
            return {name: file[name][()] for name in file}
    content = np.load(path, allow_pickle=False)
    if isinstance(content, np.ndarray):
        if content.shape[:1] != (2,):
            raise ValueError(f"its shape is {content.shape}, expected (2, bins)")
        return {"mean": np.asarray(content[0]), "std": np.asarray(content[1])}
    with content:
        return {name: content[name] for name in content.files}


def _two_rows(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    if "sum_square" in arrays:
        with np.errstate(all="ignore"):  # NaN is refused
            mean = arrays["sum"] / arrays["count"]
            return mean, np.sqrt(arrays["sum_square"] / arrays["count"] - mean**2)
    return arrays["mean"], next(arrays[name] for name in ("std", "scale", "stddev") if name in arrays)
