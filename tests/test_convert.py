import json

import jax
import numpy as np
import pytest

from hifigan_jax import checkpoint
from hifigan_jax.cli import main
from hifigan_jax.config import load_config, model_differences
from hifigan_jax.convert import convert
from hifigan_jax.errors import CheckpointError, UsageError
from hifigan_jax.loading import load_generator
from hifigan_jax.weights.torch_file import read_torch_file


@pytest.fixture
def ours(tiny_config, tiny_leaves, tmp_path):
    """A checkpoint with only a generator."""
    return checkpoint.write(tmp_path / "ours", {"generator": tiny_leaves}, tiny_config, step=8)


def assert_same_generator(source, other):
    one, two = load_generator(source), load_generator(other)
    assert model_differences(one.config, two.config) == []
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)


@pytest.mark.smoke
@pytest.mark.parametrize("between", ["b.safetensors", "folder"])
def test_a_generator_is_converted_there_and_back_bit_for_bit(between, ours, tmp_path):
    convert(ours, tmp_path / between)
    assert_same_generator(tmp_path / between, ours)
    (written,) = convert(tmp_path / between, tmp_path / "again")
    assert_same_generator(written, ours)
    assert (written / "manifest.json").is_file()


def test_a_pth_file_needs_its_configuration_in_its_folder_or_by_config(ours, tiny_config, tmp_path):
    (tmp_path / "alone").mkdir()
    convert(ours, tmp_path / "alone" / "b.pth")
    with pytest.raises(CheckpointError, match="pass its JSON with --config"):
        load_generator(tmp_path / "alone" / "b.pth")
    convert(tmp_path / "alone" / "b.pth", tmp_path / "again", ours / "config.json")
    assert_same_generator(tmp_path / "again", ours)
    convert(tmp_path / "again", tmp_path / "alone" / "c.safetensors")  # now the file contains its configuration
    convert(tmp_path / "alone" / "c.safetensors", tmp_path / "d.pth")
    jax.tree.map(
        np.testing.assert_array_equal, *(read_torch_file(path) for path in (tmp_path / "alone" / "b.pth", tmp_path / "d.pth"))
    )


def test_a_generator_without_training_state_becomes_a_g_file(ours, tmp_path):
    written = convert(ours, tmp_path / "theirs")
    assert [path.name for path in written] == ["g_00000007", "config.json"]
    tensors = read_torch_file(written[0])["generator"]
    assert tensors["ups.0.weight_v"].shape == (16, 8, 16)
    assert list(tensors)[:3] == ["conv_pre.bias", "conv_pre.weight_g", "conv_pre.weight_v"]
    assert json.loads(written[1].read_text())["upsample_rates"] == [8, 8, 4]


@pytest.mark.smoke
def test_a_run_is_converted_there_and_back_bit_for_bit_and_resumes(training_config, run_of, leaves, tmp_path):
    ours = run_of(training_config, "run", 3)  # a full epoch
    written = convert(ours, tmp_path / "theirs")
    assert [path.name for path in written] == ["g_00000002", "do_00000002", "config.json"]
    convert(tmp_path / "theirs", tmp_path / "again")
    jax.tree.map(np.testing.assert_array_equal, leaves(tmp_path / "again", 3), leaves(ours, 3))
    assert load_config(tmp_path / "again" / "config.json") == load_config(ours / "config.json")
    run_of(training_config, "run", 5)  # in the middle of an epoch
    run_of(training_config, "again", 5)
    jax.tree.map(np.testing.assert_array_equal, leaves(tmp_path / "again", 5), leaves(ours, 5))
    convert(ours / "checkpoints" / "00000005", tmp_path / "later")
    convert(tmp_path / "later" / "g_00000004", tmp_path / "third")
    jax.tree.map(
        np.testing.assert_array_equal,
        *(leaves(run_of(training_config, run, 6), 6) for run in ("third", "run")),
    )


def test_an_existing_target_is_not_overwritten(ours, tmp_path):
    for target in ("ours", "there.pth"):
        (tmp_path / "there.pth").touch()
        with pytest.raises(UsageError, match="already exists"):
            convert(ours, tmp_path / target)


def test_the_program_prints_the_written_paths(ours, tmp_path, capfd):
    assert main(["convert", str(ours), str(tmp_path / "b.safetensors")]) == 0
    assert capfd.readouterr().out == f"{tmp_path / 'b.safetensors'}\n"
    assert main(["convert", str(tmp_path / "missing"), str(tmp_path / "c")]) == 4
    assert "no such file, folder or pretrained model" in capfd.readouterr().err
