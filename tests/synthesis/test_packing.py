import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hifigan_jax.synthesis.packing import Span, pack


@st.composite
def layouts(draw):
    """Utterances' frames, and how they are to be packed."""
    context, step = draw(st.integers(0, 40)), draw(st.integers(1, 15))
    size = 2 * context + step * draw(st.integers(1, 40))
    frames = draw(st.lists(st.integers(1, 5 * size if size > 2 * context + 30 else 300), min_size=1, max_size=20))
    return frames, {"size": size, "context": context, "gap": draw(st.integers(context, context + 5)), "step": step}


def packed(frames, options):
    """(utterance, span) in their order."""
    offset, found = 0, []
    for number, count in enumerate(frames):
        spans, offset = pack(count, offset, **options)
        found += [(number, span) for span in spans]
    return found


any_layout = settings(max_examples=150, deadline=None)
USUAL = {"size": 386, "context": 13, "gap": 13, "step": 15}


@given(layouts())
@example(([1, 5000, 386, 360, 387, 373], USUAL))
@any_layout
def test_every_frame_is_kept_exactly_once_in_order(layout):
    frames = layout[0]
    position = [0] * len(frames)
    for number, span in packed(*layout):
        assert span.valid_start == position[number] < span.valid_stop
        position[number] = span.valid_stop
    assert position == frames


@given(layouts())
@any_layout
def test_spans_include_their_valid_frames_and_context_at_every_cut(layout):
    frames, options = layout
    for number, span in packed(*layout):
        assert span.start <= span.valid_start < span.valid_stop <= span.stop <= frames[number]
        assert span.start == 0 or span.valid_start - span.start >= options["context"]
        assert span.stop == frames[number] or span.stop - span.valid_stop >= options["context"]


@given(layouts())
@any_layout
def test_spans_are_separated_by_gaps_and_aligned(layout):
    _, options = layout
    end = None
    for _, span in packed(*layout):
        assert span.offset == 0 or span.offset >= end + options["gap"]
        assert span.offset % options["step"] == span.start % options["step"] == 0
        end = span.offset + span.stop - span.start
        assert end <= options["size"]


@given(layouts())
@any_layout
def test_little_of_a_window_is_wasted(layout):
    _, options = layout
    found = [span for _, span in packed(*layout)]
    for span, following in itertools.pairwise(found):
        left = options["size"] - (span.offset + span.stop - span.start)
        assert following.offset > 0 or left <= 2 * options["context"] + options["gap"] + options["step"]


@pytest.mark.parametrize(
    ("frames", "offset", "expected"),
    [
        (1, 0, ([Span(0, 1, 0, 0, 1)], 4)),
        (10, 0, ([Span(0, 10, 0, 0, 10)], 12)),
        (8, 4, ([Span(0, 6, 4, 0, 4), Span(2, 8, 0, 4, 8)], 8)),
        (6, 4, ([Span(0, 6, 4, 0, 6)], 12)),
        (3, 8, ([Span(0, 3, 0, 0, 3)], 6)),  # what would be kept in two frames is nothing
        (20, 0, ([Span(0, 10, 0, 0, 8), Span(6, 16, 0, 8, 14), Span(12, 20, 0, 14, 20)], 10)),
    ],
)
def test_layouts_by_hand(frames, offset, expected):
    assert pack(frames, offset, size=10, context=2, gap=2, step=2) == expected
