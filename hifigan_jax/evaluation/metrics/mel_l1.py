"""Mel L1: mean |difference| of natural-log mels, in the generator's input band and in the full band (Kong et al. 2020, eq. 3)."""

import numpy as np

from hifigan_jax.evaluation.metric import Audio, Metric, Value
from hifigan_jax.evaluation.spectra import log_mel, mel_settings


def measure(reference: Audio, synthesized: Audio, rate: int) -> dict[str, float]:
    """The distance with filters to 8 kHz, and with filters to half the sampling rate."""
    settings = {"mel_l1": mel_settings(rate), "mel_l1_full": mel_settings(rate, full_band=True)}
    return {name: float(np.abs(log_mel(synthesized, mel) - log_mel(reference, mel)).mean()) for name, mel in settings.items()}


METRIC = Metric(
    measure,
    {"mel_l1": Value("mel L1", "lower"), "mel_l1_full": Value("mel L1, full band", "lower")},
    mode="HiFi-GAN's mel: 80 Slaney filters from 0 to 8 kHz (full band: to half the rate), FFT 1024, hop 256",
    source="Kong et al. 2020, equation 3",
    cannot_separate="Griffin-Lim from GAN vocoders (input band; it minimizes this distance); blind to phase",
)
