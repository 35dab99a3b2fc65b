"""Edges of the utterances in a window, and padding at these edges as if each utterance were alone.

Utterances of any length share a window (synthesis/packing.py) with gaps between them. A layer that pads its input with zeros,
by reflection or by replication has to do so at the edges of every utterance, not at those of the window. Layers whose padding
is not zeros call `Edges.pad`; others call `Edges.zero`, so that gaps stay zero.
"""

from typing import Literal

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Mode = Literal["zero", "reflect", "replicate"]
_NUMPY_MODES = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}


@flax.struct.dataclass
class Edges:
    """Mask of the positions of a window that belong to an utterance, `rate` positions per entry of `inside`.

    Without `inside`, all positions of every row are valid, as in training. Utterances are runs of true entries. The gaps between
    them must be at least as long as the padding of a layer on both sides together.
    """

    inside: Bool[Array, "B F"] | None = None
    rate: int = flax.struct.field(pytree_node=False, default=1)

    def upsampled(self, factor: int) -> "Edges":
        """The same utterances with `factor` times as many positions."""
        return self.replace(rate=self.rate * factor)

    def mask(self) -> Bool[Array, "B T"] | None:
        """The mask at all positions, true inside utterances; None: all are inside."""
        return None if self.inside is None else jnp.repeat(self.inside, self.rate, axis=1)

    def zero(self, x: Float[Array, "B T C"]) -> Float[Array, "B T C"]:
        """`x`, set to zero outside the utterances."""
        mask = self.mask()
        return x if mask is None else jnp.where(mask[..., None], x, 0)

    def pad(self, x: Float[Array, "B T C"], before: int, after: int, mode: Mode) -> Float[Array, "B T_padded C"]:
        """`x` padded by `before` positions on the left and `after` on the right, T_padded = before + T + after.

        Each utterance gets the same padding as if it were alone. All other positions outside utterances are zero.
        """
        mask = self.mask()
        if mask is None:
            return jnp.pad(x, ((0, 0), (before, after), (0, 0)), mode=_NUMPY_MODES[mode])
        if mode == "zero":
            return jnp.pad(self.zero(x), ((0, 0), (before, after), (0, 0)))
        source, filled = _sources(mask, before, after, mode)
        return jnp.where(filled[..., None], jnp.take_along_axis(x, source[..., None], axis=1), 0)

    def extended(self, before: int) -> Bool[Array, "B T_padded"] | None:
        """Mask of the positions of `pad(x, before, 0, ...)` that belong to an utterance or its padding; None: all."""
        mask = self.mask()
        if mask is None:
            return None
        shifted = [jnp.pad(mask, ((0, 0), (before - shift, shift))) for shift in range(before + 1)]
        return jnp.stack(shifted).any(axis=0)


FULL_ROWS = Edges()  # all positions are valid


def _sources(mask: Bool[Array, "B T"], before: int, after: int, mode: Mode) -> tuple[Array, Bool[Array, "B T_padded"]]:
    """For each position of the padded row, the position of x that it copies, and whether it copies any."""
    length = mask.shape[1]
    far = 4 * (length + before + after)
    index = jnp.arange(length)
    ends = jax.lax.cummax(jnp.where(mask, index, -far), axis=1)  # the last position inside, up to here
    starts = jax.lax.cummin(jnp.where(mask, index, far), axis=1, reverse=True)  # the next one inside, from here on
    ends = jnp.pad(jnp.pad(ends, ((0, 0), (0, after)), mode="edge"), ((0, 0), (before, 0)), constant_values=-far)
    starts = jnp.pad(jnp.pad(starts, ((0, 0), (before, 0)), mode="edge"), ((0, 0), (0, after)), constant_values=far)
    position = jnp.arange(-before, length + after)[None]
    past, ahead = position - ends, starts - position  # distances to the nearest utterances; both 0 inside
    reflected = mode == "reflect"
    source = jnp.where(past <= after, ends - reflected * past, starts + reflected * ahead)
    return jnp.clip(source, 0, length - 1), (past <= after) | (ahead <= before)
