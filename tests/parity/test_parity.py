"""Ours against the reference: against its arrays as they were kept, and against the reference itself where torch is installed."""

import functools

import cases
import numpy as np
import pytest


@functools.cache
def ours(name):
    return {key: np.asarray(array) for key, array in cases.CASES[name].ours().items()}


@pytest.mark.parametrize("name", cases.CASES)
def test_ours_equals_the_kept_arrays_of_the_reference(name):
    with np.load(cases.GOLDEN / f"{name}.npz") as kept:
        excerpts = cases.excerpts(ours(name))
        assert kept.keys() == excerpts.keys()
        for key, theirs in kept.items():
            cases.CASES[name].check(key, excerpts[key], theirs)


@pytest.mark.parity
@pytest.mark.parametrize("name", cases.CASES)
def test_ours_equals_the_reference(name):
    pytest.importorskip("torch")
    theirs = cases.CASES[name].reference()
    assert theirs.keys() == ours(name).keys()
    for key, array in theirs.items():
        assert ours(name)[key].shape == array.shape
        cases.CASES[name].check(key, ours(name)[key], array)
