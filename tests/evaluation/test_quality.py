"""docs/results/quality.json against the figures of the reference's own code in torch and of the packages' own implementations.

The same 18 clips (12 of LJSpeech, 6 of Kathleen) were resynthesized by the reference. Where this package computes in numpy, they
were measured with auraloss, pysptk and pyworld. The log-spectral figure is the mean absolute difference over bins and frames.
"""

import json
import pathlib

import numpy as np
import pytest

from hifigan_jax.evaluation import Results
from hifigan_jax.evaluation.statistics import summarize

STORED = pathlib.Path(__file__).parent.parent.parent / "docs" / "results" / "quality.json"
VALUES = [
    *("pesq", "stoi", "estoi", "visqol", "mr_stft", "mel_l1", "mel_l1_full", "lsd_l1", "mcd", "periodicity", "vuv_f1"),
    *("distillmos", "dnsmos", "p808", "plcmos"),
]
EXPECTED = {
    "ground_truth": [None] * 11 + [4.391, 3.271, 3.950, 4.653],
    "universal_v1": [3.006, 0.969, 0.940, 4.252, 1.050, 0.259, 0.279, 6.735, 2.711, 0.120, 0.940, 4.320, 3.277, 3.998, 4.579],
    "ljspeech_v1": [3.354, 0.978, 0.955, 4.333, 0.990, 0.208, 0.231, 6.479, 2.454, 0.103, 0.952, 4.308, 3.225, 3.972, 4.618],
    "v2_ljspeech": [2.792, 0.954, 0.912, 4.164, 1.108, 0.324, 0.342, 7.019, 3.090, 0.123, 0.942, 4.166, 3.202, 3.934, 4.556],
    "griffin_lim": [3.021, 0.975, 0.950, 4.434, 1.807, 0.111, 0.482, 13.289, 2.966, 0.138, 0.953, 3.323, 2.847, 3.337, 4.492],
}


@pytest.fixture(scope="module")
def stored():
    return Results.load(STORED)


@pytest.mark.parametrize("system", EXPECTED)
def test_means_equal_those_of_the_reference(stored, system):
    relative = 0.03 if system == "griffin_lim" else 0.01  # its first phases are random
    for value, expected in zip(VALUES, EXPECTED[system], strict=True):
        if expected is not None:
            assert stored.mean(value, system) == pytest.approx(expected, abs=max(relative * expected, 0.01)), value


def test_the_stored_statistics_are_those_of_the_stored_values(stored):
    for value, by_system in stored.data["values"].items():
        for system, by_key in by_system.items():
            numbers = np.array([np.nan if number is None else number for number in by_key.values()])
            limits = (stored.data["metrics"][value][name] for name in ("lowest", "highest"))
            assert summarize(numbers, *limits)._asdict() == pytest.approx(
                stored.data["systems"][system]["summary"][value], abs=1e-12
            )


def test_16_bit_copies_of_16_bit_recordings_have_the_same_values(stored):
    for by_system in stored.data["values"].values():
        assert by_system["pcm16"] == by_system["ground_truth"]


def test_nothing_is_missing(stored):
    assert stored.problems == []
    assert stored.data["disabled"] == {}
    assert {content["count"] for content in stored.data["systems"].values()} == {18}
    assert stored.data["commit"]
    assert json.loads(STORED.read_text()) == stored.data
