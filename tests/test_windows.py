import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hifigan_jax.windows import Window, plan_windows


@st.composite
def plans(draw):
    context = draw(st.integers(0, 40))
    sizes = draw(st.lists(st.integers(2 * context + 1, 2 * context + 600), min_size=1, max_size=3))
    return draw(st.integers(1, 5000 if min(sizes) > 2 * context + 30 else 300)), context, tuple(sizes)


def cost(windows):
    return sum(window.size for window in windows)


def cover_by_one_size(frames, context, size):
    """Frames computed where every window has this size: one, masked, or as many as cover with overlaps of 2 context."""
    return size if size >= frames else -(-(frames - 2 * context) // (size - 2 * context)) * size


any_plan = settings(max_examples=150, deadline=None)


@given(plans())
@example((5000, 13, (128, 512)))
@example((100, 13, (128, 512, 128)))
@any_plan
def test_every_frame_is_kept_exactly_once(plan):
    position = 0
    for window in plan_windows(*plan):
        assert window.keep_from == position < window.keep_to
        position = window.keep_to
    assert position == plan[0]


@given(plans())
@any_plan
def test_windows_stay_inside_the_utterance_and_keep_what_they_hold(plan):
    frames, _, sizes = plan
    for window in plan_windows(*plan):
        assert window.size in sizes
        assert window.start >= 0
        assert window.start + window.length <= frames
        assert window.start <= window.keep_from < window.keep_to <= window.start + window.length


@given(plans())
@any_plan
def test_only_the_last_window_is_longer_than_what_it_holds(plan):
    *others, last = plan_windows(*plan)
    assert all(window.length == window.size for window in others)
    assert last.start + last.length == plan[0]


@given(plans())
@any_plan
def test_windows_start_after_sums_of_what_the_sizes_keep(plan):
    context, start = plan[1], 0
    for window in plan_windows(*plan):
        assert window.start == start
        start += window.size - 2 * context


@given(plans())
@any_plan
def test_context_is_kept_from_every_inner_edge(plan):
    frames, context, _ = plan
    for window in plan_windows(*plan):
        assert window.start == 0 or window.keep_from - window.start >= context
        assert window.start + window.length == frames or window.start + window.size - window.keep_to >= context


@given(plans())
@any_plan
def test_no_single_size_would_be_cheaper(plan):
    frames, context, sizes = plan
    assert cost(plan_windows(*plan)) <= min(cover_by_one_size(frames, context, size) for size in sizes)


@given(plans())
@any_plan
def test_the_order_of_the_sizes_does_not_matter(plan):
    frames, context, sizes = plan
    assert plan_windows(frames, context, sizes[::-1]) == plan_windows(frames, context, sizes)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (1, [Window(0, 10, 1, 0, 1)]),
        (10, [Window(0, 10, 10, 0, 10)]),
        (11, [Window(0, 10, 10, 0, 8), Window(6, 10, 5, 8, 11)]),
        (16, [Window(0, 10, 10, 0, 8), Window(6, 10, 10, 8, 16)]),
        (18, [Window(0, 30, 18, 0, 18)]),
        (30, [Window(0, 30, 30, 0, 30)]),
        (36, [Window(0, 30, 30, 0, 28), Window(26, 10, 10, 28, 36)]),
        (56, [Window(0, 30, 30, 0, 28), Window(26, 30, 30, 28, 56)]),
    ],
)
def test_plans_by_hand(frames, expected):
    assert plan_windows(frames, 2, (10, 30)) == expected


def test_planning_hours_of_audio_takes_little_memory():
    tracemalloc.start()
    windows = plan_windows(1_000_000, 13, (128, 512))  # three hours
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert windows[-1].keep_to == 1_000_000
    assert most < 20e6
