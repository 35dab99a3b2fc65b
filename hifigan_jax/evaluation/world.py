"""WORLD's spectral envelope in numpy: F0 by DIO (Morise et al. 2009) and StoneMask, envelope by CheapTrick (Morise 2015).

Computes what WORLD 0.3 computes with its default options, except that the infinitesimal noise that WORLD adds against the
logarithm of zero is a constant here.
"""

import numpy as np
from jaxtyping import Float

Signal = Float[np.ndarray, " T"]
Contour = Float[np.ndarray, " F"]

F0_FLOOR, F0_CEIL = 71.0, 800.0  # Hz
FRAME_MS = 5.0
DEFAULT_F0 = 500.0  # Hz; the window of unvoiced frames
_CUTOFF = 50.0  # Hz; DIO removes what is below
_ALLOWED_JUMP = 0.1  # relative change of F0 between frames
_RECOVERY = -0.15  # CheapTrick's q1
_TINY, _EPSILON = 1e-12, 2.0**-52


def envelope(audio: Signal, rate: int, fft_size: int) -> Float[np.ndarray, "F B"]:
    """The power spectral envelope, one frame per 5 ms."""
    x = audio.astype(np.float64)
    times = frame_times(x.size, rate)
    f0 = refine(x, rate, times, dio(x, rate, times))
    return cheaptrick(x, rate, times, f0, fft_size)


def frame_times(samples: int, rate: int) -> Contour:
    """The times of the frames in s. The order of operations is WORLD's: rounding decides which samples a frame starts at."""
    return np.arange(int(1000 * samples / rate / FRAME_MS) + 1) * FRAME_MS / 1000


def dio(x: Signal, rate: int, times: Contour) -> Contour:
    """F0 in Hz at `times` (in s), 0 where unvoiced."""
    bands = F0_FLOOR * 2 ** (np.arange(1, 2 + int(np.log2(F0_CEIL / F0_FLOOR) * 2)) / 2)
    cutoff = 2 * _round(rate / _CUTOFF) + 1
    size = 2 ** (int(np.log2(x.size + 1 + cutoff + 4 * int(1 + rate / bands[0] / 2))) + 1)
    spectrum = _without_low_frequencies(x, size, cutoff)
    found = np.array([_candidate(spectrum, size, x.size + 1, rate, band, times) for band in bands])
    candidates, scores = found[:, 0], found[:, 1]
    best = np.take_along_axis(candidates, (scores / (candidates + _TINY)).argmin(axis=0)[None], 0)[0]
    return _continuous(best, candidates)


def _without_low_frequencies(x: Signal, size: int, cutoff: int) -> np.ndarray:
    padded = np.append(x, 0.0)
    window = np.hanning(cutoff + 2)[1:-1]
    kernel = np.roll(np.pad(-window / window.sum(), (0, size - cutoff)), -(cutoff // 2))
    kernel[0] += 1
    return np.fft.rfft(padded - padded.mean(), size) * np.fft.rfft(kernel)


def _candidate(spectrum: np.ndarray, size: int, length: int, rate: int, band: float, times: Contour) -> tuple[Contour, Contour]:
    """F0 candidates from the intervals between zero crossings and extrema of one band, and their spread (lower is better)."""
    half = _round(rate / band / 2)
    phase = 2 * np.pi * np.arange(4 * half) / (4 * half - 1)
    window = 0.355768 - 0.487396 * np.cos(phase) + 0.144232 * np.cos(2 * phase) - 0.012604 * np.cos(3 * phase)
    filtered = np.fft.irfft(spectrum * np.fft.rfft(window, size))[2 * half : 2 * half + length]
    slope = np.diff(filtered)
    crossings = [_intervals(signal, rate) for signal in (filtered, -filtered, slope, -slope)]
    rejected = np.zeros(times.size), np.full(times.size, 1e5)
    if min(places.size for places, _ in crossings) <= 2:
        return rejected
    tracks = np.array([_interpolate(places, values, times) for places, values in crossings])
    f0 = tracks.mean(axis=0)
    spread = np.sqrt(((tracks - f0) ** 2).sum(axis=0) / 3)
    valid = (f0 <= min(band, F0_CEIL)) & (f0 >= max(band / 2, F0_FLOOR))
    return np.where(valid, f0, rejected[0]), np.where(valid, spread, rejected[1])


def _intervals(signal: Signal, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The middle (in s) and the inverse length (in Hz) of each interval between crossings from above to below zero."""
    edges = np.flatnonzero((signal[:-1] > 0) & (signal[1:] <= 0)) + 1
    fine = edges - signal[edges - 1] / (signal[edges] - signal[edges - 1])
    return (fine[:-1] + fine[1:]) / 2 / rate, rate / np.diff(fine)


def _interpolate(places: np.ndarray, values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Linear interpolation that extrapolates at both ends."""
    k = np.clip(np.searchsorted(places, times, side="right"), 1, places.size - 1)
    share = (times - places[k - 1]) / (places[k] - places[k - 1])
    return values[k - 1] + share * (values[k] - values[k - 1])


def _continuous(best: Contour, candidates: Float[np.ndarray, "N F"]) -> Contour:
    """Removes short and jumping sections, then extends the rest on both sides while a candidate continues it."""
    shortest = 2 * int(0.5 + 1000 / FRAME_MS / F0_FLOOR) + 1
    frames = best.size
    if frames <= shortest:
        return np.zeros(frames)
    base = best.copy()
    base[:shortest] = base[frames - shortest :] = 0
    steady = np.abs(np.diff(base, prepend=0.0)) / (_TINY + base) < _ALLOWED_JUMP
    base = np.where(steady & (np.arange(frames) >= shortest), base, 0)
    center = (shortest - 1) // 2
    lowest = np.lib.stride_tricks.sliding_window_view(base, shortest).min(axis=1)
    f0 = base.copy()
    f0[center : frames - center] = np.where(lowest == 0, 0, base[center : frames - center])
    voiced = f0 != 0
    ends = np.flatnonzero(voiced[:-1] & ~voiced[1:])
    starts = np.flatnonzero(~voiced[:-1] & voiced[1:]) + 1
    for end, limit in zip(ends, [*ends[1:], frames - 1], strict=False):
        _extend(f0, candidates, range(end, limit), 1)
    for start, limit in zip(starts[::-1], [*starts[-2::-1], 1], strict=False):
        _extend(f0, candidates, range(start, limit, -1), -1)
    return f0


def _extend(f0: Contour, candidates: np.ndarray, positions: range, step: int) -> None:
    """Continues `f0` from each position to the next with the candidate nearest to a linear extrapolation."""
    for j in positions:
        expected = (3 * f0[j] - f0[j - step]) / 2
        nearest = candidates[np.abs(expected - candidates[:, j + step]).argmin(), j + step]
        f0[j + step] = nearest if abs(nearest - expected) <= _ALLOWED_JUMP * abs(expected) else 0
        if f0[j + step] == 0:
            return


def refine(x: Signal, rate: int, times: Contour, f0: Contour) -> Contour:
    """StoneMask: F0 refined by the instantaneous frequencies of its first six harmonics."""
    usable = (f0 > 40) & (f0 <= rate / 12)
    return np.array([_refined(x, rate, t, f) if ok else 0.0 for t, f, ok in zip(times, f0, usable, strict=True)])


def _refined(x: Signal, rate: int, time: float, initial: float) -> float:
    half = int(1.5 * rate / initial + 1)
    length = 2 * half + 1
    size = 2 ** (2 + int(np.log2(length)))
    index = np.floor((time + np.arange(-half, half + 1) / rate) * rate + 0.5).astype(int)
    phase = 2 * np.pi * ((index - 1) / rate - time) / (length / rate)
    window = 0.42 + 0.5 * np.cos(phase) + 0.08 * np.cos(2 * phase)
    slope = -np.convolve(window, [0.5, 0, -0.5], mode="same")
    segment = x[np.clip(index - 1, 0, x.size - 1)]
    main, derived = np.fft.rfft(np.stack([segment * window, segment * slope]), size)
    power = main.real**2 + main.imag**2
    numerator = main.real * derived.imag - main.imag * derived.real
    tentative = _harmonic_mean(power, numerator, size, rate, initial, 2)
    if not 0 < tentative <= 2 * initial:
        return initial
    refined = _harmonic_mean(power, numerator, size, rate, tentative, 6)
    return initial if abs(refined - initial) > 0.2 * initial else refined


def _harmonic_mean(power: np.ndarray, numerator: np.ndarray, size: int, rate: int, f0: float, harmonics: int) -> float:
    orders = np.arange(1, harmonics + 1)
    index = np.minimum((f0 * size / rate * orders + 0.5).astype(int), size // 2)
    strength = power[index]
    safe = np.where(strength == 0, 1, strength)
    frequency = np.where(strength == 0, 0, index * rate / size + numerator[index] / safe * rate / 2 / np.pi)
    amplitude = np.sqrt(strength)
    return float((amplitude * frequency).sum() / ((amplitude * orders).sum() + _TINY))


def cheaptrick(x: Signal, rate: int, times: Contour, f0: Contour, fft_size: int) -> Float[np.ndarray, "F B"]:
    """The power spectral envelope at `times`. F0 below 3 rate / (fft_size - 3) counts as unvoiced."""
    f0 = np.where(f0 <= 3 * rate / (fft_size - 3), DEFAULT_F0, f0)
    smoothed = np.array([_smoothed_power(x, rate, t, f, fft_size) for t, f in zip(times, f0, strict=True)])
    cepstrum = np.fft.irfft(np.log(smoothed + _EPSILON))[:, : fft_size // 2 + 1]
    quefrency = f0[:, None] * np.arange(fft_size // 2 + 1) / rate
    lifter = np.sinc(quefrency) * (1 - 2 * _RECOVERY + 2 * _RECOVERY * np.cos(2 * np.pi * quefrency))
    return np.exp(np.fft.rfft(_even(cepstrum * lifter)).real)


def _even(half: Float[np.ndarray, "F B"]) -> Float[np.ndarray, "F N"]:
    return np.concatenate([half, half[:, -2:0:-1]], axis=1)


def _smoothed_power(x: Signal, rate: int, time: float, f0: float, fft_size: int) -> np.ndarray:
    """The power spectrum of three periods, with the band below F0 mirrored and smoothed over 2/3 F0."""
    half = _round(1.5 * rate / f0)
    offsets = np.arange(-half, half + 1)
    window = 0.5 + 0.5 * np.cos(np.pi * offsets / 1.5 / rate * f0)
    window /= np.sqrt((window**2).sum())
    segment = x[np.clip(_round(time * rate + 0.001) + offsets, 0, x.size - 1)] * window
    segment -= window * (segment.sum() / window.sum())
    spectrum = np.fft.rfft(segment, fft_size)
    power = spectrum.real**2 + spectrum.imag**2
    bins = np.arange(1 + int(f0 * fft_size / rate))
    power[bins] += np.interp(f0 * fft_size / rate - bins, np.arange(power.size), power)
    return _smooth(power, f0 * 2 / 3 * fft_size / rate)


def _smooth(power: np.ndarray, width: float) -> np.ndarray:
    """The mean over `width` bins around each bin, mirrored at both ends."""
    boundary = int(width) + 1
    mirrored = np.concatenate([power[boundary:0:-1], power, power[-2 : -2 - boundary : -1]])
    integral = np.cumsum(mirrored)
    axis = np.arange(integral.size)
    low = np.arange(power.size) - width / 2 + boundary - 0.5
    return (np.interp(low + width, axis, integral) - np.interp(low, axis, integral)) / width


def _round(x: float) -> int:
    return int(x + 0.5)
