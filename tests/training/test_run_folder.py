"""What opening the folder of a run does to files that are there already."""

import json

import numpy as np
import pytest

from hifigan_jax import run_checkpoints
from hifigan_jax.config import INPUT_PATHS, load_config
from hifigan_jax.errors import CheckpointError, DiskError
from hifigan_jax.training.run_folder import open_run_folder


def same(path, config):
    """Whether the file contains the configuration."""
    return load_config(path).replace({key: value for key, value in config.data if key in INPUT_PATHS}) == config


@pytest.fixture
def folder(tiny_config, tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def theirs(tiny_config, folder):
    """theirs(**changes): the bytes of a config.json of another program in the folder, with these keys changed."""

    def theirs(**changes):
        (folder / "config.json").write_text(json.dumps(tiny_config.flat() | {"note": "ours since March"} | changes))
        return (folder / "config.json").read_bytes()

    return theirs


def test_a_new_folder_has_the_configuration(tiny_config, tmp_path):
    assert open_run_folder(tiny_config) == tmp_path / "run"
    assert same(tmp_path / "run" / "config.json", tiny_config)


def test_a_configuration_of_another_program_is_kept_under_another_name(tiny_config, folder, theirs):
    first, second = theirs(), None
    open_run_folder(tiny_config)
    open_run_folder(tiny_config.replace({"batch_size": 4}))
    assert (folder / "config_original.json").read_bytes() == first
    assert load_config(folder / "config.json").optimization.batch_size == 4
    second = theirs(batch_size=3)
    open_run_folder(tiny_config)
    assert (folder / "config_original.json").read_bytes() == first
    assert (folder / "config_original_2.json").read_bytes() == second
    assert len([*folder.iterdir()]) == 3


def test_a_configuration_of_another_model_is_refused_and_stays(tiny_config, folder, theirs):
    before = theirs(sampling_rate=24000)
    with pytest.raises(CheckpointError) as caught:
        open_run_folder(tiny_config)
    difference = "sampling_rate is 24000, expected 22050"
    assert str(caught.value) == f"{folder}/config.json: of another model: {difference}: choose another --checkpoint_path"
    assert [path.read_bytes() for path in folder.iterdir()] == [before]


@pytest.mark.parametrize("content", ["{", '{"model_type": "bert", "hidden_size": 768}', "[]"])
def test_a_file_that_is_no_configuration_is_refused_and_stays(content, tiny_config, folder):
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config.json: .*: a file of another program: choose another --checkpoint_path$"):
        open_run_folder(tiny_config)
    assert [path.read_text() for path in folder.iterdir()] == [content]


def test_discriminators_count_only_in_a_run_of_the_reference(tiny_config, folder, theirs):
    before = theirs(mpd_periods=[2, 5])
    open_run_folder(tiny_config)
    assert (folder / "config_original.json").read_bytes() == before
    theirs(mpd_periods=[2, 5])
    for name in ("g_00000004", "do_00000004"):
        (folder / name).touch()
    with pytest.raises(CheckpointError, match=r"mpd_periods is \(2, 5\), expected \(2, 3\)"):
        open_run_folder(tiny_config)


def test_the_configuration_of_a_run_of_the_reference_is_kept_once(tiny_config, folder):
    for name in ("g_00000004", "do_00000004"):
        (folder / name).touch()
    (folder / "config.json").write_text(tiny_config.replace({"batch_size": 6}).to_json())
    for _ in range(2):
        open_run_folder(tiny_config)
    assert load_config(folder / "config_reference.json").optimization.batch_size == 6
    assert len([*folder.glob("*.json")]) == 2


def test_an_emptied_configuration_is_written_again(tiny_config, folder):
    (folder / "config.json").touch()
    open_run_folder(tiny_config)
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert same(folder / "config.json", tiny_config)


def test_a_folder_in_place_of_the_configuration_is_an_error_of_one_line(tiny_config, folder):
    (folder / "config.json").mkdir()
    with pytest.raises(DiskError, match="config.json: cannot be written"):
        open_run_folder(tiny_config)


# --- folders with checkpoints ---------------------------------------------------------------------------------------------------


@pytest.fixture
def steps(tiny_config, folder):
    for step in (1, 2):
        parts = {part: {"bias": np.ones(3, np.float32)} for part in ("generator", "training")}
        run_checkpoints.save(folder, step, parts, tiny_config, {}, keep=2)
    return run_checkpoints.steps(folder)


def test_damaged_configurations_do_not_block_a_run(steps, tiny_config, folder):
    (steps[0] / "config.json").write_bytes(b"")
    (folder / "config.json").write_bytes(b"{")
    open_run_folder(tiny_config)
    assert same(folder / "config.json", tiny_config)


def test_checkpoints_of_another_model_are_refused_by_key(steps, tiny_config):
    (steps[0] / "config.json").write_bytes(b"")
    with pytest.raises(CheckpointError, match="00000001: does not match the configuration: num_mels is 80, expected 100"):
        open_run_folder(tiny_config.replace({"num_mels": 100}))


def test_without_an_intact_configuration_the_run_is_refused(steps, tiny_config):
    for step in steps:
        (step / "config.json").unlink()
    with pytest.raises(CheckpointError, match="config.json is missing"):
        open_run_folder(tiny_config)


def test_a_file_in_place_of_the_folder_of_checkpoints_is_found_before_training(tiny_config, folder):
    (folder / "checkpoints").write_text("")
    with pytest.raises(DiskError, match="checkpoints: is not a folder that can be written: rename it"):
        open_run_folder(tiny_config)
