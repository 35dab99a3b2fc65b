"""MelGAN's discriminator at one scale (Kumar et al. 2019, section 2.2)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from hifigan_jax.models.discriminators.combined import PartOutput
from hifigan_jax.models.layers import WeightNormConv

SLOPE = 0.2
MAX_CHANNELS = 1024  # before channel_mult


class MelGANDiscriminator(nn.Module):
    """Grouped convolutions that downsample by `rates`, on the audio at 1 / 2**pools of its rate.

    As in the original, the score map is not one of the feature maps.
    """

    pools: int
    channels: int = 16
    rates: tuple[int, ...] = (4, 4, 4, 4)
    channel_mult: float = 1
    compute_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, audio: Float[Array, "B T"]) -> PartOutput:
        for _ in range(self.pools):
            audio = average_pool(audio)
        x = jnp.pad(audio, ((0, 0), (7, 7)), mode="reflect")[..., None]
        layers = [dict(features=self._width(0), kernel_size=15, padding=0)]
        for i, rate in enumerate(self.rates):
            groups = self._width(i) // 4
            layers.append(dict(features=self._width(i + 1), kernel_size=10 * rate + 1, stride=rate, groups=groups))
        layers.append(dict(features=self._width(len(self.rates), 2), kernel_size=5))
        features = []
        for i, layer in enumerate(layers):
            x = nn.leaky_relu(WeightNormConv(**layer, compute_dtype=self.compute_dtype, name=f"convs_{i}")(x), SLOPE)
            features.append(x)
        score = WeightNormConv(1, 3, compute_dtype=self.compute_dtype, name="conv_post")(x)
        return score, tuple(features)

    def _width(self, layer: int, factor: int = 1) -> int:
        """Channels after `layer` downsampling layers, times `factor`."""
        channels = self.channels
        for rate in self.rates[:layer]:
            channels = min(channels * rate, MAX_CHANNELS)
        return int(min(factor * channels, MAX_CHANNELS) * self.channel_mult)


def average_pool(audio: Float[Array, "B T"]) -> Float[Array, "B T_out"]:
    """Means of 4 samples with stride 2; padding, one sample at each end, does not count: T_out = T // 2."""
    count = audio.shape[1] // 2
    padded = jnp.pad(audio, ((0, 0), (1, 2)))[:, : 2 * count + 2]
    mask = jnp.pad(jnp.ones_like(audio[:1]), ((0, 0), (1, 2)))[:, : 2 * count + 2]

    def sums(x):
        pairs = x.reshape(x.shape[0], count + 1, 2).sum(axis=-1)
        return pairs[:, :-1] + pairs[:, 1:]

    return sums(padded) / sums(mask)
