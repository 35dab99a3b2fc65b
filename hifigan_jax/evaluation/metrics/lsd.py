"""Log-spectral distance in dB: the RMS over bins (Gray and Markel 1976), and the mean absolute difference."""

import numpy as np
from jaxtyping import Float

from hifigan_jax.evaluation.metric import Audio, Metric, Value
from hifigan_jax.evaluation.spectra import power
from hifigan_jax.filterbank import hann

N_FFT, HOP = 1024, 256
_EPSILON = 1e-9  # added to |X|^2, as in HiFi-GAN's mel


def measure(reference: Audio, synthesized: Audio, rate: int) -> dict[str, float]:
    """The RMS over bins of the difference of levels, averaged over frames, and its mean absolute value."""
    difference = levels(reference) - levels(synthesized)
    return {"lsd": float(np.sqrt((difference**2).mean(axis=1)).mean()), "lsd_l1": float(np.abs(difference).mean())}


def levels(audio: Audio) -> Float[np.ndarray, "F B"]:
    """20 log10 |X| of each frame and bin."""
    return 10 * np.log10(power(audio, N_FFT, HOP, hann(N_FFT), (N_FFT - HOP) // 2) + _EPSILON)


METRIC = Metric(
    measure,
    {"lsd": Value("LSD (dB)", "lower"), "lsd_l1": Value("log-spectral L1 (dB)", "lower")},
    mode="FFT and Hann window 1024, hop 256, |X|^2 + 1e-9; LSD: RMS over bins, mean over frames; L1: mean over both",
    source="Gray and Markel 1976",
    cannot_separate="GAN vocoders from one another; dominated by bins of low level; blind to phase",
)
