import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hifigan_jax.windows import Piece, lay


@st.composite
def layouts(draw):
    """Utterances' frames, and how they are to be laid."""
    context, step = draw(st.integers(0, 40)), draw(st.integers(1, 15))
    size = 2 * context + step * draw(st.integers(1, 40))
    frames = draw(st.lists(st.integers(1, 5 * size if size > 2 * context + 30 else 300), min_size=1, max_size=20))
    return frames, {"size": size, "context": context, "gap": draw(st.integers(context, context + 5)), "step": step}


def laid(frames, options):
    """(utterance, piece) in their order."""
    at, found = 0, []
    for number, count in enumerate(frames):
        pieces, at = lay(count, at, **options)
        found += [(number, piece) for piece in pieces]
    return found


any_layout = settings(max_examples=150, deadline=None)
USUAL = {"size": 386, "context": 13, "gap": 13, "step": 15}


@given(layouts())
@example(([1, 5000, 386, 360, 387, 373], USUAL))
@any_layout
def test_every_frame_is_kept_exactly_once_in_order(layout):
    frames = layout[0]
    position = [0] * len(frames)
    for number, piece in laid(*layout):
        assert piece.keep_from == position[number] < piece.keep_to
        position[number] = piece.keep_to
    assert position == frames


@given(layouts())
@any_layout
def test_pieces_hold_what_they_keep_and_context_from_every_inner_edge(layout):
    frames, options = layout
    for number, piece in laid(*layout):
        assert piece.start <= piece.keep_from < piece.keep_to <= piece.stop <= frames[number]
        assert piece.start == 0 or piece.keep_from - piece.start >= options["context"]
        assert piece.stop == frames[number] or piece.stop - piece.keep_to >= options["context"]


@given(layouts())
@any_layout
def test_pieces_lie_apart_in_their_windows_and_in_step(layout):
    _, options = layout
    end = None
    for _, piece in laid(*layout):
        assert piece.at == 0 or piece.at >= end + options["gap"]
        assert piece.at % options["step"] == piece.start % options["step"] == 0
        end = piece.at + piece.stop - piece.start
        assert end <= options["size"]


@given(layouts())
@any_layout
def test_little_of_a_window_is_left(layout):
    _, options = layout
    found = [piece for _, piece in laid(*layout)]
    for piece, following in itertools.pairwise(found):
        left = options["size"] - (piece.at + piece.stop - piece.start)
        assert following.at > 0 or left <= 2 * options["context"] + options["gap"] + options["step"]


@pytest.mark.parametrize(
    ("frames", "at", "expected"),
    [
        (1, 0, ([Piece(0, 1, 0, 0, 1)], 4)),
        (10, 0, ([Piece(0, 10, 0, 0, 10)], 12)),
        (8, 4, ([Piece(0, 6, 4, 0, 4), Piece(2, 8, 0, 4, 8)], 8)),
        (6, 4, ([Piece(0, 6, 4, 0, 6)], 12)),
        (3, 8, ([Piece(0, 3, 0, 0, 3)], 6)),  # what would be kept in two frames is nothing
        (20, 0, ([Piece(0, 10, 0, 0, 8), Piece(6, 16, 0, 8, 14), Piece(12, 20, 0, 14, 20)], 10)),
    ],
)
def test_layouts_by_hand(frames, at, expected):
    assert lay(frames, at, size=10, context=2, gap=2, step=2) == expected
