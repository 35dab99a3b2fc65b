import errno
import json
import os
import shutil

import jax
import numpy as np
import pytest

from hifigan_jax import checkpoint, run_checkpoints
from hifigan_jax.errors import CheckpointError, DiskError
from hifigan_jax.manifest import MismatchError


@pytest.fixture
def parts(rng):
    return {
        "generator": {"conv/v": rng.normal(size=(40, 50)).astype(np.float32), "conv/bias": rng.normal(size=7).astype(np.float32)},
        "training": {"step": np.int32(5), "moments/mu": rng.normal(size=(30, 3)).astype(np.float32)},
    }


@pytest.fixture
def run(tmp_path, parts, tiny_config):
    for step in (5, 10, 15):
        run_checkpoints.save(tmp_path, step, parts, tiny_config, {"batch_size": 2}, keep=2)
    return tmp_path


@pytest.fixture
def newest(run):
    return run / "checkpoints" / "00000015"


def test_a_checkpoint_is_restored_bit_for_bit(run, parts):
    folder = run / "checkpoints" / "00000015"
    for name, leaves in parts.items():
        jax.tree.map(np.testing.assert_array_equal, checkpoint.restore(folder, name), leaves)
    assert checkpoint.read_manifest(folder).data == {"batch_size": 2}


def test_only_the_newest_steps_stay_resumable_but_every_generator_is_kept(run):
    assert [folder.name for folder in run_checkpoints.steps(run, "training")] == ["00000015", "00000010"]
    assert [folder.name for folder in run_checkpoints.steps(run, "generator")] == ["00000015", "00000010", "00000005"]
    with pytest.raises(CheckpointError, match="has no 'training' part"):
        checkpoint.restore(run / "checkpoints" / "00000005", "training")


def load(folder):
    """Reads everything in a step."""
    return checkpoint.read_config(folder), [checkpoint.restore(folder, part) for part in ("generator", "training")]


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damage_to_any_file_is_detected(newest, damage):
    paths = sorted(path for path in newest.rglob("*") if path.is_file() and path.stat().st_size)
    assert len(paths) > 8
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
            load(newest)
        name = str(path.relative_to(newest))
        if name == "manifest.json":
            assert str(caught.value).startswith(f"{newest}: ")
            assert name in str(caught.value)
        else:
            state = "missing" if damage == "delete" else "damaged (its checksum differs)"
            assert str(caught.value) == f"{newest}: {name} is {state}: use another checkpoint"
        path.write_bytes(content)
    load(newest)


# --- the manifest ---------------------------------------------------------------------------------------------------------------


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def replace_manifest(folder, content):
    (folder / "manifest.json").write_text(content if isinstance(content, str) else json.dumps(content))


def as_format_1(folder):
    """Makes a step look like one of older versions: no checksum of config.json and of the manifest."""
    content = manifest(folder) | {"format": 1}
    del content["sha256"], content["files"]["config.json"]
    replace_manifest(folder, content)


def test_a_step_of_format_1_is_restored(newest, parts):
    as_format_1(newest)
    for name, found in zip(parts, load(newest)[1], strict=True):
        jax.tree.map(np.testing.assert_array_equal, found, parts[name])


@pytest.mark.parametrize(
    "change",
    [
        {"format": 1},
        {"format": 0},
        {"format": True},
        {"step": 14},
        {"data": {"batch_size": 3}},
        {"data": {}},
        {"files": {}},
        {"x": 1},
    ],
)
def test_a_change_in_the_manifest_is_detected(newest, change):
    replace_manifest(newest, manifest(newest) | change)
    with pytest.raises(CheckpointError, match="manifest.json is damaged"):
        checkpoint.read_manifest(newest)


def test_a_manifest_without_its_checksum_is_refused(newest):
    replace_manifest(newest, {key: value for key, value in manifest(newest).items() if key != "sha256"})
    with pytest.raises(CheckpointError, match="manifest.json is damaged"):
        checkpoint.read_manifest(newest)


def test_the_layout_of_the_manifest_is_free(newest):
    replace_manifest(newest, json.dumps(dict(reversed(manifest(newest).items())), indent=3))
    load(newest)


@pytest.mark.parametrize(
    "content",
    [
        *(
            "",
            "{",
            "null",
            "[]",
            "3",
            '"format"',
            '{"format": 1}',
            "[" * 100_000,
            "9" * 10_000,
            '{"format": ' + "9" * 10_000 + "}",
        ),
        {"format": 1, "step": 15, "data": {}, "leaves": {}, "files": {}},
        {"format": 1, "step": 15, "data": {}, "leaves": {}},
        {"format": 99, "step": 15, "data": {}, "leaves": {}, "files": {}},
    ],
    ids=lambda content: str(content)[:40],
)
def test_a_manifest_without_the_part_is_refused(newest, content):
    replace_manifest(newest, content)
    with pytest.raises(CheckpointError, match="00000015"):
        checkpoint.restore(newest, "generator")


def test_a_manifest_that_is_not_text_is_refused(newest):
    (newest / "manifest.json").write_bytes(b'{"format": 1, "\xff": 1}')
    with pytest.raises(CheckpointError, match="manifest.json is damaged"):
        checkpoint.restore(newest, "generator")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("shape", value) for value in (None, 7, "7", [7.0], [-7], [True], [2**62, 2**62], [2**70], [7] * 100, [[7]])),
        *(("dtype", value) for value in (None, 4, "O", "object", "U8", "float", "complex64", "float33", [])),
    ],
)
def test_an_impossible_array_in_a_manifest_of_format_1_is_refused(newest, key, value):
    as_format_1(newest)
    content = manifest(newest)
    content["leaves"]["generator"]["conv/bias"][key] = value
    replace_manifest(newest, content)
    with pytest.raises(CheckpointError, match="00000015"):
        checkpoint.restore(newest, "generator")


def test_a_wrong_size_in_a_manifest_of_format_1_takes_no_memory(newest, parts):
    as_format_1(newest)
    content = manifest(newest)
    content["leaves"]["generator"]["conv/bias"]["shape"] = [10**15]
    replace_manifest(newest, content)
    np.testing.assert_array_equal(checkpoint.restore(newest, "generator")["conv/bias"], parts["generator"]["conv/bias"])


def test_another_file_is_never_read_in_place_of_a_damaged_one(newest, tmp_path):
    as_format_1(newest)
    (tmp_path / "other").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    content = manifest(newest)
    content["files"]["generator/../../../other"] = empty
    replace_manifest(newest, content)
    with pytest.raises(CheckpointError, match="other is missing"):
        checkpoint.restore(newest, "generator")


def test_a_step_in_a_folder_of_another_number_is_refused(newest):
    renamed = newest.rename(newest.with_name("00000016"))
    with pytest.raises(CheckpointError, match=r"00000016: contains step 15: rename the folder$"):
        checkpoint.restore(renamed, "generator")
    checkpoint.restore(renamed.rename(renamed.with_name("best")), "generator")


def test_a_part_may_be_a_link(newest, tmp_path):
    (newest / "generator").rename(tmp_path / "elsewhere")
    (newest / "generator").symlink_to(tmp_path / "elsewhere")
    checkpoint.restore(newest, "generator")


def test_data_of_any_json_types_is_kept(run, parts, tiny_config):
    data = {"skipped": {10: 1, 9: 2}, "ratio": 0.1, "nan": float("nan"), "name": "\udc80é", "order": (1, None, True)}
    folder = run_checkpoints.save(run, 20, parts, tiny_config, data, keep=2)
    found = checkpoint.read_manifest(folder).data
    assert str(found) == str(
        {"skipped": {"10": 1, "9": 2}, "ratio": 0.1, "nan": np.nan, "name": "\udc80é", "order": [1, None, True]}
    )


def test_a_step_of_a_newer_version_is_refused_even_if_an_older_one_is_usable(run, newest, monkeypatch):
    with monkeypatch.context() as newer:
        newer.setattr("hifigan_jax.manifest.FORMAT", 3)
        run_checkpoints.save(run, 20, {"generator": {"b": np.zeros(2, np.float32)}}, checkpoint.read_config(newest), {}, keep=2)
    with pytest.raises(CheckpointError, match="00000020: written by a newer version: update hifigan_jax"):
        run_checkpoints.first_usable(run_checkpoints.steps(run), lambda folder: checkpoint.restore(folder, "generator"))


# --- choosing a step ------------------------------------------------------------------------------------------------------------


def restored_step(folder):
    load(folder)
    return int(folder.name)


def test_the_first_usable_step_is_chosen_with_a_warning_for_each_damaged_one(run, newest, parts, tiny_config, caplog):
    run_checkpoints.save(run, 1015, parts, tiny_config, {}, keep=9)
    last = run / "checkpoints" / "00001015"
    assert run_checkpoints.first_usable(run_checkpoints.resumable(run), restored_step) == (1015, [])
    assert caplog.text == ""
    (last / "config.json").unlink()
    (newest / "manifest.json").write_text("{")
    assert run_checkpoints.first_usable(run_checkpoints.resumable(run), restored_step) == (10, [last, newest])
    assert [record.getMessage() for record in caplog.records] == [
        f"{last}: config.json is missing: using step 10 instead (steps lost: 1,005)",
        f"{newest}: manifest.json is damaged (JSONDecodeError): using step 10 instead (steps lost: 5)",
    ]


def test_without_a_usable_step_the_newest_problem_is_the_error(run, newest, caplog):
    for folder in run_checkpoints.steps(run):
        (folder / "config.json").write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        run_checkpoints.first_usable(run_checkpoints.resumable(run), restored_step)
    reason = "config.json is damaged (its checksum differs)"
    end = "none of the 1 older checkpoints can be used either: use another folder"
    assert str(caught.value) == f"{newest}: {reason}; {end}"
    assert [record.getMessage() for record in caplog.records] == [f"{newest.with_name('00000010')}: {reason}"]


def test_a_newest_step_that_lost_its_training_part_is_not_passed_over_in_silence(run, newest, caplog):
    shutil.rmtree(newest / "training")
    assert [folder.name for folder in run_checkpoints.resumable(run)] == ["00000015", "00000010"]
    assert run_checkpoints.first_usable(run_checkpoints.resumable(run), restored_step)[0] == 10
    assert "00000015: has no 'training' part" in caplog.text


def test_a_step_set_aside_is_no_step_and_can_be_set_aside_again(run, newest):
    for _ in range(2):
        shutil.copytree(newest.with_name("00000010"), newest, dirs_exist_ok=True)
        run_checkpoints.set_aside(newest)
        assert [folder.name for folder in run_checkpoints.steps(run)] == ["00000010", "00000005"]
        assert (newest.with_name("00000015.damaged") / "manifest.json").is_file()


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


def test_an_intact_checkpoint_of_another_configuration_is_not_replaced_by_an_older_one(run, parts, tiny_config):
    run_checkpoints.save(run, 20, parts, tiny_config.replace({"fmin": 50}), {})
    with pytest.raises(MismatchError, match="00000020: does not match the configuration: fmin is 50"):
        run_checkpoints.first_usable(run_checkpoints.steps(run), lambda folder: checkpoint.check_same_model(folder, tiny_config))


def test_the_remains_of_a_killed_save_are_ignored_and_cleared(run):
    leftover, other = run / "checkpoints" / ".00000020.tmp", run / "checkpoints" / ".notes.tmp"
    (leftover / "generator").mkdir(parents=True)
    other.mkdir()
    assert run_checkpoints.steps(run, "generator")[0].name == "00000015"
    run_checkpoints.clear_leftovers(run)
    assert not leftover.exists()
    assert other.exists()


def test_a_failed_save_leaves_nothing_and_names_the_folder_and_the_reason(tmp_path, parts, tiny_config):
    (tmp_path / "checkpoints").write_text("a file in place of the folder")
    folder = tmp_path.resolve() / "checkpoints" / "00000001"
    reason = "(File exists|Not a directory): check the folder above it"
    with pytest.raises(DiskError, match=rf"^{folder}: checkpoint not written: {reason}; older ones are intact$"):
        run_checkpoints.save(tmp_path, 1, parts, tiny_config, {}, keep=1)
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == '["checkpoints"]'


def test_memory_that_does_not_suffice_is_no_damage(run, monkeypatch):
    import orbax.checkpoint as ocp

    def restore(*_, **__):
        raise MemoryError

    monkeypatch.setattr(ocp.StandardCheckpointer, "restore", restore)
    with pytest.raises(MemoryError):
        run_checkpoints.first_usable(run_checkpoints.steps(run), lambda folder: checkpoint.restore(folder, "generator"))


def test_a_manifest_that_cannot_be_read_is_not_called_damaged(run):
    newest = run_checkpoints.steps(run)[0]
    (newest / "manifest.json").unlink()
    (newest / "manifest.json").mkdir()
    with pytest.raises(CheckpointError, match="manifest.json cannot be read: Is a directory: use another checkpoint"):
        checkpoint.read_manifest(newest)


def test_a_step_that_is_a_link_is_deleted_without_remains(run, tmp_path):
    newest = run_checkpoints.steps(run)[0]
    elsewhere = newest.rename(tmp_path / "elsewhere")
    newest.symlink_to(elsewhere)
    run_checkpoints.delete(newest)
    assert not any(path.name.startswith(".") or path == newest for path in newest.parent.iterdir())
    assert (elsewhere / "manifest.json").exists()


def test_a_step_that_cannot_be_deleted_is_named(run, monkeypatch):
    newest = run_checkpoints.steps(run)[0]

    def rename(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(type(newest), "rename", rename)
    with pytest.raises(DiskError, match=f"{newest.name}: cannot be deleted: Read-only file system: make its folder writable"):
        run_checkpoints.delete(newest)


def test_a_step_that_may_not_be_read_does_not_end_the_search(run, monkeypatch):
    stat = os.stat

    def refusing(path, **options):
        if str(path).endswith("00000015/training"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refusing)
    assert "00000015" in [folder.name for folder in run_checkpoints.resumable(run)]
