import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from hifigan_jax.errors import CheckpointError, DataError, UsageError
from hifigan_jax.training.loop import train
from hifigan_jax.training.stop import StopRequest
from hifigan_jax.training.validation import Validator

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def config(training_config):
    return training_config


def lines(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if "_second" not in key} for row in rows]


def test_a_resumed_run_is_bit_identical_to_an_uninterrupted_one(config, one_scale, capfd, run_of, leaves):
    config = config.replace({"discriminators": ("mpd", "msd"), "discriminator_channel_mult": 0.125})
    straight = run_of(config, "straight", 6)
    resumed = run_of(config, "resumed", 3, 4, 6)  # three batches per epoch: stops at the end and in the middle of one
    of_straight, of_resumed = leaves(straight, 6), leaves(resumed, 6)
    assert len(of_straight["training"]) > 100
    jax.tree.map(np.testing.assert_array_equal, of_straight, of_resumed)
    assert [line for line in lines(straight) if "training/gen_loss_total" in line] == [
        line for line in lines(resumed) if "training/gen_loss_total" in line
    ]
    validations = {line["step"]: line for line in lines(resumed) if "validation/mel_spec_error" in line}
    assert [line for line in lines(straight) if "validation/mel_spec_error" in line] == [validations[step] for step in (0, 3, 6)]
    assert "Steps : 6, Gen Loss Total : " in capfd.readouterr().out


def test_metrics_carry_the_names_of_tensorboard(config, run_of):
    run = run_of(config, "run", 2)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 2]
    assert {"training/gen_loss_total", "training/mel_spec_error", "training/batch_seconds"} <= rows[1].keys()
    assert all(isinstance(value, float) for row in rows for key, value in row.items() if key != "step")
    assert any((run / "logs").iterdir())


@pytest.mark.parametrize("interval", ["validation_interval", "checkpoint_interval", None])
def test_the_last_step_is_always_written(interval, config, run_of):
    intervals = dict.fromkeys(("summary_interval", "validation_interval", "checkpoint_interval"), 100)
    run = run_of(config.replace(intervals | ({interval: 1} if interval else {})), "run", 2)
    assert [line["step"] for line in lines(run) if "training/gen_loss_total" in line][-1] == 2


@pytest.mark.smoke
def test_a_damaged_checkpoint_is_skipped_for_the_previous_one(config, caplog, run_of, leaves):
    config = config.replace({"checkpoint_interval": 1})
    run = run_of(config, "run", 2)
    expected = leaves(run, 2)
    newest = run / "checkpoints" / "00000002"
    biggest = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(biggest.read_bytes())
    content[len(content) // 2] ^= 1
    biggest.write_bytes(content)
    run_of(config, "run", 2)
    reason = f"{biggest.relative_to(newest)} is damaged (its checksum differs): using step 1 instead (steps lost: 1)"
    assert f"{newest}: {reason}" in caplog.text
    assert sorted(path.name for path in newest.parent.iterdir()) == ["00000001", "00000002", "00000002.damaged"]
    jax.tree.map(np.testing.assert_array_equal, leaves(run, 2), expected)


def test_other_models_in_the_same_folder_are_refused(config, run_of):
    run_of(config, "run", 1)
    for change, message in (
        ({"upsample_initial_channel": 32}, "upsample_initial_channel is 16, expected 32"),
        ({"mpd_periods": (2, 5)}, r"mpd_periods is \(2, 3\), expected \(2, 5\)"),
    ):
        with pytest.raises(CheckpointError, match=message):
            run_of(config.replace(change), "run", 2)


def test_another_list_of_files_resumes_at_the_next_epoch(config, tmp_path, caplog, run_of, leaves):
    run = run_of(config, "run", 1)
    shorter = tmp_path / "training.txt"
    shorter.write_text("\n".join((ROOT / "samples" / "training.txt").read_text().splitlines()[:4]) + "\n")
    run_of(config.replace({"input_training_file": str(shorter)}), "run", 2)
    assert "resuming at the start of the next epoch" in caplog.text
    assert int(leaves(run, 2)["training"]["epoch"]) == 1


def test_fine_tuning_takes_only_the_weights(config, tmp_path, run_of, leaves):
    run = run_of(config, "run", 2)
    target = tmp_path / "fine"
    train(config.replace({"checkpoint_path": str(target), "max_steps": 1, "learning_rate": 1e-30}), str(run))
    before, after = leaves(run, 2), leaves(target, 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), after["generator"], before["generator"])
    assert int(after["training"]["step"]) == 1


def test_a_batch_larger_than_the_list_is_refused(config, run_of):
    with pytest.raises(DataError, match="batch_size 64 is larger than the 6 training recordings"):
        run_of(config.replace({"batch_size": 64}), "run", 1)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (3, "batch_size 2 cannot be split evenly over 3 devices: make it a multiple of 3"),
        (2, "accumulation_steps 2: the 1 rows on each of 2 devices cannot be split into 2 equal micro-batches"),
    ],
)
def test_batches_that_cannot_be_split_evenly_are_refused(config, run_of, monkeypatch, devices, message):
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    with pytest.raises(UsageError, match=message):
        run_of(config.replace({"accumulation_steps": 2}), "run", 1)


@pytest.mark.smoke
def test_a_signal_ends_the_run_with_a_checkpoint(config, tmp_path):
    run = tmp_path / "run"
    path = tmp_path / "config.json"
    endless = config.replace({"checkpoint_path": str(run), "max_steps": 100_000, "validation_interval": 100_000})
    path.write_text(endless.to_json())
    with subprocess.Popen([sys.executable, ROOT / "train.py", "--config", path], stderr=subprocess.PIPE, text=True) as process:
        metrics = run / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and len(metrics.read_text().splitlines()) >= 3):
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGTERM)
        messages = process.communicate()[1]
    assert process.returncode == 0, messages
    (saved,) = (run / "checkpoints").iterdir()
    assert int(saved.name) == lines(run)[-1]["step"]
    assert f"stopping at step {int(saved.name)}, as requested" in messages


def test_a_stop_before_the_first_step_saves_nothing(config, monkeypatch):
    stop = StopRequest()
    monkeypatch.setattr(Validator, "run", lambda *_: setattr(stop, "requested", True))
    train(config, stop=stop)
    assert not [*pathlib.Path(config.run.checkpoint_path).glob("checkpoints/*")]  # --finetune_from is then not too late
