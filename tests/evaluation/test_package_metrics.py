"""Metrics that wrap a package; each test is skipped where the package is not installed."""

import importlib.util
import math
import sys

import numpy as np
import pytest

from hifigan_jax.errors import DataError
from hifigan_jax.evaluation.metrics import pitch
from hifigan_jax.evaluation.registry import METRICS

SLOW = ["distillmos", "dnsmos", "pitch", "plcmos"]
PACKAGED = [name for name, metric in METRICS.items() if metric.modules]
pytestmark = pytest.mark.filterwarnings("ignore")  # of the packages


@pytest.fixture
def measure(speech_16k):
    """measure(name, reference, synthesized): the values of an installed metric at 16 kHz."""

    def measure(name, reference, synthesized):
        if missing := METRICS[name].missing:
            pytest.skip(f"{', '.join(missing)} not installed")
        return METRICS[name].measure(reference, synthesized, 16000)

    return measure


def each(names):
    """Parametrizes a test by the names of metrics; those whose networks take seconds are slow."""
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]
    )


@pytest.mark.smoke
@pytest.mark.parametrize("name", [name for name in PACKAGED if METRICS[name].extra == "evaluate"])
def test_the_extra_evaluate_has_all_that_its_metrics_need(name, measure, speech_16k):
    values = measure(name, speech_16k, speech_16k)
    assert all(METRICS[name].values[value].lowest < number for value, number in values.items())


@pytest.mark.parametrize(("name", "best"), [("pesq", 4.64), ("stoi", 1.0)])
def test_identical_audio_has_the_best_score(name, best, measure, speech_16k):
    for value in measure(name, speech_16k, speech_16k).values():
        assert value == pytest.approx(best, abs=0.01)


@each(["pesq", "stoi", "visqol"])
def test_noise_lowers_the_score(name, measure, speech_16k, noise):
    draw = noise(speech_16k, 1.0)
    scores = [measure(name, speech_16k, speech_16k + np.float32(rms) * draw) for rms in (0.001, 0.01, 0.1)]
    for value in scores[0]:
        assert scores[0][value] > scores[1][value] > scores[2][value]


@each(["distillmos", "dnsmos"])
def test_noise_lowers_the_predicted_mos(name, measure, speech_16k, noise):
    clean, noisy = (measure(name, speech_16k, x) for x in (speech_16k, speech_16k + noise(speech_16k, 0.05)))
    for value in clean:
        assert 1 < noisy[value] < clean[value] < 5


@each(["pesq", "stoi"])
def test_half_the_level_changes_nothing(name, measure, speech_16k):
    expected = measure(name, speech_16k, speech_16k)
    assert measure(name, speech_16k, speech_16k / 2) == pytest.approx(expected, abs=0.01)


def test_pesq_of_silence_is_an_error_of_one_line(measure):
    with pytest.raises(DataError, match="PESQ: No utterances detected"):
        measure("pesq", *np.zeros((2, 8000), np.float32))


def test_stoi_of_very_short_speech_is_an_error_of_one_line(measure, speech_16k):
    with pytest.raises(DataError, match="STOI: fewer than 30 frames"):
        measure("stoi", speech_16k[-4000:], speech_16k[-4000:])


@each(["plcmos", "pitch"])
def test_random_packages_are_seeded(name, measure, speech_16k):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert measure(name, speech_16k, speech_16k) == measure(name, speech_16k, speech_16k)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@each([name for name in PACKAGED if not METRICS[name].uses_reference])
def test_a_predicted_mos_does_not_depend_on_the_reference(name, measure, speech_16k):
    assert measure(name, speech_16k, speech_16k) == measure(name, speech_16k[::-1].copy(), speech_16k)


@each(PACKAGED)
def test_values_are_those_of_the_metric(name, measure, speech_16k):
    assert measure(name, speech_16k, speech_16k).keys() == METRICS[name].values.keys()


@pytest.mark.slow
def test_crepe_finds_the_frequency_of_a_harmonic_tone(measure, noise):
    time = np.arange(16000) / 16000
    tone = sum(np.sin(2 * np.pi * 180 * k * time) / k for k in range(1, 10)).astype(np.float32) * np.float32(0.1)
    tone += noise(tone, 0.001)  # its loudness is the mean over bins in dB: a pure tone counts as silent
    measure("pitch", tone, tone)  # skips where it is not installed
    found = pitch.track(tone, 16000)
    assert found.voiced[5:-5].all()
    assert 1200 * abs(np.log2(np.median(found.frequency) / 180)) < 20


def contour(frequency, periodicity):
    return pitch.Pitch(np.array(frequency, np.float32), np.array(periodicity, np.float32))


def test_pitch_distances_by_hand():
    reference = contour([100, 100, 100, 100], [0.9, 0.9, 0.9, 0.1])
    synthesized = contour([200, 100, 100, 100], [0.9, 0.9, 0.1, 0.1])
    values = pitch.compare(reference, synthesized)
    # Two frames are voiced in both, one an octave apart. Of five voiced decisions, four agree.
    assert values["f0_rmse"] == pytest.approx(1200 / math.sqrt(2))
    assert values["vuv_f1"] == pytest.approx(4 / 5)
    assert values["periodicity"] == pytest.approx(math.sqrt(0.64 / 4))


def test_pitch_distances_of_unvoiced_audio_are_undefined():
    unvoiced = contour([100, 100], [0.1, 0.1])
    values = pitch.compare(unvoiced, unvoiced)
    assert math.isnan(values["f0_rmse"])
    assert math.isnan(values["vuv_f1"])
    assert values["periodicity"] == 0


def test_an_unusable_torchaudio_is_replaced(monkeypatch):
    from hifigan_jax.evaluation.torchaudio import import_torchaudio

    monkeypatch.setitem(sys.modules, "torchaudio", None)  # importing it raises ImportError
    import_torchaudio()
    assert sys.modules["torchaudio"].__name__ == "torchaudio"
    assert importlib.util.find_spec("torchaudio").loader is None
