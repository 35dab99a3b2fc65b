"""The iSTFTNet generator (Kaneko et al. 2022, section 3): mel [B, F, M] -> audio [B, F * hop]."""

from collections.abc import Iterator

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from hifigan_jax.filterbank import hann
from hifigan_jax.models.generator import Stage
from hifigan_jax.models.hifigan.generator import LAST_SLOPE, ResidualUpsampling
from hifigan_jax.models.layers import WeightNormConv


class ISTFTNet(ResidualUpsampling):
    """HiFi-GAN's stages, then a convolution to the magnitude and phase of a spectrogram, and its inverse transform.

    The transform's frames are centered, so that the spectrogram needs one frame more than there are positions: one reflected
    position is added at the start. Audio is not bounded to [-1, 1].
    """

    gen_istft_n_fft: int = 16
    gen_istft_hop_size: int = 4

    def setup(self):
        super().setup()
        self.conv_post = WeightNormConv(self.gen_istft_n_fft + 2, 7, **self.layer_options)

    def stages(self) -> Iterator[Stage]:
        """The stages from the mel to the audio."""
        yield from self.upsampling_stages()
        # A sample lies in the frames up to half a window away (the window's first value is 0). Frame i + 1 is centered on
        # position i and depends on three positions on each side.
        half, hop = self.gen_istft_n_fft // 2 // self.gen_istft_hop_size, self.gen_istft_hop_size
        yield Stage(self._to_audio, hop, left_context=2 * half + 5, latency=(half + 2) * hop)

    def _to_audio(self, x, edges):
        x = edges.pad(nn.leaky_relu(x, LAST_SLOPE), 1, 0, "reflect")
        inside = edges.extended(1)
        spectrogram = self.conv_post(x)
        log_magnitude, phase = jnp.split(spectrogram, 2, axis=-1)
        audio = inverse_stft(jnp.exp(log_magnitude), jnp.sin(phase), self.gen_istft_hop_size, inside)
        return audio[..., None]


def inverse_stft(
    magnitude: Float[Array, "B L K"], phase: Float[Array, "B L K"], hop: int, inside: Bool[Array, "B L"] | None = None
) -> Float[Array, "B T"]:
    """Audio of centered frames, T = (L - 1) hop: a periodic Hann window of n_fft = 2 (K - 1) samples, n_fft a multiple of hop.

    Overlapping frames are added and divided by the sum of their squared windows. `inside` masks the frames (None: all).
    """
    n_fft = 2 * (magnitude.shape[-1] - 1)
    window = hann(n_fft)
    bins = jnp.concatenate([magnitude * jnp.cos(phase), magnitude * jnp.sin(phase)], axis=-1)
    frames = jnp.matmul(bins, jnp.asarray(inverse_basis(n_fft) * window, bins.dtype), precision=lax.Precision.HIGHEST)
    weights = jnp.broadcast_to(jnp.asarray(window**2, bins.dtype), (1, *frames.shape[1:]))
    if inside is not None:
        frames, weights = (jnp.where(inside[..., None], x, 0) for x in (frames, weights))
    total, weight = overlap_add(frames, hop), overlap_add(weights, hop)
    return total / jnp.where(weight > 0, weight, 1)


def overlap_add(frames: Float[Array, "B L N"], hop: int) -> Float[Array, "B T"]:
    """The sum of frames of N samples that start `hop` samples apart, without N / 2 samples at each end."""
    rows, count, size = frames.shape
    parts = size // hop
    blocks = frames.reshape(rows, count, parts, hop)
    total = sum(jnp.pad(blocks[:, :, i], ((0, 0), (i, parts - 1 - i), (0, 0))) for i in range(parts))
    return total.reshape(rows, -1)[:, size // 2 : size // 2 + (count - 1) * hop]


def inverse_basis(n_fft: int) -> np.ndarray:
    """Matrix [2 K, n_fft] from real and imaginary parts of the bins to samples, as in `numpy.fft.irfft`."""
    identity = np.eye(n_fft // 2 + 1)
    return np.concatenate([np.fft.irfft(identity, n_fft), np.fft.irfft(1j * identity, n_fft)])
