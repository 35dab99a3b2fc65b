import itertools

import pytest

from hifigan_jax.training import logging
from hifigan_jax.training.logging import Timer


@pytest.fixture
def clock(monkeypatch):
    """A clock in seconds, set by hand."""
    now = [0.0]
    monkeypatch.setattr(logging.time, "perf_counter", lambda: now[0])
    return now


def reported(clock, seconds, interval):
    """Seconds per batch as the loop reports them: at each `interval` while the next batch runs, and at the last batch."""
    timer, found = Timer(), []
    for batch, clock[0] in enumerate(itertools.accumulate(seconds), start=1):
        timer.count()
        if batch > 1 and (batch - 1) % interval == 0:
            found.append(timer.seconds_per_batch())
    return [*found, timer.seconds_per_batch()]


@pytest.mark.parametrize(("interval", "expected"), [(1, [2, 3, 4, 5, 6, 6]), (2, [2.5, 4.5, 6]), (5, [4, 4])])
def test_the_last_report_repeats_the_time_if_no_batch_has_been_counted_since_the_one_before(clock, interval, expected):
    assert reported(clock, [100, 2, 3, 4, 5, 6], interval) == expected


def test_the_first_batch_which_waits_for_the_compiler_counts_only_alone(clock):
    assert reported(clock, [100], 1) == [100]
    assert reported(clock, [100, 2], 1) == [2, 2]


def test_time_before_a_restart_is_not_counted(clock):
    timer = Timer()
    timer.count()
    clock[0] = 50
    timer.restart()
    clock[0] = 53
    timer.count()
    assert timer.seconds_per_batch() == 3
