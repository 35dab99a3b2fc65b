"""Log-mel spectrograms on the device: audio [B, T] -> log-mel [B, F, M] in a configuration's convention."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hifigan_jax.config.sections import Mel
from hifigan_jax.conventions import Convention
from hifigan_jax.filterbank import analysis_window, filterbank

_PADDINGS = {"reflect": "reflect", "zero": "constant"}


def log_mel(audio: Float[Array, "B T"], settings: Mel) -> Float[Array, "B F M"]:
    """Log-mel of complete utterances of at least `settings.shortest` samples, F = settings.frames(T)."""
    padded = jnp.pad(audio, ((0, 0), settings.padding), mode=_PADDINGS[settings.convention.padding])
    return _cut(log_mel_of_padded(padded, settings), settings.frames(audio.shape[1]))


def generator_input(audio: Float[Array, "B T"], settings: Mel) -> Float[Array, "B F M"]:
    """`log_mel` with F = T // hop_size, the frames that a generator makes the audio from."""
    return _cut(log_mel(audio, settings), audio.shape[1] // settings.hop_size)


def log_mel_of_padded(audio: Float[Array, "B T"], settings: Mel) -> Float[Array, "B F M"]:
    """Log-mel of audio that already includes `settings.padding` samples of context before and after it.

    Computed as the row of CONVENTIONS defines it, in the dtype of `audio`, in full precision on every backend.
    """
    convention = settings.convention
    frames = (audio.shape[1] - settings.n_fft) // settings.hop_size + 1
    index = np.arange(frames)[:, None] * settings.hop_size + np.arange(settings.n_fft)
    window = jnp.asarray(analysis_window(convention), audio.dtype)
    spectrum = jnp.fft.rfft(audio[:, index] * window[None, None])
    magnitude = _magnitude(spectrum, convention)
    filters = jnp.asarray(filterbank(convention), audio.dtype)
    mel = jnp.matmul(magnitude, filters.T, precision=jax.lax.Precision.HIGHEST)
    return _compress(mel, convention)


def _cut(mel: Float[Array, "B F M"], frames: int) -> Float[Array, "B frames M"]:
    return mel if frames == mel.shape[1] else mel[:, :frames]


def _magnitude(spectrum: Array, c: Convention) -> Array:
    power = spectrum.real**2 + spectrum.imag**2
    if c.energy_floor:
        power = jnp.maximum(power, c.energy_floor)
    if c.epsilon:
        power = power + c.epsilon
    if c.power == 2:
        return power
    if c.epsilon or c.energy_floor:
        return jnp.sqrt(power)
    positive = power > 0  # at zero, the derivative of the square root is infinite
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, power, 1)), 0)


def _compress(mel: Array, c: Convention) -> Array:
    log = jnp.log if c.log_base == "e" else jnp.log10
    values = log(jnp.maximum(mel, c.floor) if c.floor_mode == "clamp" else mel + c.floor)
    if (c.mean, c.std) != (0, 1):
        mean, std = (jnp.broadcast_to(jnp.asarray(value, mel.dtype), mel.shape) for value in (c.mean, c.std))
        values = (values - mean) / std
    return values if c.clip is None else jnp.clip(values, *c.clip)


class LogMel:
    """`log_mel` of utterances of any length as numpy arrays, with one compiled program for all lengths."""

    CHUNK_FRAMES = 512  # frames per call of the program

    def __init__(self, settings: Mel):
        self.settings = settings
        self._program = jax.jit(functools.partial(log_mel_of_padded, settings=settings))

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Audio [T] -> float32 [settings.frames(T), M]."""
        frames, hop = self.settings.frames(audio.size), self.settings.hop_size
        padded = pad_audio(audio, self.settings)
        size = (self.CHUNK_FRAMES - 1) * hop + self.settings.n_fft
        chunks = [padded[start * hop : start * hop + size] for start in range(0, frames, self.CHUNK_FRAMES)]
        mels = [self._program(np.pad(chunk, (0, size - chunk.size))[None])[0] for chunk in chunks]
        return np.concatenate(mels)[:frames]


def pad_audio(audio: np.ndarray, settings: Mel) -> np.ndarray:
    """Audio [T] with the padding of `log_mel`, as a numpy array."""
    return np.pad(audio, settings.padding, mode=_PADDINGS[settings.convention.padding])
