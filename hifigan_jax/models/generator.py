"""What every generator takes, and generators as chains of stages: what windows and streaming have to know of each.

A generator is a linen module (Conditions, Edges) -> audio [B, T] with `hop_size`, samples per mel frame; `receptive_field`, the
frames beyond a stretch of frames, on each side, that move its audio; `shortest`, the fewest frames that its padding can
handle; `tile_frames` (see HiFi-GAN's); `compute_dtype`; and, to be streamed, `stages()`.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from jaxtyping import Array, Float

from hifigan_jax.models.edges import Edges


class Conditions(NamedTuple):
    """What audio is generated from. A family that needs more than a mel adds a field here, with a default."""

    mel: Float[Array, "B F M"]


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
