"""How an utterance of any length is cut into windows of a few fixed sizes that give exactly what the whole utterance gives.

A generator's output depends on `context` frames on either side. So neighbouring windows overlap, and what lies within `context`
frames of an inner edge is thrown away; the first window touches the utterance's true edge, where the generator pads with zeros as
it would for the whole. A window that reaches beyond the end is masked there instead (the generator's `lengths`). Every window
starts a sum of `size - 2 context` frames from the first.
"""

import itertools
from typing import NamedTuple


class Window(NamedTuple):
    """Frames [start, start + size) of an utterance, of which `length` exist and [keep_from, keep_to) are kept."""

    start: int
    size: int
    length: int
    keep_from: int
    keep_to: int


def plan_windows(frames: int, context: int, sizes: tuple[int, ...]) -> list[Window]:
    """The cheapest cover of `frames` frames by windows of these sizes, in frames computed; sizes must exceed 2 context."""
    masked = (((1,), (size,)) for size in sizes if size >= frames)
    usable = sorted((size for size in sizes if size <= frames), reverse=True)
    covers = ((counts, usable) for counts in _covers(frames, context, usable))

    def cost(cover):  # frames computed, then windows
        return sum(n * size for n, size in zip(*cover, strict=True)), sum(cover[0])

    counts, chosen = min(itertools.chain(masked, covers), key=cost)
    windows, position = [], 0
    for size in itertools.chain(*([size] * n for n, size in zip(counts, chosen, strict=True))):
        start = max(position - context, 0)
        end = frames if start + size >= frames else start + size - context
        windows.append(Window(start, size, min(size, frames - start), position, end))
        position = end
    return windows


def _covers(frames: int, context: int, sizes: list[int]):
    """How many windows of each size, largest first, with just enough of the last to cover the frames."""
    if not sizes:
        return
    missing = frames - 2 * context
    *larger, smallest = sizes
    most = [-(-missing // (size - 2 * context)) for size in larger]
    for counts in itertools.product(*(range(n + 1) for n in most)):
        left = missing - sum(n * (size - 2 * context) for n, size in zip(counts, larger, strict=True))
        yield (*counts, max(-(-left // (smallest - 2 * context)), 0))
