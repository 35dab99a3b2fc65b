"""Fault points fail at the requested visits, and only then."""

import errno
import pathlib
import re

import jax
import numpy as np
import pytest

from hifigan_jax import faults
from hifigan_jax.errors import UsageError
from hifigan_jax.losses import TERMS


@pytest.fixture
def fault(monkeypatch):
    faults._visits.clear()
    yield lambda value: monkeypatch.setenv(faults.VARIABLE, value)
    faults._visits.clear()


@pytest.mark.parametrize("value", ["a", "batch:-1", "batch:" + "9" * 5000, "a b:1"])
def test_a_malformed_variable_is_refused_at_the_start(fault, value):
    fault(value)
    with pytest.raises(UsageError, match="HIFIGAN_JAX_FAULT=.*: expected NAME:FIRST"):
        faults.check()


def test_a_point_that_does_not_exist_is_refused_at_the_start(fault):
    fault("batch:1,loss.mle:3")
    with pytest.raises(UsageError, match="there is no fault point 'loss.mle'; did you mean 'loss.mel'?"):
        faults.check()


def test_the_points_are_those_of_the_package():
    sources = "".join(path.read_text(encoding="utf-8") for path in pathlib.Path(faults.__file__).parent.rglob("*.py"))
    found = re.findall(r'(?:faults\.(?:kill|fires|no_\w+)|poison)\("([\w.]+)"', sources)
    assert {*found, *(f"loss.{name}" for name in TERMS)} == {*faults.POINTS}
    assert all(point in faults.__doc__ for point in faults.POINTS)


@pytest.mark.parametrize(
    ("value", "failing"),
    [("a:2", [2]), ("a:2-3", [2, 3]), ("a:4-", [4, 5]), ("b:1", []), ("b:1,a:1", [1]), ("", [])],
)
def test_the_requested_visits_fail(fault, value, failing):
    fault(value)
    assert [visit for visit in range(1, 6) if faults.fires("a")] == failing


def test_a_full_disk_is_an_oserror_of_that_kind(fault):
    fault("a:1")
    with pytest.raises(OSError) as caught:  # noqa: PT011 (the number is checked)
        faults.no_space("a")
    assert caught.value.errno == errno.ENOSPC


def test_a_malformed_variable_is_refused(fault):
    fault("a")
    with pytest.raises(UsageError, match="HIFIGAN_JAX_FAULT"):
        faults.fires("a")


def test_a_value_is_poisoned_at_the_requested_steps(fault):
    fault("a:2-3")
    tree = {"real": np.ones(3, np.float32), "count": np.int32(1)}
    poisoned = [jax.jit(lambda step: faults.poison("a", tree, step))(step) for step in range(4)]
    assert [bool(np.isnan(one["real"]).all()) for one in poisoned] == [False, True, True, False]
    assert [int(one["count"]) for one in poisoned] == [1] * 4


def test_without_a_fault_the_program_is_unchanged():
    def program(function):
        return str(jax.make_jaxpr(function)(np.float32(1), 0))

    assert program(lambda x, step: faults.poison("a", x, step) * 2) == program(lambda x, step: x * 2)
