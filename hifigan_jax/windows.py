"""How utterances of any lengths are laid into windows of one size so that each gives exactly what it gives alone.

A generator's output depends on `context` frames on either side. Utterances follow each other in a window, with a gap between them
that the generator masks, as it does what lies beyond the last of them: there it pads with zeros as it would for each alone. What
reaches beyond a window's end goes on in the next, `2 context` frames earlier, and what lies within `context` frames of such an
inner edge is thrown away. Pieces start, in their utterance and in their window, at multiples of `step` frames.
"""

from typing import NamedTuple


class Piece(NamedTuple):
    """Frames [start, stop) of an utterance, from frame `at` of a window on; [keep_from, keep_to) of the utterance are kept.

    A piece at 0 begins a new window; every other follows the piece before it.
    """

    start: int
    stop: int
    at: int
    keep_from: int
    keep_to: int


def lay(frames: int, at: int, size: int, context: int, gap: int, step: int) -> tuple[list[Piece], int]:
    """Lays `frames` frames into the window that is free from `at` on and into new ones; also returns what is free then.

    `at` and size - 2 context must be multiples of `step`, the latter positive. A window that is full, or nearly, is left.
    """
    pieces, start, keep_from = [], 0, 0
    while frames - start > size - at:
        stop = start + size - at
        if stop - start > 2 * context:  # the next one gets further
            pieces.append(Piece(start, stop, at, keep_from, stop - context))
            start, keep_from = stop - 2 * context, stop - context
        at = 0
    pieces.append(Piece(start, frames, at, keep_from, frames))
    return pieces, -(-(at + frames - start + gap) // step) * step
