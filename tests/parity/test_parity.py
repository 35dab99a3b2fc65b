"""Comparison with the reference: with its stored arrays, and with the reference itself if torch is installed."""

import ctypes
import sys

import cases
import numpy as np
import pytest

SMOKE = ("generator_v3", "mel_to_8_khz_float32", "discriminators_float64")
PARAMS = [pytest.param(name, marks=[pytest.mark.smoke] if name in SMOKE else []) for name in cases.CASES]

@pytest.fixture(scope="module", params=PARAMS)  # both tests of a case share its arrays, which are then freed
def case(request):
    case = cases.CASES[request.param]
    ours = {key: np.asarray(array) for key, array in case.ours().items()}
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # returns gigabytes of freed buffers before the reference allocates its own
    return request.param, case, ours


def test_results_equal_the_stored_arrays_of_the_reference(case):
    name, case, ours = case
    with np.load(cases.GOLDEN / f"{name}.npz") as kept:
        excerpts = cases.excerpts(ours)
        assert kept.keys() == excerpts.keys()
        for key, theirs in kept.items():
            case.check(key, excerpts[key], theirs)


@pytest.mark.parity
def test_results_equal_the_reference(case):
    pytest.importorskip("torch")
    _, case, ours = case
    theirs = case.reference()
    assert theirs.keys() == ours.keys()
    for key, array in theirs.items():
        assert ours[key].shape == array.shape
        case.check(key, ours[key], array)
