import json

import jax
import numpy as np
import pytest

from hifigan_jax import checkpoint
from hifigan_jax.errors import CheckpointError, DiskError


@pytest.fixture
def parts(rng):
    return {
        "generator": {"conv/v": rng.normal(size=(40, 50)).astype(np.float32), "conv/bias": rng.normal(size=7).astype(np.float32)},
        "training": {"step": np.int32(5), "moments/mu": rng.normal(size=(30, 3)).astype(np.float32)},
    }


@pytest.fixture
def run(tmp_path, parts, tiny_config):
    for step in (5, 10, 15):
        checkpoint.save(tmp_path, step, parts, tiny_config, {"batch_size": 2}, keep=2)
    return tmp_path


def test_a_checkpoint_is_restored_bit_for_bit(run, parts):
    folder = run / "checkpoints" / "00000015"
    for name, leaves in parts.items():
        jax.tree.map(np.testing.assert_array_equal, checkpoint.restore(folder, name), leaves)
    assert checkpoint.read_manifest(folder)["data"] == {"batch_size": 2}


def test_only_the_newest_steps_stay_resumable_but_every_generator_is_kept(run):
    assert [folder.name for folder in checkpoint.steps(run, "training")] == ["00000015", "00000010"]
    assert [folder.name for folder in checkpoint.steps(run, "generator")] == ["00000015", "00000010", "00000005"]
    with pytest.raises(CheckpointError, match="has no 'training' part"):
        checkpoint.restore(run / "checkpoints" / "00000005", "training")


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damage_to_any_file_is_detected(run, damage):
    folder = run / "checkpoints" / "00000015"
    paths = sorted(path for path in (folder / "generator").rglob("*") if path.is_file() and path.stat().st_size)
    assert len(paths) > 3
    for path in paths:
        content = path.read_bytes()
        if damage == "flip":
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])
        elif damage == "truncate":
            path.write_bytes(content[: len(content) // 2])
        else:
            path.unlink()
        with pytest.raises(CheckpointError) as caught:
            checkpoint.restore(folder, "generator")
        state = "missing" if damage == "delete" else "damaged (its checksum differs)"
        assert str(caught.value) == f"{folder}: {path.relative_to(folder)} is {state}: use another checkpoint"
        path.write_bytes(content)
    checkpoint.restore(folder, "generator")


@pytest.mark.parametrize("damage", ["", "{", '{"format": 1}', '{"format": 99, "step": 1, "data": {}, "leaves": {}}'])
def test_a_step_without_a_valid_manifest_is_refused(run, damage):
    folder = run / "checkpoints" / "00000015"
    (folder / "manifest.json").write_text(damage)
    with pytest.raises(CheckpointError, match="00000015"):
        checkpoint.restore(folder, "generator")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv/v": jax.ShapeDtypeStruct((40, 51), np.float32)}, r"conv/v is \[40, 50\] float32, expected \[40, 51\] float32"),
        ({"conv/v": jax.ShapeDtypeStruct((40, 50), np.float16)}, "float32, expected .* float16"),
        ({"other": jax.ShapeDtypeStruct((1,), np.float32)}, r"other is missing, expected \[1\] float32"),
    ],
)
def test_arrays_of_another_model_are_refused_by_name(run, parts, change, message):
    target = {path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for path, leaf in parts["generator"].items()} | change
    with pytest.raises(CheckpointError, match=message):
        checkpoint.restore(run / "checkpoints" / "00000015", "generator", target)


def test_a_checkpoint_of_another_configuration_is_refused_by_key(run, tiny_config):
    folder = run / "checkpoints" / "00000015"
    checkpoint.check_same_model(folder, tiny_config)
    with pytest.raises(CheckpointError, match="num_mels is 80, expected 100"):
        checkpoint.check_same_model(folder, tiny_config.replace({"num_mels": 100}))


def test_the_remains_of_a_killed_save_are_ignored_and_cleared(run):
    leftover = run / "checkpoints" / ".00000020.tmp"
    (leftover / "generator").mkdir(parents=True)
    assert checkpoint.steps(run, "generator")[0].name == "00000015"
    checkpoint.clear_leftovers(run)
    assert not leftover.exists()


def test_a_failed_save_leaves_nothing_and_names_the_folder_and_the_reason(tmp_path, parts, tiny_config):
    (tmp_path / "checkpoints").write_text("a file in place of the folder")
    folder = tmp_path.resolve() / "checkpoints" / "00000001"
    with pytest.raises(DiskError, match=rf"^{folder}: checkpoint not written: .*(File exists|Not a directory).*: free disk"):
        checkpoint.save(tmp_path, 1, parts, tiny_config, {}, keep=1)
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == '["checkpoints"]'
