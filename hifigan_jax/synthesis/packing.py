"""Packing utterances of any length into fixed-size windows, so that each one's audio equals its audio when synthesized alone.

The audio of a frame depends on `context` frames on each side. Utterances in a window are separated by gaps, in which each is
padded as if it were alone (models/edges.py). An utterance that does not fit into a window continues in the next one, starting
`2 context` frames earlier; the audio within `context` frames of the cut is discarded. Spans start at multiples of `step` frames,
counted both in their utterance and in their window.
"""

from typing import NamedTuple


class Span(NamedTuple):
    """Frames [start, stop) of an utterance at frame `offset` of a window. The audio of [valid_start, valid_stop) is kept.

    A span at offset 0 starts a new window; any other belongs to the same window as the span before it.
    """

    start: int
    stop: int
    offset: int
    valid_start: int
    valid_stop: int


def pack(frames: int, offset: int, size: int, context: int, gap: int, step: int) -> tuple[list[Span], int]:
    """Packs an utterance of `frames` frames into the current window, free from `offset` on, and into new windows after it.

    Returns the spans and the first free frame of the last window. `offset` and size - 2 context must be multiples of `step`, the
    latter positive. The current window is skipped if too little of it is free.
    """
    spans, start, valid_start = [], 0, 0
    while frames - start > size - offset:
        stop = start + size - offset
        if stop - start > 2 * context:  # else the next span would start no later than this one
            spans.append(Span(start, stop, offset, valid_start, stop - context))
            start, valid_start = stop - 2 * context, stop - context
        offset = 0
    spans.append(Span(start, frames, offset, valid_start, frames))
    return spans, -(-(offset + frames - start + gap) // step) * step
