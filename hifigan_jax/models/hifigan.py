"""The HiFi-GAN generator (Kong et al. 2020, section 2.2): mel [B, F, M] -> audio [B, F * hop]."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hifigan_jax.models.layers import Conv, ConvTranspose

SLOPE = 0.1


class ResBlock1(nn.Module):
    """For each dilation d: x + conv_1(act(conv_d(act(x)))). Channels and length stay."""

    kernel_size: int
    dilations: tuple[int, ...]
    folded: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"], mask: Bool[Array, "B T 1"] | None = None) -> Float[Array, "B T C"]:
        for i, dilation in enumerate(self.dilations):
            conv = dict(features=x.shape[-1], kernel_size=self.kernel_size, folded=self.folded)
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

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"], mask: Bool[Array, "B T 1"] | None = None) -> Float[Array, "B T C"]:
        for i, dilation in enumerate(self.dilations):
            conv = Conv(x.shape[-1], self.kernel_size, dilation=dilation, folded=self.folded, name=f"convs_{i}")
            x = x + masked(conv(nn.leaky_relu(x, SLOPE)), mask)
        return x

    @staticmethod
    def reach(kernel_size: int, dilations: tuple[int, ...]) -> int:
        """How many samples away, on each side, an input still moves an output."""
        return sum(dilation * (kernel_size - 1) // 2 for dilation in dilations)


RESBLOCKS = {"1": ResBlock1, "2": ResBlock2}


class HiFiGAN(nn.Module):
    """Upsampling by transposed convolutions, each followed by the mean of residual blocks of several receptive fields.

    The fields are the reference's JSON keys. With `folded`, it takes parameters that went through `fold_norms`. With
    `rematerialize`, a backward pass keeps what goes into each residual block and computes the rest anew.
    """

    num_mels: int
    resblock: str
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channel: int
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    folded: bool = False
    rematerialize: bool = False

    @nn.compact
    def __call__(
        self, mel: Float[Array, "B F M"], lengths: Int[Array, " B"] | None = None
    ) -> Float[Array, "B T"]:
        """Audio in (-1, 1), hop_size samples per frame.

        With `lengths` (in frames), row b is computed as if its mel ended after lengths[b] frames: whatever lies beyond is
        replaced by the zeros that every convolution pads with, and its audio is zero. So a batch of any lengths gives what each
        row gives alone.
        """
        mask = Mask(lengths, mel.shape[1])
        x = Conv(self.upsample_initial_channel, 7, folded=self.folded, name="conv_pre")(masked(mel, mask.at(1)))
        rate = 1
        for i, (stride, kernel_size) in enumerate(zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True)):
            x = nn.leaky_relu(masked(x, mask.at(rate)), SLOPE)
            rate *= stride
            channels = self.upsample_initial_channel // 2 ** (i + 1)
            x = ConvTranspose(channels, kernel_size, stride, folded=self.folded, name=f"ups_{i}")(x)
            x = self._mean_of_resblocks(i, masked(x, mask.at(rate)), mask.at(rate))
        x = nn.leaky_relu(x, 0.01)  # torch's default slope: the one place where the reference does not say 0.1
        x = Conv(1, 7, folded=self.folded, name="conv_post")(x)
        return jnp.tanh(masked(x, mask.at(rate)))[..., 0]

    def _mean_of_resblocks(self, stage, x, mask):
        blocks = list(zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True))
        block = nn.remat(RESBLOCKS[self.resblock]) if self.rematerialize else RESBLOCKS[self.resblock]
        total = sum(
            block(kernel_size, dilations, self.folded, name=f"resblocks_{stage * len(blocks) + j}")(x, mask)
            for j, (kernel_size, dilations) in enumerate(blocks)
        )
        return total / len(blocks)

    @property
    def hop_size(self) -> int:
        """Samples of audio per mel frame."""
        return math.prod(self.upsample_rates)

    @property
    def context_frames(self) -> int:
        """How many mel frames beyond a stretch of frames, on each side, move its audio: the receptive field, to the frame."""
        blocks = zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True)
        reach = max(RESBLOCKS[self.resblock].reach(*block) for block in blocks)
        first, last = 0, self.hop_size - 1  # the samples of frame 0, traced back to the frames that they depend on
        first, last = first - 3, last + 3
        for stride, kernel_size in reversed(list(zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True))):
            padding = (kernel_size - stride + 1) // 2
            first = -((kernel_size - 1 - padding - (first - reach)) // stride)
            last = (last + reach + padding) // stride
        return max(3 - first, last + 3)


class Mask:
    """True where a row's samples lie within its length, at any multiple of the frame rate; None where no lengths are given."""

    def __init__(self, lengths: Int[Array, " B"] | None, frames: int):
        self.lengths, self.frames = lengths, frames

    def at(self, rate: int) -> Bool[Array, "B T 1"] | None:
        """The mask at `rate` samples per frame."""
        if self.lengths is None:
            return None
        return (jnp.arange(self.frames * rate)[None] < self.lengths[:, None] * rate)[..., None]


def masked(x: Float[Array, "B T C"], mask: Bool[Array, "B T 1"] | None) -> Float[Array, "B T C"]:
    """`x` with zeros where `mask` is false."""
    return x if mask is None else jnp.where(mask, x, 0)
