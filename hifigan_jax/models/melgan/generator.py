"""The MelGAN generator (Kumar et al. 2019, section 2.1): mel [B, F, M] -> audio [B, F * hop], with reflection padding."""

import itertools
import operator
from collections.abc import Iterator
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from hifigan_jax.models.edges import FULL_ROWS, Edges
from hifigan_jax.models.generator import Stage, StagedGenerator
from hifigan_jax.models.layers import WeightNormConv, WeightNormConvTranspose

SLOPE = 0.2


class ResidualLayer(nn.Module):
    """shortcut(x) + pointwise(act(dilated(act(x)))), with reflection padding. Keeps channels and length."""

    dilation: int
    folded: bool = False
    compute_dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B T C"], edges: Edges = FULL_ROWS) -> Float[Array, "B T C"]:
        options = dict(features=x.shape[-1], folded=self.folded, compute_dtype=self.compute_dtype)
        y = edges.pad(nn.leaky_relu(x, SLOPE), self.dilation, self.dilation, "reflect")
        y = WeightNormConv(kernel_size=3, dilation=self.dilation, padding=0, name="dilated", **options)(y)
        y = WeightNormConv(kernel_size=1, name="pointwise", **options)(nn.leaky_relu(y, SLOPE))
        return WeightNormConv(kernel_size=1, name="shortcut", **options)(x) + y


class MelGAN(StagedGenerator):
    """Transposed convolutions, each followed by residual layers with dilations 1, 3, 9, ...

    The fields are the JSON's keys. With `folded`, the parameters are those returned by `fold_norms`. With `rematerialize`, only
    the inputs of residual layers are kept for the backward pass; the rest is recomputed.
    """

    num_mels: int
    upsample_rates: tuple[int, ...]
    upsample_initial_channel: int
    residual_layers: int
    folded: bool = False
    compute_dtype: DTypeLike | None = None
    rematerialize: bool = False

    def setup(self):
        options = dict(folded=self.folded, compute_dtype=self.compute_dtype)
        layer = nn.remat(ResidualLayer) if self.rematerialize else ResidualLayer
        stages = list(enumerate(self.upsample_rates))
        self.conv_pre = WeightNormConv(self.upsample_initial_channel, 7, padding=0, **options)
        self.ups = [
            WeightNormConvTranspose(self.upsample_initial_channel // 2 ** (i + 1), 2 * r, r, **options) for i, r in stages
        ]
        self.residuals = [layer(dilation, **options) for _ in stages for dilation in self._dilations]
        self.conv_post = WeightNormConv(1, 7, padding=0, **options)

    def stages(self) -> Iterator[Stage]:
        """The stages from the mel to the audio."""
        reach = sum(self._dilations)
        yield Stage(lambda x, edges: self.conv_pre(edges.pad(x, 3, 3, "reflect")), stride=1, left_context=6, latency=3)
        for i, rate in enumerate(self.upsample_rates):
            yield Stage(partial(self._upsample, i), rate, left_context=1, latency=(rate + 1) // 2)
            yield Stage(partial(self._apply_residual_layers, i), 1, left_context=2 * reach, latency=reach)
        yield Stage(self._to_audio, stride=1, left_context=6, latency=3)

    def _upsample(self, stage, x, _):
        return self.ups[stage](nn.leaky_relu(x, SLOPE))

    def _apply_residual_layers(self, stage, x, edges):
        for layer in self.residuals[stage * self.residual_layers : (stage + 1) * self.residual_layers]:
            x = layer(x, edges)
        return x

    def _to_audio(self, x, edges):
        return jnp.tanh(self.conv_post(edges.pad(nn.leaky_relu(x, SLOPE), 3, 3, "reflect")))

    @property
    def _dilations(self) -> tuple[int, ...]:
        return tuple(3**i for i in range(self.residual_layers))

    @property
    def shortest(self) -> int:
        """The minimum number of frames: every layer needs one position more than its reflection padding."""
        rates = itertools.accumulate(self.upsample_rates, operator.mul)
        return max(4, *(max(self._dilations) // rate + 1 for rate in rates))
