"""The floor of vocoding: a recording's log-mel inverted without a trained model, by fast Griffin-Lim (Perraudin et al. 2013)."""

import numpy as np
from jaxtyping import Complex, Float

from hifigan_jax.config.sections import Mel
from hifigan_jax.evaluation.metric import Audio
from hifigan_jax.evaluation.spectra import frames_of, log_mel
from hifigan_jax.filterbank import filterbank, hann

ITERATIONS, MOMENTUM, SEED = 60, 0.99, 0
_BLOCK = 64  # frames per least-squares problem


def resynthesize(audio: Audio, settings: Mel) -> Audio:
    """Audio [T] from the log-mel of audio [T]; T must be a multiple of the hop size."""
    magnitude = invert_mel(np.exp(log_mel(audio, settings)), settings)
    return griffin_lim(magnitude, settings).astype(np.float32)


def invert_mel(mel: Float[np.ndarray, "F M"], settings: Mel) -> Float[np.ndarray, "F B"]:
    """A non-negative magnitude spectrum of this mel, by bounded L-BFGS from the clipped pseudo-inverse."""
    filters = filterbank(settings.convention)
    start = np.maximum(mel @ np.linalg.pinv(filters).T, 0)
    blocks = range(0, len(mel), _BLOCK)
    return np.concatenate([_least_squares(filters, mel[i : i + _BLOCK], start[i : i + _BLOCK]) for i in blocks])


def _least_squares(filters: np.ndarray, mel: np.ndarray, start: np.ndarray) -> np.ndarray:
    import scipy.optimize

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        difference = x.reshape(start.shape) @ filters.T - mel
        return (difference**2).sum() / 2 / mel.size, (difference @ filters).ravel() / mel.size

    bounds = scipy.optimize.Bounds(0, np.inf)
    return scipy.optimize.minimize(objective, start.ravel(), jac=True, bounds=bounds, method="L-BFGS-B").x.reshape(start.shape)


def griffin_lim(magnitude: Float[np.ndarray, "F B"], settings: Mel) -> Float[np.ndarray, " T"]:
    """Audio [F * hop_size] whose spectrum approaches `magnitude`; the first phases are random, with a fixed seed."""
    draws = np.random.RandomState(SEED)  # gives the phases that librosa.griffinlim starts from
    phases = np.exp(2j * np.pi * draws.random_sample(magnitude.T.shape).T)
    previous = np.zeros_like(phases)
    for _ in range(ITERATIONS):
        rebuilt = _stft(_inverse_stft(magnitude * phases, settings), settings)
        phases = rebuilt - MOMENTUM / (1 + MOMENTUM) * previous
        phases /= np.abs(phases) + np.finfo(np.float64).tiny
        previous = rebuilt
    before, after = settings.padding
    return _inverse_stft(magnitude * phases, settings)[before:-after]


def _stft(padded: np.ndarray, settings: Mel) -> Complex[np.ndarray, "F B"]:
    return np.fft.rfft(frames_of(padded, settings.n_fft, settings.hop_size) * hann(settings.n_fft))


def _inverse_stft(spectrum: Complex[np.ndarray, "F B"], settings: Mel) -> Float[np.ndarray, " T"]:
    """The signal, padded at both ends, whose spectrum is nearest in the least-squares sense (Griffin and Lim 1984, eq. 6)."""
    window = hann(settings.n_fft)
    frames = np.fft.irfft(spectrum, settings.n_fft) * window
    energy = _overlap_add(np.broadcast_to(window**2, frames.shape), settings.hop_size)
    return _overlap_add(frames, settings.hop_size) / np.maximum(energy, 1e-3)


def _overlap_add(frames: Float[np.ndarray, "F N"], hop: int) -> Float[np.ndarray, " T"]:
    """The sum of frames that start every `hop` samples; N must be a multiple of `hop`."""
    count, parts = len(frames), frames.shape[1] // hop
    result = np.zeros((count + parts - 1, hop))
    for i, part in enumerate(frames.reshape(count, parts, hop).transpose(1, 0, 2)):
        result[i : i + count] += part
    return result.ravel()
