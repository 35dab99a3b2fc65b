"""The HiFi-GAN generator (Kong et al. 2020, section 2.2): mel [B, F, M] -> audio [B, F * hop]."""

import itertools
import math
import operator
from collections.abc import Iterator
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from hifigan_jax.models.convolution import TILE
from hifigan_jax.models.edges import FULL_ROWS, Edges
from hifigan_jax.models.generator import Stage, StagedGenerator
from hifigan_jax.models.layers import WeightNormConv, WeightNormConvTranspose

SLOPE = 0.1
LAST_SLOPE = 0.01  # before conv_post: the reference uses torch's default there, unlike in all other layers


class ResBlock1(nn.Module):
    """For each dilation d: x + conv_1(act(conv_d(act(x)))). Keeps channels and length."""

    kernel_size: int
    dilations: tuple[int, ...]
    folded: bool = False
    compute_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"], edges: Edges = FULL_ROWS) -> Float[Array, "B T C"]:
        for i, dilation in enumerate(self.dilations):
            options = dict(folded=self.folded, compute_dtype=self.compute_dtype)
            conv = dict(features=x.shape[-1], kernel_size=self.kernel_size, **options)
            y = WeightNormConv(**conv, dilation=dilation, name=f"convs1_{i}")(nn.leaky_relu(x, SLOPE))
            y = WeightNormConv(**conv, name=f"convs2_{i}")(nn.leaky_relu(edges.zero(y), SLOPE))
            x = x + edges.zero(y)
        return x

    @staticmethod
    def reach(kernel_size: int, dilations: tuple[int, ...]) -> int:
        """The receptive field: how many samples away, on each side, an input still affects an output."""
        return sum((dilation + 1) * (kernel_size - 1) // 2 for dilation in dilations)


class ResBlock2(nn.Module):
    """For each dilation d: x + conv_d(act(x)). Keeps channels and length."""

    kernel_size: int
    dilations: tuple[int, ...]
    folded: bool = False
    compute_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"], edges: Edges = FULL_ROWS) -> Float[Array, "B T C"]:
        for i, dilation in enumerate(self.dilations):
            options = dict(folded=self.folded, compute_dtype=self.compute_dtype)
            conv = WeightNormConv(x.shape[-1], self.kernel_size, dilation=dilation, **options, name=f"convs_{i}")
            x = x + edges.zero(conv(nn.leaky_relu(x, SLOPE)))
        return x

    @staticmethod
    def reach(kernel_size: int, dilations: tuple[int, ...]) -> int:
        """The receptive field: how many samples away, on each side, an input still affects an output."""
        return sum(dilation * (kernel_size - 1) // 2 for dilation in dilations)


RESBLOCKS = {"1": ResBlock1, "2": ResBlock2}


class ResidualUpsampling(StagedGenerator):
    """Upsampling by transposed convolutions, each followed by multi-receptive-field fusion: the mean of several residual blocks.

    HiFi-GAN and iSTFTNet share these layers. The fields are the JSON's keys. With `folded`, the parameters are those returned by
    `fold_norms`. Convolutions are computed in `compute_dtype` (None: the dtype of their inputs), everything else in the inputs'
    dtype. With `rematerialize`, only the inputs of residual blocks are kept for the backward pass; the rest is recomputed.
    """

    num_mels: int
    resblock: str
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channel: int
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    folded: bool = False
    compute_dtype: DTypeLike | None = None
    rematerialize: bool = False

    def setup(self):
        channels = [self.upsample_initial_channel // 2 ** (i + 1) for i in range(len(self.upsample_rates))]
        ups = zip(channels, self.upsample_kernel_sizes, self.upsample_rates, strict=True)
        blocks = list(zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True))
        block = nn.remat(RESBLOCKS[self.resblock]) if self.rematerialize else RESBLOCKS[self.resblock]
        self.conv_pre = WeightNormConv(self.upsample_initial_channel, 7, **self.layer_options)
        self.ups = [WeightNormConvTranspose(*fields, **self.layer_options) for fields in ups]
        self.resblocks = [block(*fields, **self.layer_options) for _ in channels for fields in blocks]

    @property
    def layer_options(self) -> dict[str, Any]:
        """Options of every convolution."""
        return dict(folded=self.folded, compute_dtype=self.compute_dtype)

    def upsampling_stages(self) -> Iterator[Stage]:
        """The stages from the mel to the last residual blocks."""
        yield Stage(lambda x, _: self.conv_pre(x), stride=1, left_context=6, latency=3)
        for i, up in enumerate(self.ups):
            taps = -(-up.kernel_size // up.stride)
            yield Stage(partial(self._upsample, i), up.stride, taps - 1, latency=(up.kernel_size - up.stride + 1) // 2)
            yield Stage(partial(self._mean_of_resblocks, i), stride=1, left_context=2 * self._reach, latency=self._reach)

    def _upsample(self, stage, x, _):
        return self.ups[stage](nn.leaky_relu(x, SLOPE))

    def _mean_of_resblocks(self, stage, x, edges):
        count = len(self.resblock_kernel_sizes)
        return sum(block(x, edges) for block in self.resblocks[stage * count : (stage + 1) * count]) / count

    @property
    def _reach(self) -> int:
        blocks = zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True)
        return max(RESBLOCKS[self.resblock].reach(*block) for block in blocks)

    @property
    def tile_frames(self) -> int:
        """Alignment in frames at which CPUs compute spans alike: the same sums in the same order."""
        tile = TILE * math.lcm(*itertools.chain(*self.resblock_dilation_sizes))
        rates = itertools.accumulate(self.upsample_rates, operator.mul)
        return math.lcm(*(tile // math.gcd(tile, rate) for rate in rates))


class HiFiGAN(ResidualUpsampling):
    """HiFi-GAN: a convolution and a tanh turn the upsampled channels into audio. All layers pad with zeros."""

    def setup(self):
        super().setup()
        self.conv_post = WeightNormConv(1, 7, **self.layer_options)

    def stages(self) -> Iterator[Stage]:
        """The stages from the mel to the audio."""
        yield from self.upsampling_stages()
        yield Stage(self._to_audio, stride=1, left_context=6, latency=3)

    def _to_audio(self, x, edges):
        return jnp.tanh(edges.zero(self.conv_post(nn.leaky_relu(x, LAST_SLOPE))))
