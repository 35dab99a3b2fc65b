"""Figures contain the numbers of the results and the mels of the files."""

import numpy as np
import pytest

from hifigan_jax.errors import UsageError
from hifigan_jax.evaluation import Results, evaluate
from hifigan_jax.evaluation.figures import clip, means
from hifigan_jax.evaluation.spectra import log_mel, mel_settings


@pytest.fixture(autouse=True)
def matplotlib():
    pytest.importorskip("matplotlib")


def system(mean, low, high, median):
    return {"summary": {"pesq": {"mean": mean, "low": low, "high": high, "median": median, "count": 2}}}


@pytest.fixture
def results():
    return Results(
        {
            "metrics": {"pesq": {"label": "PESQ", "direction": "higher", "statistic": "mean"}},
            "systems": {"a": system(3.0, 2.5, 3.25, 2.75), "b": system(4.0, None, None, 4.5), "c": {"summary": {}}},
            "values": {"pesq": {"a": {"x": 2.0, "y": 4.0}, "b": {"x": 4.0, "y": None}, "c": {}}},
        }
    )


def test_bars_are_means_and_their_whiskers_the_intervals(results):
    (axes,) = means(results, "pesq").axes
    assert [bar.get_height() for bar in axes.patches] == [3.0, 4.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]  # c has no value
    first, second = (container for container in axes.containers if hasattr(container, "patches"))
    (whisker,) = first.errorbar.lines[2]
    assert whisker.get_segments()[0].tolist() == [[0, 2.5], [0, 3.25]]
    assert second.errorbar is None
    dots = [line.get_ydata() for line in axes.lines if line.get_marker() == "."]
    assert [list(values) for values in dots] == [[2.0, 4.0], [4.0]]
    assert (axes.get_ylabel(), axes.get_title()) == ("PESQ", "mean, higher is better")


def test_a_system_may_be_called_reference(write, speech, tmp_path):
    write("recordings", "a.wav", speech)
    write("reference", "a.wav", speech[:-100])
    sources = {"reference": tmp_path / "reference"}
    results = evaluate(tmp_path / "recordings", sources, ["mr_stft"], anchors=False, cache=tmp_path / "cache")
    assert len(clip(results, "a").axes) == 2 * 3


def test_medians_have_no_interval(results):
    results.data["metrics"]["pesq"]["statistic"] = "median"
    (axes,) = means(results, "pesq").axes
    assert [bar.get_height() for bar in axes.patches] == [2.75, 4.5]
    assert all(container.errorbar is None for container in axes.containers)


@pytest.fixture
def evaluated(write, speech, noise, tmp_path):
    """An evaluation of one file by two systems, the second 100 samples shorter, without anchors."""
    write("reference", "a.wav", speech)
    write("noisy", "a.wav", speech + noise(speech, 0.01))
    write("short", "a.wav", speech[:-100])
    sources = {name: tmp_path / name for name in ("noisy", "short")}
    return evaluate(tmp_path / "reference", sources, ["mr_stft"], anchors=False, cache=tmp_path / "cache")


def test_a_clip_has_the_waveform_and_the_mels_of_each_system(evaluated, speech):
    figure = clip(evaluated, "a")
    rows = np.array(figure.axes).reshape(3, 3)
    assert [row[0].get_ylabel() for row in rows] == ["reference", "noisy", "short"]
    np.testing.assert_array_equal(rows[0, 0].lines[0].get_ydata(), speech)
    target = log_mel(speech, mel_settings(22050))
    images = [[axes.images[0].get_array() for axes in row[1:]] for row in rows]
    np.testing.assert_array_equal(images[0][0], target.T)
    assert not images[0][1].any()
    np.testing.assert_allclose(images[1][1], images[1][0] - target.T)
    assert images[1][1].mean() > 0.1  # noise fills the pauses
    assert images[2][1].shape == images[2][0].shape  # one frame fewer than the reference
    seconds = rows[0, 1].images[0].get_extent()[1]
    assert seconds == pytest.approx(len(target) * 256 / 22050)


def test_a_clip_of_chosen_systems_and_unknown_names(evaluated, results):
    assert len(clip(evaluated, "a", ["short"]).axes) == 6
    for call, message in [
        (lambda: clip(evaluated, "b"), "b: no such file"),
        (lambda: clip(evaluated, "a", ["noise"]), "did you mean 'noisy'"),
        (lambda: means(results, "pesk"), "pesk: no such value in the results; did you mean 'pesq'"),
    ]:
        with pytest.raises(UsageError, match=message):
            call()
