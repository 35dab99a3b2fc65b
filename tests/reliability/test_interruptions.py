"""Runs of train.py with a full disk, a second run, signals, and too little memory."""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
from inputs import RUN, record
from programs import infer, losses, train

from hifigan_jax import checkpoint, faults, file_index, run_checkpoints
from hifigan_jax.training import loop
from hifigan_jax.training.run_lock import locked
from hifigan_jax.training.validation import Validator

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def fault(monkeypatch):
    """fault(value): what HIFIGAN_JAX_FAULT requests from now on."""
    faults._visits.clear()
    yield lambda value: (faults._visits.clear(), monkeypatch.setenv(faults.VARIABLE, value))
    faults._visits.clear()


@pytest.fixture
def flags(quick, tmp_path):
    """The flags of a short run that saves every step."""
    record(tmp_path / "in", *RUN)
    folders = {"input_wavs_dir": tmp_path / "in", "checkpoint_path": tmp_path / "run"}
    return {"config": quick, **folders, "max_steps": 5, "checkpoint_interval": 1, "keep_checkpoints": 9}


def steps(tmp_path):
    """The steps that a run has saved, and all else in its folder of checkpoints."""
    return sorted(path.name.lstrip("0") for path in (tmp_path / "run" / "checkpoints").iterdir())


def warnings(outcome):
    return [line for line in outcome.messages if line.startswith("warning: ")]


# --- full disks -----------------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_for_a_while_costs_only_the_saves_in_that_time(flags, tmp_path, fault):
    fault("disk_full.save:2-3,disk_full.metrics:4-6,disk_full.tensorboard:4-6,disk_full.index:1")
    outcome = train(**flags)
    assert outcome.code == 0
    assert steps(tmp_path) == ["1", "4", "5"]
    assert len(losses(tmp_path / "run")) == 5
    assert len(warnings(outcome)) == 5, outcome.messages  # two saves, two logs, the index


def test_a_disk_that_stays_full_ends_the_run_after_three_failures(flags, tmp_path, fault):
    fault("disk_full.manifest:2-")
    outcome = train(**flags)
    assert outcome.code == 5
    assert steps(tmp_path) == ["1"]
    assert len(losses(tmp_path / "run")) == 4
    assert len(warnings(outcome)) == 2
    assert outcome.messages[-1].startswith("error: ")
    fault("")
    assert train(**flags).code == 0
    assert steps(tmp_path) == ["1", "2", "3", "4", "5"]


def test_a_failed_save_at_the_end_is_an_error(flags, tmp_path, fault):
    fault("disk_full.save:1")
    outcome = train(**flags | {"checkpoint_interval": 100})
    assert outcome.code == 5
    assert outcome.about("00000005: checkpoint not written: ")


def test_logs_that_cannot_be_written_do_not_change_the_training(flags, tmp_path):
    assert train(**flags | {"checkpoint_path": tmp_path / "other"}).code == 0
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "logs").write_text("a file")
    (tmp_path / "run" / "metrics.jsonl").mkdir()
    outcome = train(**flags)
    assert outcome.code == 0
    assert len(warnings(outcome)) == 2
    of_run, of_other = (checkpoint.restore(tmp_path / name / "checkpoints" / "00000005", "training") for name in ("run", "other"))
    for name, values in of_other.items():
        np.testing.assert_array_equal(of_run[name], values)


# --- two runs -------------------------------------------------------------------------------------------------------------------


def test_a_second_run_ends_at_once_and_names_the_first(flags, tmp_path):
    arguments = [f"--{flag}={value}" for flag, value in flags.items()]
    with locked(tmp_path / "run"):
        second = subprocess.run(
            [sys.executable, "-X", "importtime", ROOT / "train.py", *arguments], capture_output=True, text=True
        )
        first = train(**flags)  # another run in this process
    assert second.returncode == first.code == 5
    lines = [line for line in second.stderr.splitlines() if not line.startswith("import time:")]
    assert lines == first.messages
    assert f"process {os.getpid()} on " in lines[0]
    assert " jax\n" not in second.stderr
    assert train(**flags).code == 0


# --- signals --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_while_recordings_are_read_ends_the_program(flags, tmp_path, number, monkeypatch):
    read, seen = file_index._stamp, []

    def interrupted(path):
        seen.append(path)
        if len(seen) == 3:
            os.kill(os.getpid(), number)
        return read(path)

    monkeypatch.setattr(file_index, "_stamp", interrupted)
    outcome = train(**flags)
    assert outcome.code == 0
    assert outcome.messages[-1] == "stopped before the first step, as requested: there is nothing to save"
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_signal_during_validation_saves_the_step(flags, tmp_path, monkeypatch):
    validate = Validator._utterances

    def interrupted(self, stop):
        if self.real_logged:  # not the validation at step 0
            os.kill(os.getpid(), signal.SIGTERM)
        return validate(self, stop)

    monkeypatch.setattr(Validator, "_utterances", interrupted)
    outcome = train(**flags | {"validation_interval": 3, "checkpoint_interval": 100})
    assert outcome.code == 0
    assert outcome.about("stopping at step 3, as requested")
    assert not outcome.about("validation at step 3: mel error")
    assert steps(tmp_path) == ["3"]


def test_a_signal_during_a_save_is_obeyed_after_it(flags, tmp_path, monkeypatch):
    save = run_checkpoints.save

    def interrupted(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return save(*arguments, **options)

    monkeypatch.setattr(run_checkpoints, "save", interrupted)
    outcome = train(**flags | {"checkpoint_interval": 2})
    assert outcome.code == 0
    assert steps(tmp_path) == ["2"]


def test_a_signal_before_the_first_step_leaves_no_checkpoint(flags, tmp_path, monkeypatch):
    make = loop.train_step

    def interrupted(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return make(*arguments, **options)

    monkeypatch.setattr(loop, "train_step", interrupted)
    outcome = train(**flags)
    assert outcome.code == 0
    assert outcome.messages[-1] == "stopped before the first step, as requested: there is nothing to save"


# --- memory ---------------------------------------------------------------------------------------------------------------------


def test_training_without_enough_memory_is_one_line_with_advice(flags, fault):
    fault("out_of_memory.training:2")
    outcome = train(**flags)
    assert outcome.code == 1
    assert outcome.messages[-1].startswith("error: memory does not suffice: lower batch_size or segment_size, ")


def test_synthesis_without_enough_memory_continues_in_parts(tiny, tmp_path, fault):
    record(tmp_path / "in", "a.wav", "b.wav")
    for name, value in (("whole", ""), ("parts", "out_of_memory.synthesis:1")):
        fault(value)
        outcome = infer(input_wavs_dir=tmp_path / "in", output_dir=tmp_path / name, checkpoint_file=tiny)
        assert outcome.code == 0
    assert outcome.about("memory does not suffice for a batch of")
    for name in ("a_generated.wav", "b_generated.wav"):
        whole, parts = (np.frombuffer((tmp_path / folder / name).read_bytes()[44:], np.int16) for folder in ("whole", "parts"))
        assert np.abs(whole.astype(int) - parts).max() <= 1
        assert np.abs(whole).max() > 300
