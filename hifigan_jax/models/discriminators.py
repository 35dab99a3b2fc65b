"""The discriminators (Kong et al. 2020, section 2.3): audio [B, T] -> scores and the feature maps of every layer."""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from hifigan_jax.models.layers import Conv, SpectralConv

SLOPE = 0.1


class Verdict(NamedTuple):
    """What all sub-discriminators say about a batch: one score map and one tuple of feature maps each.

    The leading axis of each array is B times a whole number, the rows of one utterance side by side.
    """

    scores: tuple[Float[Array, "..."], ...]
    features: tuple[tuple[Float[Array, "..."], ...], ...]


class PeriodDiscriminator(nn.Module):
    """Judges every `period`-th sample: the audio is folded into P interleaved sequences, which share all weights.

    The reference's (5, 1) kernels on [B, C, T / P, P] never mix columns, so the columns are rows of the batch here.
    """

    period: int
    channel_mult: float = 1
    compute_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, audio: Float[Array, "B T"], passes: int = 1) -> tuple[Array, tuple[Array, ...]]:
        missing = -audio.shape[1] % self.period
        x = jnp.pad(audio, ((0, 0), (0, missing)), mode="reflect")
        x = x.reshape(x.shape[0], -1, self.period).transpose(0, 2, 1)
        x = x.reshape(-1, x.shape[2], 1)  # [B * P, T / P, 1]
        features = []
        for i, (channels, stride) in enumerate(((32, 3), (128, 3), (512, 3), (1024, 3), (1024, 1))):
            conv = Conv(
                int(channels * self.channel_mult), 5, stride, compute_dtype=self.compute_dtype, name=f"convs_{i}"
            )
            x = nn.leaky_relu(conv(x), SLOPE)
            features.append(x)
        score = Conv(1, 3, compute_dtype=self.compute_dtype, name="conv_post")(x)
        return score, (*features, score)


class ScaleDiscriminator(nn.Module):
    """Judges the audio at 1 / 2**pools of its rate, with wide grouped convolutions."""

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
    def __call__(self, audio: Float[Array, "B T"], passes: int = 1) -> tuple[Array, tuple[Array, ...]]:
        for _ in range(self.pools):
            audio = average_pool(audio)
        x = audio[..., None]
        features = []
        for i, (channels, kernel_size, stride, groups) in enumerate(self.LAYERS):
            x = self._conv(x, passes, int(channels * self.channel_mult), kernel_size, stride, groups, name=f"convs_{i}")
            x = nn.leaky_relu(x, SLOPE)
            features.append(x)
        score = self._conv(x, passes, 1, 3, 1, 1, name="conv_post")
        return score, (*features, score)

    def _conv(self, x, passes, channels, kernel_size, stride, groups, name):
        options = dict(stride=stride, groups=groups, compute_dtype=self.compute_dtype, name=name)
        if self.spectral:
            return SpectralConv(channels, kernel_size, **options)(x, passes)
        return Conv(channels, kernel_size, **options)(x)


class Discriminator(nn.Module):
    """Several sub-discriminators as one module.

    `parts` maps a name to a module audio [B, T] -> (score map, feature maps). See `SpectralConv` for `passes`: a batch made of
    real and fake audio counts as two. With `rematerialize`, a backward pass keeps of each part what it returns and computes the
    rest anew.
    """

    parts: Mapping[str, nn.Module]
    rematerialize: bool = False

    @nn.compact
    def __call__(self, audio: Float[Array, "B T"], passes: int = 1) -> Verdict:
        def verdict(part, audio):
            return part(audio, passes)

        judge = nn.remat(verdict) if self.rematerialize else verdict
        verdicts = [judge(part.copy(name=name), audio) for name, part in self.parts.items()]
        scores, features = zip(*verdicts, strict=True)
        return Verdict(scores, features)


def average_pool(audio: Float[Array, "B T"]) -> Float[Array, "B T_out"]:
    """Means of 4 samples, every 2, with two counted zeros on either side: T_out = T // 2 + 1."""
    pairs = audio.shape[1] // 2 + 2
    padded = jnp.pad(audio, ((0, 0), (2, 2)))[:, : 2 * pairs]
    sums = padded.reshape(audio.shape[0], pairs, 2).sum(axis=-1)
    return (sums[:, :-1] + sums[:, 1:]) / 4
