"""Log-mel spectrograms on the device: audio [B, T] -> log-mel [B, F, M] in a configuration's convention."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hifigan_jax.config.sections import Mel


def log_mel(audio: Float[Array, "B T"], settings: Mel) -> Float[Array, "B F M"]:
    """Log-mel of complete utterances with reflection padding, F = T // hop_size. Needs more than `settings.padding` samples."""
    padded = jnp.pad(audio, ((0, 0), (settings.padding, settings.padding)), mode="reflect")
    return log_mel_of_padded(padded, settings)


def log_mel_of_padded(audio: Float[Array, "B T"], settings: Mel) -> Float[Array, "B F M"]:
    """Log-mel of audio that already includes `settings.padding` samples of context at each end.

    log(max(mel |X|, floor)) with |X| = sqrt(re^2 + im^2 + epsilon), a periodic Hann window and a Slaney filterbank. Logarithm,
    floor and epsilon depend on the convention. Computed in the dtype of `audio`, in full precision on every backend.
    """
    convention = settings.convention
    frames = (audio.shape[1] - settings.n_fft) // settings.hop_size + 1
    index = np.arange(frames)[:, None] * settings.hop_size + np.arange(settings.n_fft)
    window = jnp.asarray(_centered_window(settings.win_size, settings.n_fft), audio.dtype)
    spectrum = jnp.fft.rfft(audio[:, index] * window[None, None])
    magnitude = _magnitude(spectrum, convention.magnitude_epsilon)
    filters = jnp.asarray(slaney_filterbank(settings), audio.dtype)
    mel = jnp.matmul(magnitude, filters.T, precision=jax.lax.Precision.HIGHEST)
    log = jnp.log if convention.log_base == "e" else jnp.log10
    return log(jnp.maximum(mel, convention.floor))


def _magnitude(spectrum, epsilon):
    power = spectrum.real**2 + spectrum.imag**2
    if epsilon:
        return jnp.sqrt(power + epsilon)
    positive = power > 0  # at zero, the derivative of the square root is infinite
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, power, 1)), 0)


class LogMel:
    """`log_mel` of utterances of any length as numpy arrays, with one compiled program for all lengths."""

    CHUNK_FRAMES = 512  # frames per call of the program

    def __init__(self, settings: Mel):
        self.settings = settings
        self._program = jax.jit(functools.partial(log_mel_of_padded, settings=settings))

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Audio [T] -> float32 [T // hop_size, M]."""
        frames, hop = audio.size // self.settings.hop_size, self.settings.hop_size
        padded = reflect_pad(audio, self.settings)
        size = (self.CHUNK_FRAMES - 1) * hop + self.settings.n_fft
        chunks = [padded[start * hop : start * hop + size] for start in range(0, frames, self.CHUNK_FRAMES)]
        mels = [self._program(np.pad(chunk, (0, size - chunk.size))[None])[0] for chunk in chunks]
        return np.concatenate(mels)[:frames]


def reflect_pad(audio: np.ndarray, settings: Mel) -> np.ndarray:
    """Audio [T] with the reflection padding of `log_mel`, as a numpy array [T + 2 padding]."""
    return np.pad(audio, settings.padding, mode="reflect")


def _centered_window(win_size: int, n_fft: int) -> np.ndarray:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_size) / win_size)
    left = (n_fft - win_size) // 2
    return np.pad(window, (left, n_fft - win_size - left))


@functools.lru_cache
def slaney_filterbank(settings: Mel) -> np.ndarray:
    """Triangular filters of unit area in Hz, [M, n_fft // 2 + 1], float64 (Slaney 1998; librosa's default).

    The Slaney scale is linear below 1 kHz (200/3 Hz per mel) and logarithmic above (27 mels per factor of 6.4).
    """
    fmax = settings.sampling_rate / 2 if settings.fmax is None else settings.fmax
    mels = np.linspace(_hz_to_mel(settings.fmin), _hz_to_mel(fmax), settings.num_mels + 2)
    edges = _mel_to_hz(mels)
    bins = np.linspace(0, settings.sampling_rate / 2, settings.n_fft // 2 + 1)
    width = np.diff(edges)
    distance = bins - edges[:, None]  # [M + 2, bins]
    rising = distance[:-2] / width[:-1, None]
    falling = -distance[2:] / width[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return triangles * (2 / (edges[2:] - edges[:-2]))[:, None]


_KNEE_HZ, _KNEE_MEL, _LOG_STEP = 1000.0, 15.0, np.log(6.4) / 27


def _hz_to_mel(frequency: float) -> float:
    if frequency < _KNEE_HZ:
        return frequency * 3 / 200
    return _KNEE_MEL + np.log(frequency / _KNEE_HZ) / _LOG_STEP


def _mel_to_hz(mels: np.ndarray) -> np.ndarray:
    return np.where(mels < _KNEE_MEL, mels * 200 / 3, _KNEE_HZ * np.exp(_LOG_STEP * (mels - _KNEE_MEL)))
