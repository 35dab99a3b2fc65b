"""The period discriminator (Kong et al. 2020, section 2.3)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from hifigan_jax.models.discriminators.combined import PartOutput
from hifigan_jax.models.layers import WeightNormConv

SLOPE = 0.1


class PeriodDiscriminator(nn.Module):
    """Convolutions on every `period`-th sample: the audio is split into P interleaved sequences, which share all weights.

    The reference's (5, 1) kernels on [B, C, T / P, P] never mix columns, so that the columns can be rows of the batch here.
    """

    period: int
    channel_mult: float = 1
    compute_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, audio: Float[Array, "B T"]) -> PartOutput:
        missing = -audio.shape[1] % self.period
        x = jnp.pad(audio, ((0, 0), (0, missing)), mode="reflect")
        x = x.reshape(x.shape[0], -1, self.period).transpose(0, 2, 1)
        x = x.reshape(-1, x.shape[2], 1)  # [B * P, T / P, 1]
        features = []
        for i, (channels, stride) in enumerate(((32, 3), (128, 3), (512, 3), (1024, 3), (1024, 1))):
            conv = WeightNormConv(
                int(channels * self.channel_mult), 5, stride, compute_dtype=self.compute_dtype, name=f"convs_{i}"
            )
            x = nn.leaky_relu(conv(x), SLOPE)
            features.append(x)
        score = WeightNormConv(1, 3, compute_dtype=self.compute_dtype, name="conv_post")(x)
        return score, (*features, score)
