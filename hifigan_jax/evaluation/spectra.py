"""Magnitude spectrograms and log-mels in numpy, in float64."""

import numpy as np
from jaxtyping import Float

from hifigan_jax.config.sections import Mel
from hifigan_jax.evaluation.metric import Audio
from hifigan_jax.filterbank import compress, filterbank, hann

MEL_BINS, MEL_FFT, MEL_HOP, MEL_FMAX = 80, 1024, 256, 8000.0  # HiFi-GAN's, at every sampling rate


def frames_of(audio: Float[np.ndarray, " T"], size: int, hop: int) -> Float[np.ndarray, "F size"]:
    """Overlapping frames of `size` samples, as a view."""
    return np.lib.stride_tricks.sliding_window_view(audio, size)[::hop]


def power(audio: Audio, n_fft: int, hop: int, window: np.ndarray, padding: int | tuple[int, int]) -> Float[np.ndarray, "F B"]:
    """|X|^2 of frames padded by reflection at both ends. A shorter window is centered in the frame."""
    left = (n_fft - window.size) // 2
    window = np.pad(window, (left, n_fft - window.size - left))
    padded = np.pad(audio.astype(np.float64), padding, mode="reflect")
    spectrum = np.fft.rfft(frames_of(padded, n_fft, hop) * window)
    return spectrum.real**2 + spectrum.imag**2


def mel_settings(rate: int, full_band: bool = False) -> Mel:
    """The mel that metrics and anchors use: HiFi-GAN's, 80 bins to 8 kHz or to half the sampling rate."""
    fmax = None if full_band or rate <= 2 * MEL_FMAX else MEL_FMAX
    sizes = {"n_fft": MEL_FFT, "win_size": MEL_FFT, "hop_size": MEL_HOP}
    return Mel(sampling_rate=rate, num_mels=MEL_BINS, fmin=0.0, fmax=fmax, **sizes)


def log_mel(audio: Audio, settings: Mel) -> Float[np.ndarray, "F M"]:
    """Natural-log mel, as HiFi-GAN's generator takes it."""
    convention = settings.convention
    spectrum = power(audio, settings.n_fft, settings.hop_size, hann(settings.win_size), settings.padding)
    magnitude = np.sqrt(spectrum + convention.epsilon)
    return compress(magnitude @ filterbank(convention).T, convention)
