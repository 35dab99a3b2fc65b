"""Loading a generator from checkpoints of this package, and configurations that contradict the weights'."""

import json

import jax
import numpy as np
import pytest

from hifigan_jax import checkpoint, loading, run_checkpoints
from hifigan_jax.convert import convert
from hifigan_jax.errors import CheckpointError
from hifigan_jax.loading import load_generator


@pytest.fixture
def run(tmp_path, tiny_leaves, tiny_config):
    """Checkpoints of steps 1 and 2; the weights of step 2 are doubled."""
    for step in (1, 2):
        leaves = {name: leaf * np.float32(step) for name, leaf in tiny_leaves.items()}
        parts = {"generator": leaves, "training": {"step": np.int32(step)}}
        run_checkpoints.save(tmp_path / "run", step, parts, tiny_config, {}, keep=2)
    return tmp_path / "run"


@pytest.fixture
def newest(run):
    return run / "checkpoints" / "00000002"


@pytest.fixture
def json_of(tiny_config, tmp_path):
    """json_of(key=value): the path of the tiny configuration with these keys changed."""

    def json_of(**changes):
        path = tmp_path / "given.json"
        path.write_text(json.dumps(tiny_config.flat() | changes))
        return path

    return json_of


def test_the_newest_step_of_a_run_is_loaded(run, newest, caplog):
    for source in (run, run / "checkpoints", newest):
        assert load_generator(source).source == str(newest)
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["config.json", "manifest.json", "generator/_METADATA"])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b""), lambda path: path.unlink()], ids=["emptied", "deleted"])
def test_a_damaged_step_is_skipped_for_the_one_before(name, damage, run, newest, caplog):
    damage(newest / name)
    assert load_generator(run).source == str(newest.with_name("00000001"))
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{newest}: ")
    assert message.endswith(": using step 1 instead (steps lost: 1)")
    with pytest.raises(CheckpointError, match="00000002"):  # asked for by name
        load_generator(newest)


def test_the_configuration_of_the_run_s_folder_is_not_used(run, newest):
    (run / "config.json").write_text("{")
    assert load_generator(run).source == str(newest)


def test_damage_outside_the_generator_does_not_matter_unless_it_is_asked_for(run, newest):
    next(path for path in (newest / "training").rglob("*") if path.is_file()).unlink()
    assert load_generator(run).source == str(newest)
    assert load_generator(run, intact=("training",)).source == str(newest.with_name("00000001"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_parameters_of_other_precision_are_loaded_as_float32(dtype, tiny_leaves, tiny_config, tmp_path):
    leaves = {name: leaf.astype(dtype) for name, leaf in tiny_leaves.items()}
    checkpoint.write(tmp_path / "step", {"generator": leaves}, tiny_config)
    expected = {name: np.asarray(leaf, np.float32) for name, leaf in leaves.items()}
    found = loading.traverse_util.flatten_dict(load_generator(tmp_path / "step").params, sep="/")
    assert {leaf.dtype.name for leaf in found.values()} == {"float32"}
    jax.tree.map(np.testing.assert_array_equal, found, expected)


# --- a configuration that contradicts the weights' ------------------------------------------------------------------------------

CONTRADICTIONS = [
    ({"sampling_rate": 24000}, "sampling_rate is 24000, expected 22050"),
    ({"fmax": 7600.0}, "fmax is 7600.0, expected 8000.0"),
    ({"upsample_initial_channel": 32, "fmin": 20.0}, "upsample_initial_channel is 32, expected 16, fmin is 20.0, expected 0.0"),
]


@pytest.fixture(params=["run", "step", "safetensors", "pretrained"])
def source(request, run, newest, tmp_path, monkeypatch, tiny_config):
    """Weights that come with their own configuration."""
    if request.param == "run":
        return run
    if request.param == "step":
        return newest
    convert(run, tmp_path / "g.safetensors")
    if request.param == "safetensors":
        return tmp_path / "g.safetensors"
    own = tmp_path / "own.json"
    own.write_text(tiny_config.to_json())
    monkeypatch.setattr(loading, "pretrained_file", lambda name: tmp_path / "g.safetensors")
    monkeypatch.setattr(loading, "packaged_config", lambda name: own)
    return "universal_v1"


@pytest.mark.parametrize(("changes", "difference"), CONTRADICTIONS)
def test_a_configuration_that_contradicts_the_weights_own_is_refused_by_key(changes, difference, source, json_of):
    given = json_of(**changes)
    with pytest.raises(CheckpointError) as caught:
        load_generator(source, given)
    assert str(caught.value) == f"{given}: contradicts the configuration of {source_name(source)}: {difference}: omit --config"


def source_name(source):
    return f"{source}/checkpoints/00000002" if str(source).endswith("run") else str(source)


def test_a_configuration_of_the_same_model_is_accepted(source, json_of):
    assert load_generator(source, json_of(batch_size=7)).config.optimization.batch_size == 7


def test_a_configuration_that_contradicts_the_one_beside_a_pytorch_file_wins_with_a_warning(
    run, json_of, tiny_config, tmp_path, caplog
):
    convert(run, tmp_path / "theirs" / "g.pth")
    beside, given = tmp_path / "theirs" / "config.json", json_of(sampling_rate=24000)
    assert load_generator(tmp_path / "theirs" / "g.pth", given).config.mel.sampling_rate == 24000
    assert caplog.text == ""
    beside.write_text("{}")
    load_generator(tmp_path / "theirs" / "g.pth", given)
    assert caplog.text == ""
    beside.write_text(tiny_config.to_json())
    load_generator(tmp_path / "theirs" / "g.pth", given)
    difference = "sampling_rate is 24000, expected 22050"
    expected = f"{given}: contradicts {beside} beside the weights, which is ignored: {difference}"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [expected]


def test_a_given_configuration_replaces_a_damaged_one(run, newest, json_of, caplog):
    (newest / "config.json").unlink()
    given = json_of()
    assert load_generator(newest, given).source == str(newest)
    assert caplog.records[-1].getMessage() == f"{newest}: config.json is missing: using {given} instead"
