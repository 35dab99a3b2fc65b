"""METRICS, and the extras that install their packages."""

import pathlib
import tomllib

import pytest
from packaging.requirements import Requirement

from hifigan_jax.evaluation.registry import METRICS
from hifigan_jax.evaluation.systems import is_model

PYPROJECT = pathlib.Path(__file__).parent.parent.parent / "pyproject.toml"
EXTRAS = {
    name: {Requirement(line).name.lower() for line in lines}
    for name, lines in tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"].items()
    if name.startswith("evaluate")
}


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_states_what_a_table_needs(name):
    metric = METRICS[name]
    assert metric.mode
    assert metric.source
    assert metric.cannot_separate
    for value in metric.values.values():
        assert value.label
        assert value.direction in ("higher", "lower")
        assert value.lowest is not None if value.direction == "lower" else value.highest is not None


def test_the_names_of_values_are_unique():
    values = [value for metric in METRICS.values() for value in metric.values]
    assert len(values) == len(set(values))
    assert {name for name in METRICS if name in values} == {name for name in METRICS if name in METRICS[name].values}


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.packages])
def test_the_extra_installs_the_package_that_defines_the_metric(name):
    assert METRICS[name].packages[0] in EXTRAS[METRICS[name].extra]


def test_the_plain_extra_has_no_torch_and_needs_no_compiler():
    assert EXTRAS["evaluate"].isdisjoint({"torch", "torchcrepe", "distillmos", "pesq", "visqol-python", "pysptk", "pyworld"})


def test_a_folder_of_audio_is_not_a_model(tmp_path):
    assert not is_model(tmp_path)
    assert is_model("universal_v1")
    assert is_model(tmp_path / "generator.pth")
    (tmp_path / "g_00001000").touch()
    assert is_model(tmp_path)
    for contents in ("checkpoints", "manifest.json"):
        (tmp_path / contents).mkdir()
        (tmp_path / contents / contents).mkdir()
        assert is_model(tmp_path / contents)
