"""Multi-resolution STFT distance: auraloss's MultiResolutionSTFTLoss with its defaults (Yamamoto et al. 2020, section 2.2)."""

import numpy as np

from hifigan_jax.evaluation.metric import Audio, Metric, Value
from hifigan_jax.evaluation.spectra import power
from hifigan_jax.filterbank import hann

RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # FFT size, hop size, window length in samples
_FLOOR = 1e-8  # of |X|^2


def measure(reference: Audio, synthesized: Audio, rate: int) -> dict[str, float]:
    """Spectral convergence plus mean |difference| of natural-log magnitudes, averaged over three resolutions."""
    return {"mr_stft": float(np.mean([_distance(reference, synthesized, *sizes) for sizes in RESOLUTIONS]))}


def _distance(reference: Audio, synthesized: Audio, n_fft: int, hop: int, window: int) -> float:
    spectra = (power(audio, n_fft, hop, hann(window), n_fft // 2) for audio in (reference, synthesized))
    target, output = (np.sqrt(np.maximum(spectrum, _FLOOR)) for spectrum in spectra)
    convergence = np.linalg.norm(target - output) / np.linalg.norm(target)
    return convergence + np.abs(np.log(target) - np.log(output)).mean()


METRIC = Metric(
    measure,
    {"mr_stft": Value("M-STFT", "lower")},
    mode="auraloss 0.4.0 defaults: FFT 1024, 2048, 512; hop 120, 240, 50; Hann window 600, 1200, 240; convergence + log L1",
    source="Yamamoto et al. 2020, Steinmetz and Reiss 2020",
    cannot_separate="GAN vocoders whose scores differ by less than 0.05; blind to phase",
)
