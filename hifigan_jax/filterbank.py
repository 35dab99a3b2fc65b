"""What a mel is computed with, in NumPy and float64: the filters, the window, and the values of silence."""

import functools

import numpy as np
from jaxtyping import Float

from hifigan_jax.conventions import Convention

_KNEE_HZ, _KNEE_MEL, _LOG_STEP = 1000.0, 15.0, np.log(6.4) / 27


@functools.lru_cache
def filterbank(c: Convention) -> Float[np.ndarray, "M B"]:
    """Triangular filters over the n_fft // 2 + 1 frequencies of a spectrum, of unit height or of unit area in Hz.

    Their edges are equally spaced on the Slaney scale (linear below 1 kHz with 200/3 Hz per mel, logarithmic above with 27 mels
    per factor of 6.4; librosa's default) or on the HTK scale, 2595 log10(1 + f / 700).
    """
    fmax = c.sampling_rate / 2 if c.fmax is None else c.fmax
    to_mel, to_hz = (_hz_to_slaney, _slaney_to_hz) if c.scale == "slaney" else (_hz_to_htk, _htk_to_hz)
    edges = to_hz(np.linspace(to_mel(c.fmin), to_mel(fmax), c.num_mels + 2))
    bins = np.linspace(0, c.sampling_rate / 2, c.n_fft // 2 + 1)
    width = np.diff(edges)
    distance = bins - edges[:, None]  # [M + 2, bins]
    rising = distance[:-2] / width[:-1, None]
    falling = -distance[2:] / width[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return triangles if c.norm == "none" else triangles * (2 / (edges[2:] - edges[:-2]))[:, None]


def hann(size: int, period: int | None = None) -> Float[np.ndarray, " size"]:
    """The Hann window of `size` samples; periodic, unless another `period` is given."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / (size if period is None else period))


def analysis_window(c: Convention) -> Float[np.ndarray, " n_fft"]:
    """The convention's Hann window of win_size samples, centered in n_fft samples."""
    left = (c.n_fft - c.win_size) // 2
    window = hann(c.win_size, c.win_size - (c.window == "symmetric"))
    return np.pad(window, (left, c.n_fft - c.win_size - left))


@functools.lru_cache
def silence(c: Convention) -> Float[np.ndarray, " M"]:
    """The values of a silent frame. Zeros would be loud."""
    magnitude = max(c.epsilon, c.energy_floor) ** (c.power / 2)
    return compress(magnitude * filterbank(c).sum(axis=1), c)


def compress(mel: Float[np.ndarray, "*F M"], c: Convention) -> Float[np.ndarray, "*F M"]:
    """The convention's values of mel magnitudes: floor, logarithm, normalization, clipping."""
    floored = np.maximum(mel, c.floor) if c.floor_mode == "clamp" else mel + c.floor
    values = np.log(floored) if c.log_base == "e" else np.log10(floored)
    values = (values - np.asarray(c.mean)) / np.asarray(c.std)
    return values if c.clip is None else np.clip(values, *c.clip)


def _hz_to_slaney(frequency: float) -> float:
    if frequency < _KNEE_HZ:
        return frequency * 3 / 200
    return _KNEE_MEL + np.log(frequency / _KNEE_HZ) / _LOG_STEP


def _slaney_to_hz(mels: np.ndarray) -> np.ndarray:
    return np.where(mels < _KNEE_MEL, mels * 200 / 3, _KNEE_HZ * np.exp(_LOG_STEP * (mels - _KNEE_MEL)))


def _hz_to_htk(frequency: float) -> float:
    return 2595 * np.log10(1 + frequency / 700)


def _htk_to_hz(mels: np.ndarray) -> np.ndarray:
    return 700 * (10 ** (mels / 2595) - 1)
