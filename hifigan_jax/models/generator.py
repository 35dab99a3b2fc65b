"""The interface of generators, and generators as chains of stages, which packing and streaming rely on.

A generator is a linen module (Conditions, Edges) -> audio [B, T] with these attributes: `hop_size`, samples per mel frame;
`receptive_field`, the number of context frames on each side that affect the audio of a span of frames; `shortest`, the minimum
number of frames that its padding supports; `tile_frames` (see ResidualUpsampling); `compute_dtype`; for streaming, `stages()`.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Array, Float

from hifigan_jax.models.edges import FULL_ROWS, Edges


class Conditions(NamedTuple):
    """The inputs of a generator. A family that needs more than a mel adds a field here, with a default."""

    mel: Float[Array, "B F M"]


class StagedGenerator(nn.Module):
    """A generator that is a chain of stages. Subclasses define `stages()`."""

    shortest = 1
    tile_frames = 1

    def __call__(self, conditions: Conditions, edges: Edges = FULL_ROWS) -> Float[Array, "B T"]:
        """Audio, hop_size samples per frame."""
        return run_stages(self.stages(), conditions, edges)

    @property
    def hop_size(self) -> int:
        """Samples of audio per mel frame."""
        return math.prod(stage.stride for stage in self.bind({}).stages())

    @property
    def receptive_field(self) -> int:
        """Mel frames of context on each side."""
        return receptive_field(self.bind({}).stages())


class Stage(NamedTuple):
    """`layer(x, edges)` [B, T, C] -> [B, T * stride, C'] and its receptive field.

    Output t depends on no input after i = (t + latency) // stride, and on none before i - left_context. `edges` are those of the
    input, which is zero outside the utterances.
    """

    layer: Callable[[Array, Edges], Array]
    stride: int
    left_context: int
    latency: int


def run_stages(stages: Iterable[Stage], conditions: Conditions, edges: Edges) -> Float[Array, "B T"]:
    """The audio: the last stage's only channel. Its values outside the utterances are undefined."""
    x = conditions.mel
    for stage in stages:
        x = stage.layer(edges.zero(x), edges)
        edges = edges.upsampled(stage.stride)
    return x[..., 0]


def receptive_field(stages: Iterable[Stage]) -> int:
    """The number of context mel frames on each side that affect the audio of a span of frames."""
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
    """The delay of streamed audio after its mel, in samples."""
    total = 0
    for stage in stages:
        total = total * stage.stride + stage.latency
    return total
