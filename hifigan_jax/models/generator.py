"""What every generator takes, and generators as chains of stages: what windows and streaming have to know of each.

A generator is a linen module (Conditions, Edges) -> audio [B, T] with `hop_size`, samples per mel frame; `receptive_field`, the
frames beyond a stretch of frames, on each side, that move its audio; `shortest`, the fewest frames that its padding can
handle; `tile_frames` (see HiFi-GAN's); `compute_dtype`; and, to be streamed, `stages()`.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from hifigan_jax.models.edges import WHOLE, Edges


class Conditions(NamedTuple):
    """What audio is generated from. A family that needs more than a mel adds a field here, with a default."""

    mel: Float[Array, "B F M"]


class StagedGenerator(nn.Module):
    """A generator that is a chain of stages, which subclasses give by their method `stages()`."""

    shortest = 1
    tile_frames = 1

    def __call__(self, conditions: Conditions, edges: Edges = WHOLE) -> Float[Array, "B T"]:
        """Audio, hop_size samples per frame."""
        return run_stages(self.stages(), conditions, edges)

    @property
    def hop_size(self) -> int:
        """Samples of audio per mel frame."""
        return math.prod(stage.stride for stage in self.bind({}).stages())

    @property
    def receptive_field(self) -> int:
        """Mel frames on each side."""
        return receptive_field(self.bind({}).stages())


class Stage(NamedTuple):
    """`layer(x, edges)` [B, T, C] -> [B, T * stride, C'], and how far an output sees.

    An output depends on inputs up to `latency` output samples ahead of it, and on no more than `left_context` inputs before the
    newest of these. `edges` are those of the input, which is zero outside of the utterances.
    """

    layer: Callable[[Array, Edges], Array]
    stride: int
    left_context: int
    latency: int


def run_stages(stages: Iterable[Stage], conditions: Conditions, edges: Edges) -> Float[Array, "B T"]:
    """The audio that the last stage's only channel holds. Outside of the utterances it means nothing."""
    x = conditions.mel
    for stage in stages:
        x = stage.layer(edges.zero(x), edges)
        edges = edges.at(stage.stride)
    return x[..., 0]


def receptive_field(stages: Iterable[Stage]) -> int:
    """How many mel frames beyond a stretch of frames, on each side, move its audio."""
    stages = list(stages)
    hop = 1
    for stage in stages:
        hop *= stage.stride
    first, last = 0, hop - 1  # the samples of frame 0, traced back to the frames that they depend on
    for stage in reversed(stages):
        first = (first + stage.latency) // stage.stride - stage.left_context
        last = (last + stage.latency) // stage.stride
    return max(-first, last)


def latency(stages: Iterable[Stage]) -> int:
    """Samples by which streamed audio comes after its mel."""
    total = 0
    for stage in stages:
        total = total * stage.stride + stage.latency
    return total
