"""Checkpoints that cannot be written: training continues, nothing is left behind, three in a row end the run."""

import errno
import logging
import shutil
from collections import namedtuple

import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax import checkpoint, faults
from hifigan_jax.errors import DiskError
from hifigan_jax.training.saving import Saver

DATA = {"batch_size": 2}


@pytest.fixture
def fault(monkeypatch):
    """fault(value): what HIFIGAN_JAX_FAULT requests from now on."""
    faults._visits.clear()
    yield lambda value: (faults._visits.clear(), monkeypatch.setenv(faults.VARIABLE, value))
    faults._visits.clear()


@pytest.fixture
def parts(rng):
    values = jnp.asarray(rng.normal(size=(500, 100)), jnp.float32)
    return {"generator": {"a": values, "b": values[0]}, "training": {"c": values}}


def saved(run):
    """Names of the steps and of everything else in a run's folder of checkpoints."""
    return sorted(path.name for path in (run / "checkpoints").iterdir())


@pytest.mark.parametrize("point", ["disk_full.save", "disk_full.arrays", "disk_full.manifest"])
def test_training_continues_and_the_next_save_succeeds(tiny_config, tmp_path, parts, fault, caplog, point):
    saver = Saver(tmp_path, tiny_config)
    assert saver.save(1, parts, DATA)
    fault(f"{point}:1-2")
    for step in (2, 3):
        caplog.clear()
        assert not saver.save(step, parts, DATA)
        (record,) = caplog.records
        assert "No space left on device: free disk space; older ones are intact; training continues" in record.getMessage()
        assert saved(tmp_path) == ["00000001"]
    assert saver.save(4, parts, DATA)
    assert saved(tmp_path) == ["00000001", "00000004"]
    for step in ("00000001", "00000004"):
        restored = checkpoint.restore(tmp_path / "checkpoints" / step, "training")
        np.testing.assert_array_equal(restored["c"], parts["training"]["c"])


def test_three_failures_in_a_row_end_the_run(tiny_config, tmp_path, parts, fault):
    saver = Saver(tmp_path, tiny_config)
    fault("disk_full.save:1-2,disk_full.manifest:2-")  # two failures, a success, three failures
    assert [saver.save(step, parts, DATA) for step in range(1, 6)] == [False, False, True, False, False]
    with pytest.raises(DiskError, match="00000006: checkpoint not written: .*No space left") as caught:
        saver.save(6, parts, DATA)
    assert caught.value.exit_code == 5
    assert saved(tmp_path) == ["00000003"]


def test_the_last_save_of_a_run_may_not_fail(tiny_config, tmp_path, parts, fault):
    fault("disk_full.save:1")
    with pytest.raises(DiskError):
        Saver(tmp_path, tiny_config).save(1, parts, DATA, last=True)


def test_space_is_checked_before_anything_is_written(tiny_config, tmp_path, parts, monkeypatch, caplog):
    disk = namedtuple("usage", "total used free")(10**9, 10**9, 500_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: disk)
    assert not Saver(tmp_path, tiny_config).save(1, parts, DATA)
    assert "1 MB are needed, 0 MB are free" in caplog.text
    monkeypatch.setattr(shutil, "disk_usage", lambda path: disk._replace(total=0, free=0))  # unknown
    assert Saver(tmp_path, tiny_config).save(1, parts, DATA)


def test_a_disk_that_becomes_full_while_orbax_writes_is_one_warning(tiny_config, tmp_path, parts, full_after, caplog, capfd):
    saver = Saver(tmp_path, tiny_config)
    assert saver.save(1, parts, DATA)
    caplog.clear()
    with full_after(-100_000):
        assert not saver.save(2, parts, DATA)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Traceback" not in capfd.readouterr().err
    assert saved(tmp_path) == ["00000001"]
    assert saver.save(3, parts, DATA)


def test_a_checkpoint_that_cannot_be_renamed_leaves_the_one_that_it_replaces(tiny_config, tmp_path, parts, monkeypatch):
    folder = checkpoint.write(tmp_path / "a", parts, tiny_config)
    rename = type(folder).rename

    def fails(path, target):
        if path.name == ".a.tmp":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(type(folder), "rename", fails)
    with pytest.raises(DiskError, match="Input/output error"):
        checkpoint.write(tmp_path / "a", parts, tiny_config)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    checkpoint.restore(folder, "training")


def test_a_run_folder_that_is_renamed_while_training_is_a_warning(tiny_config, tmp_path, parts, caplog):
    run = tmp_path / "run"
    run.mkdir()
    saver = Saver(run, tiny_config)
    assert saver.save(1, parts, DATA)
    run.rename(tmp_path / "renamed")
    assert saver.save(2, parts, DATA)
    assert saver.save(3, parts, DATA)
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert warning == f"{run}: was renamed or deleted while training: a new one has the checkpoints from now on"
    assert (saved(tmp_path / "renamed"), saved(run)) == (["00000001"], ["00000002", "00000003"])
