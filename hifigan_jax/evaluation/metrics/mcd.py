"""Mel-cepstral distortion in dB (Kubichek 1993) of 13 mel-cepstral coefficients of WORLD's spectral envelope.

This is the widespread definition of the package pymcd: WORLD's power envelope is passed on where SPTK expects amplitudes. Values
are therefore about twice those that an amplitude envelope gives, and must not be compared with such.
"""

import functools

import numpy as np
from jaxtyping import Float

from hifigan_jax.evaluation.metric import Audio, Metric, Value
from hifigan_jax.evaluation.world import envelope

ORDER, ALPHA, FFT_SIZE = 13, 0.65, 512
_FLOOR = 1e-8  # of the periodogram


def measure(reference: Audio, synthesized: Audio, rate: int) -> dict[str, float]:
    """10 sqrt(2) / ln 10 times the mean distance of coefficients 1 to 13, frame by frame."""
    cepstra = [mel_cepstrum(envelope(audio.astype(np.float64), rate, FFT_SIZE)) for audio in (reference, synthesized)]
    distance = np.sqrt(((cepstra[0] - cepstra[1])[:, 1:] ** 2).sum(axis=1))
    return {"mcd": float(10 * np.sqrt(2) / np.log(10) * distance.mean())}


def mel_cepstrum(spectrum: Float[np.ndarray, "F B"], order: int = ORDER, alpha: float = ALPHA) -> Float[np.ndarray, "F M"]:
    """Mel-cepstral coefficients 0 to `order` of amplitude spectra: SPTK's mcep without iterations."""
    cepstrum = np.fft.irfft(np.log(spectrum**2 + _FLOOR))[:, : spectrum.shape[1]]
    cepstrum[:, [0, -1]] /= 2
    return cepstrum @ frequency_transform(spectrum.shape[1], order, alpha).T


@functools.lru_cache
def frequency_transform(size: int, order: int, alpha: float) -> Float[np.ndarray, "M N"]:
    """The matrix of SPTK's freqt: cepstrum of `size` values -> `order` + 1 values on an axis warped by an all-pass of `alpha`."""
    result, columns = np.zeros((order + 1, size)), np.eye(size)
    for column in columns[::-1]:  # from the last input to the first, as the recursion is defined
        previous = result.copy()
        result[0] = column + alpha * previous[0]
        if order:
            result[1] = (1 - alpha**2) * previous[0] + alpha * previous[1]
        for m in range(2, order + 1):
            result[m] = previous[m - 1] + alpha * (previous[m] - result[m - 1])
    return result


METRIC = Metric(
    measure,
    {"mcd": Value("MCD (dB)", "lower")},
    mode="WORLD envelope (DIO, StoneMask, CheapTrick, FFT 512, 5 ms; F0 below 3/509 of the rate, 130 Hz at 22,050 Hz, counts as"
    " unvoiced), mel-cepstral coefficients 1 to 13, alpha 0.65, no DTW; power envelope in place of amplitudes, as in pymcd",
    source="Kubichek 1993; Morise 2015; SPTK mcep",
    cannot_separate="Griffin-Lim from GAN vocoders; blind to phase and fine structure",
)
