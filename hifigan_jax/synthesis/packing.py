"""How utterances of any lengths are packed into windows of one size so that each gives exactly what it gives alone.

A generator's output depends on `context` frames on each side. Utterances follow each other in a window, with a gap between them
where the generator pads as it would for each alone (models/edges.py). What reaches beyond a window's end continues in the next,
`2 context` frames earlier, and what lies within `context` frames of such an inner edge is discarded. Spans start, in their
utterance and in their window, at multiples of `step` frames.
"""

from typing import NamedTuple


class Span(NamedTuple):
    """Frames [start, stop) of an utterance, from frame `offset` of a window on, of which [valid_start, valid_stop) are kept.

    A span at offset 0 begins a new window; every other follows the span before it.
    """

    start: int
    stop: int
    offset: int
    valid_start: int
    valid_stop: int


def pack(frames: int, offset: int, size: int, context: int, gap: int, step: int) -> tuple[list[Span], int]:
    """Packs `frames` frames into the window that is free from `offset` on and into new ones; also returns what is free then.

    `offset` and size - 2 context must be multiples of `step`, the latter positive. A window that is full, or nearly, is left.
    """
    spans, start, valid_start = [], 0, 0
    while frames - start > size - offset:
        stop = start + size - offset
        if stop - start > 2 * context:  # the next one gets further
            spans.append(Span(start, stop, offset, valid_start, stop - context))
            start, valid_start = stop - 2 * context, stop - context
        offset = 0
    spans.append(Span(start, frames, offset, valid_start, frames))
    return spans, -(-(offset + frames - start + gap) // step) * step
