"""The HiFi-GAN generator (Kong et al. 2020, section 2.2): mel [B, F, M] -> audio [B, F * hop]."""

import itertools
import math
import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float

from hifigan_jax.models.convolution import TILE
from hifigan_jax.models.layers import Conv, ConvTranspose

SLOPE = 0.1


class ResBlock1(nn.Module):
    """For each dilation d: x + conv_1(act(conv_d(act(x)))). Channels and length stay."""

    kernel_size: int
    dilations: tuple[int, ...]
    folded: bool = False
    compute_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"], mask: Bool[Array, "B T 1"] | None = None) -> Float[Array, "B T C"]:
        for i, dilation in enumerate(self.dilations):
            options = dict(folded=self.folded, compute_dtype=self.compute_dtype)
            conv = dict(features=x.shape[-1], kernel_size=self.kernel_size, **options)
            y = Conv(**conv, dilation=dilation, name=f"convs1_{i}")(nn.leaky_relu(x, SLOPE))
            y = Conv(**conv, name=f"convs2_{i}")(nn.leaky_relu(masked(y, mask), SLOPE))
            x = x + masked(y, mask)
        return x

    @staticmethod
    def reach(kernel_size: int, dilations: tuple[int, ...]) -> int:
        """How many samples away, on each side, an input still moves an output."""
        return sum((dilation + 1) * (kernel_size - 1) // 2 for dilation in dilations)


class ResBlock2(nn.Module):
    """For each dilation d: x + conv_d(act(x)). Channels and length stay."""

    kernel_size: int
    dilations: tuple[int, ...]
    folded: bool = False
    compute_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"], mask: Bool[Array, "B T 1"] | None = None) -> Float[Array, "B T C"]:
        for i, dilation in enumerate(self.dilations):
            options = dict(folded=self.folded, compute_dtype=self.compute_dtype)
            conv = Conv(x.shape[-1], self.kernel_size, dilation=dilation, **options, name=f"convs_{i}")
            x = x + masked(conv(nn.leaky_relu(x, SLOPE)), mask)
        return x

    @staticmethod
    def reach(kernel_size: int, dilations: tuple[int, ...]) -> int:
        """How many samples away, on each side, an input still moves an output."""
        return sum(dilation * (kernel_size - 1) // 2 for dilation in dilations)


RESBLOCKS = {"1": ResBlock1, "2": ResBlock2}


class Link(NamedTuple):
    """`layer(x, mask)` [B, T, C] -> [B, T * stride, C'], and how far an output sees: what streaming has to know.

    An output depends on inputs up to `delay` output samples ahead of it, and on no more than `behind` inputs before the newest of
    these.
    """

    layer: Callable[[Array, Array | None], Array]
    stride: int
    behind: int
    delay: int


class HiFiGAN(nn.Module):
    """Upsampling by transposed convolutions, each followed by the mean of residual blocks of several receptive fields.

    The fields are the reference's JSON keys. With `folded`, it takes parameters that went through `fold_norms`. Convolutions are
    computed in `compute_dtype` (None: as their inputs come), everything else in the inputs' dtype. With `rematerialize`, a
    backward pass keeps what goes into each residual block and computes the rest anew.
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
        options = dict(folded=self.folded, compute_dtype=self.compute_dtype)
        block = nn.remat(RESBLOCKS[self.resblock]) if self.rematerialize else RESBLOCKS[self.resblock]
        self.conv_pre = Conv(self.upsample_initial_channel, 7, **options)
        self.ups = [ConvTranspose(*fields, **options) for fields in ups]
        self.resblocks = [block(*fields, **options) for _ in channels for fields in blocks]
        self.conv_post = Conv(1, 7, **options)

    def __call__(
        self, mel: Float[Array, "B F M"], exists: Bool[Array, "B F"] | None = None
    ) -> Float[Array, "B T"]:
        """Audio in (-1, 1), hop_size samples per frame.

        Frames that `exists` denies are everywhere replaced by the zeros that every convolution pads with, and their audio is
        zero. So utterances of any lengths in one batch, or in one row with `context_frames` between them, give what each gives
        alone.
        """
        x, rate = mel, 1
        for link in self.chain():
            x = link.layer(masked(x, at_rate(exists, rate)), at_rate(exists, rate))
            rate *= link.stride
        return jnp.tanh(masked(x, at_rate(exists, rate)))[..., 0]

    def chain(self) -> Iterator[Link]:
        """What happens to the mel, link by link, until its audio comes out (but for masks and the tanh)."""
        yield Link(lambda x, _: self.conv_pre(x), stride=1, behind=6, delay=3)
        for i, up in enumerate(self.ups):
            taps = -(-up.kernel_size // up.stride)
            yield Link(partial(self._upsampled, i), up.stride, behind=taps - 1, delay=(up.kernel_size - up.stride + 1) // 2)
            yield Link(partial(self._mean_of_resblocks, i), stride=1, behind=2 * self._reach, delay=self._reach)
        # The slope is torch's default: the one place where the reference does not say 0.1.
        yield Link(lambda x, _: self.conv_post(nn.leaky_relu(x, 0.01)), stride=1, behind=6, delay=3)

    def _upsampled(self, stage, x, _):
        return self.ups[stage](nn.leaky_relu(x, SLOPE))

    def _mean_of_resblocks(self, stage, x, mask):
        count = len(self.resblock_kernel_sizes)
        return sum(block(x, mask) for block in self.resblocks[stage * count : (stage + 1) * count]) / count

    @property
    def _reach(self) -> int:
        blocks = zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True)
        return max(RESBLOCKS[self.resblock].reach(*block) for block in blocks)

    @property
    def hop_size(self) -> int:
        """Samples of audio per mel frame."""
        return math.prod(self.upsample_rates)

    @property
    def context_frames(self) -> int:
        """How many mel frames beyond a stretch of frames, on each side, move its audio: the receptive field, to the frame."""
        first, last = 0, self.hop_size - 1  # the samples of frame 0, traced back to the frames that they depend on
        first, last = first - 3, last + 3
        for stride, kernel_size in reversed(list(zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True))):
            padding = (kernel_size - stride + 1) // 2
            first = -((kernel_size - 1 - padding - (first - self._reach)) // stride)
            last = (last + self._reach + padding) // stride
        return max(3 - first, last + 3)

    @property
    def tile_frames(self) -> int:
        """Stretches of frames that start at multiples of it are computed alike: on CPUs, the same sums in the same order."""
        tile = TILE * math.lcm(*itertools.chain(*self.resblock_dilation_sizes))
        rates = itertools.accumulate(self.upsample_rates, operator.mul)
        return math.lcm(*(tile // math.gcd(tile, rate) for rate in rates))


def at_rate(exists: Bool[Array, "B F"] | None, rate: int) -> Bool[Array, "B T 1"] | None:
    """A mask of frames as one of samples, `rate` per frame."""
    return None if exists is None else jnp.repeat(exists, rate, axis=1)[..., None]


def masked(x: Float[Array, "B T C"], mask: Bool[Array, "B T 1"] | None) -> Float[Array, "B T C"]:
    """`x` with zeros where `mask` is false."""
    return x if mask is None else jnp.where(mask, x, 0)
