"""A run made before configurations had sections (commit 69a5358) resumes with the same state, position and losses.

golden/older_run.zip is its folder after 4 steps on the samples, without logs. older_run.json contains the SHA-256 (16 digits) of
every restored array and the losses of the next 5 steps, both computed by that commit.
"""

import hashlib
import json
import pathlib
import zipfile

import jax
import numpy as np
import pytest

from hifigan_jax import checkpoint
from hifigan_jax.config import load_config
from hifigan_jax.training.loop import train
from hifigan_jax.training.reference import state_shapes
from hifigan_jax.training.state import from_parts

pytestmark = pytest.mark.smoke

HERE = pathlib.Path(__file__).parent
SAMPLES = HERE.parent.parent / "samples"
KEPT = json.loads((HERE / "golden" / "older_run.json").read_text())


@pytest.fixture
def run(tmp_path):
    with zipfile.ZipFile(HERE / "golden" / "older_run.zip") as archive:
        archive.extractall(tmp_path / "run")
    return tmp_path / "run"


def test_arrays_and_position_of_an_older_run_are_restored_bit_for_bit(run):
    step, config = run / "checkpoints" / "00000004", load_config(run / "config.json")
    parts = {name: checkpoint.restore(step, name) for name in ("generator", "training")}
    found = {
        f"{part}/{name}": hashlib.sha256(np.asarray(leaf).tobytes()).hexdigest()[:16]
        for part, leaves in parts.items()
        for name, leaf in leaves.items()
    }
    assert found == KEPT["leaves"]
    state = from_parts(parts, state_shapes(config))
    assert [int(number) for number in (state.step, state.epoch, state.batch_in_epoch)] == [4, 1, 1]
    assert len(jax.tree.leaves(state)) == len(found)


def test_an_older_run_resumes_with_the_losses_of_its_own_version(run):
    config = load_config(run / "config.json").replace(
        {
            "input_wavs_dir": str(SAMPLES),
            "input_training_file": str(SAMPLES / "training.txt"),
            "input_validation_file": str(SAMPLES / "validation.txt"),
            "checkpoint_path": str(run),
            "max_steps": 9,
        }
    )
    train(config)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "training/gen_loss_total" in row]
    assert [row["step"] for row in steps] == [5, 6, 7, 8, 9]
    for row, kept in zip(steps, KEPT["losses"], strict=True):
        for name, value in kept.items():
            assert row[name] == pytest.approx(value, rel=1e-4), name
