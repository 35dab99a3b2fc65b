"""Resuming runs of the reference, and fine-tuning from its weights."""

import shutil

import jax
import numpy as np
import pytest

from hifigan_jax.convert import convert
from hifigan_jax.errors import CheckpointError
from hifigan_jax.training.loop import train
from hifigan_jax.training.state import learning_rate


@pytest.fixture(scope="module")
def stopped(shared_training_config, tmp_path_factory, sharing):
    """A run that stopped after 4 steps, in the middle of its second epoch, in our files and in the reference's."""
    folder = tmp_path_factory.mktemp("stopped")
    with sharing():
        train(shared_training_config.replace({"checkpoint_path": str(folder / "ours"), "max_steps": 4}))
    convert(folder / "ours", folder / "theirs")
    return folder


@pytest.fixture
def theirs(stopped, tmp_path):
    """A copy of the stopped run to resume: tmp_path / "ours", and the same in the reference's files."""
    for name in ("ours", "theirs"):
        shutil.copytree(stopped / name, tmp_path / name)
    return tmp_path / "theirs"


def test_a_run_of_the_reference_resumes_at_its_position(theirs, training_config, run_of, leaves, caplog):
    assert sorted(path.name for path in theirs.iterdir()) == ["config.json", "do_00000003", "g_00000003"]
    before = (theirs / "config.json").read_bytes()
    there, here = run_of(training_config, "theirs", 6), run_of(training_config, "ours", 6)
    jax.tree.map(np.testing.assert_array_equal, leaves(there, 6), leaves(here, 6))
    assert (theirs / "config_reference.json").read_bytes() == before
    assert "resuming from the reference's" in caplog.text
    assert "warning" not in caplog.text.lower()


def test_a_resumed_run_of_the_reference_continues_from_its_own_checkpoints(theirs, training_config, run_of, caplog):
    run_of(training_config, "theirs", 5, 6)
    assert f"resuming from {theirs / 'checkpoints' / '00000005'}" in caplog.text
    assert caplog.text.count("resuming from the reference's") == 1


def test_the_newest_undamaged_pair_of_one_step_is_used(theirs, training_config, run_of, leaves, caplog):
    shutil.copy(theirs / "g_00000003", theirs / "g_00000009")  # without its do_*
    shutil.copy(theirs / "g_00000003", theirs / "g_00000005")
    (theirs / "do_00000005").write_bytes((theirs / "do_00000003").read_bytes()[:1000])  # cut short
    run = run_of(training_config, "theirs", 5)
    assert "do_00000005: not a PyTorch file, or damaged" in caplog.text
    assert leaves(run, 5)["training"]["step"] == 5


def test_another_batch_size_resumes_at_the_next_epoch(theirs, training_config, run_of, leaves, caplog):
    run = run_of(training_config.replace({"batch_size": 6}), "theirs", 5)  # so far four epochs of one batch
    assert "resuming at the start of the next epoch" in caplog.text
    of_run = leaves(run, 5)["training"]
    assert (of_run["step"], of_run["epoch"], of_run["batch_in_epoch"]) == (5, 3, 0)


def test_another_learning_rate_than_the_epoch_s_is_reported(theirs, training_config, run_of, caplog):
    run_of(training_config.replace({"learning_rate": 1e-4}), "theirs", 5)
    assert "the generator's learning rate was 0.0001998; resuming with learning_rate x lr_decay^epoch, 9.99e-05" in caplog.text


def test_a_run_of_another_model_is_refused(theirs, training_config, run_of):
    with pytest.raises(CheckpointError, match="upsample_initial_channel is 16, expected 32"):
        run_of(training_config.replace({"upsample_initial_channel": 32}), "theirs", 5)
    (theirs / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"none of its g_\* and do_\* files can be used"):
        run_of(training_config.replace({"upsample_initial_channel": 32}), "theirs", 5)


def test_g_files_alone_start_a_new_run(theirs, training_config, run_of, leaves, caplog):
    (theirs / "do_00000003").unlink()
    run = run_of(training_config, "theirs", 1)
    assert "no do_* of the same step as its g_*: not resumed" in caplog.text
    assert leaves(run, 1)["training"]["step"] == 1


def discriminator(leaves):
    return {name: leaf for name, leaf in leaves["training"].items() if name.startswith("discriminator/params")}


@pytest.mark.parametrize("source", ["ours", "theirs", "theirs/g_00000003"])
def test_fine_tuning_takes_the_discriminators_saved_with_the_generator(source, theirs, training_config, tmp_path, leaves):
    still = {"checkpoint_path": str(tmp_path / "fine"), "max_steps": 1, "learning_rate": 1e-30}
    train(training_config.replace(still), str(tmp_path / source))
    before, after = leaves(tmp_path / "ours", 4), leaves(tmp_path / "fine", 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), after["generator"], before["generator"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), discriminator(after), discriminator(before))
    assert after["training"]["step"] == after["training"]["generator/moments/0/count"] == 1


@pytest.mark.parametrize(
    ("periods", "reason"),
    [((2, 3), "no discriminators saved with it"), ((2, 5), "its discriminators do not match --config")],
)
def test_fine_tuning_starts_from_random_discriminators_if_none_match(
    periods, reason, theirs, training_config, tmp_path, leaves, caplog
):
    if periods == (2, 3):
        (theirs / "do_00000003").unlink()
    still = {"checkpoint_path": str(tmp_path / "fine"), "max_steps": 1, "learning_rate": 1e-30, "mpd_periods": periods}
    train(training_config.replace(still), str(theirs))
    assert f"{reason}: starting with random ones" in caplog.text
    of_ours, of_fine = (discriminator(leaves(tmp_path / run, step)) for run, step in (("ours", 4), ("fine", 1)))
    assert max(np.abs(of_ours[name] - of_fine[name]).max() for name in of_ours) > 1e-4


@pytest.mark.parametrize("epoch", [0, 1, 100, 3099])
def test_the_learning_rate_is_exact_to_the_rounding_of_its_dtype(epoch, training_config, float64):
    config = training_config
    exact = config.optimization.learning_rate * config.optimization.lr_decay**epoch
    rate = learning_rate(config.optimization)
    assert abs(float(rate(np.int32(epoch))) - exact) <= 1e-15 * exact * max(epoch, 1)
    with jax.enable_x64(False):
        assert abs(float(rate(np.int32(epoch))) - exact) <= 4e-7 * exact


@pytest.mark.parity
def test_the_learning_rate_is_torch_s_straight_and_resumed(training_config, float64):
    torch = pytest.importorskip("torch")
    config = training_config

    def start():
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=config.optimization.learning_rate)
        return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, config.optimization.lr_decay)

    optimizer, scheduler = start()
    for epoch in range(600):
        assert abs(float(learning_rate(config.optimization)(epoch)) - optimizer.param_groups[0]["lr"]) <= 1e-12
        optimizer.step()
        scheduler.step()
        if epoch == 300:
            states = optimizer.state_dict(), scheduler.state_dict()
            optimizer, scheduler = start()
            optimizer.load_state_dict(states[0])
            scheduler.load_state_dict(states[1])
