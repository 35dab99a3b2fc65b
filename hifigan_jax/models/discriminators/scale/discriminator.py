"""The scale discriminator (Kong et al. 2020, section 2.3)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from hifigan_jax.models.discriminators.combined import PartOutput, concatenated, split
from hifigan_jax.models.layers import SpectralNormConv, WeightNormConv

SLOPE = 0.1


class ScaleDiscriminator(nn.Module):
    """Wide grouped convolutions on the audio at 1 / 2**pools of its rate."""

    pools: int
    spectral: bool = False
    channel_mult: float = 1
    compute_dtype: DTypeLike | None = None

    LAYERS = (  # channels, kernel size, stride, groups
        (128, 15, 1, 1),
        (128, 41, 2, 4),
        (256, 41, 2, 16),
        (512, 41, 4, 16),
        (1024, 41, 4, 16),
        (1024, 41, 1, 16),
        (1024, 5, 1, 1),
    )

    @nn.compact
    def __call__(self, audio: Float[Array, "B T"], power_iterations: int = 1) -> PartOutput:
        for _ in range(self.pools):
            audio = average_pool(audio)
        x = audio[..., None]
        features = []
        for i, (channels, kernel_size, stride, groups) in enumerate(self.LAYERS):
            width = int(channels * self.channel_mult)
            x = self._conv(x, power_iterations, width, kernel_size, stride, groups, name=f"convs_{i}")
            x = nn.leaky_relu(x, SLOPE)
            features.append(x)
        score = self._conv(x, power_iterations, 1, 3, 1, 1, name="conv_post")
        return score, (*features, score)

    def together(self, *batches: Float[Array, "B T"]) -> list[PartOutput]:
        """One output per batch, each with its own power iteration."""
        return split(self(concatenated(batches), len(batches)), len(batches))

    def _conv(self, x, power_iterations, channels, kernel_size, stride, groups, name):
        options = dict(stride=stride, groups=groups, compute_dtype=self.compute_dtype, name=name)
        if self.spectral:
            return SpectralNormConv(channels, kernel_size, **options)(x, power_iterations)
        return WeightNormConv(channels, kernel_size, **options)(x)


def average_pool(audio: Float[Array, "B T"]) -> Float[Array, "B T_out"]:
    """Means of 4 samples with stride 2; the two zeros of padding on each side count: T_out = T // 2 + 1."""
    pairs = audio.shape[1] // 2 + 2
    padded = jnp.pad(audio, ((0, 0), (2, 2)))[:, : 2 * pairs]
    sums = padded.reshape(audio.shape[0], pairs, 2).sum(axis=-1)
    return (sums[:, :-1] + sums[:, 1:]) / 4
