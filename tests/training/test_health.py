"""NaN and infinite values: the step is skipped, the run goes back to its last good checkpoint; if that does not help, it ends."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax import checkpoint, faults, run_checkpoints
from hifigan_jax.config.sections import Run
from hifigan_jax.data import Batch
from hifigan_jax.errors import CheckpointError
from hifigan_jax.training import loop
from hifigan_jax.training.health import Diverged, Health, History, TrainingDiverged
from hifigan_jax.training.setup import first_state, mesh_over, train_step
from hifigan_jax.trees import first_non_finite, named_leaves

# --- the step -------------------------------------------------------------------------------------------------------------------

# Each fails at a step of its own, and the last one at ten in a row: one program for all.
POINTS = ("loss.discriminator", "discriminator_gradient", "loss.adversarial", "loss.feature_matching", "loss.mel")
LAST = "generator_gradient"


@pytest.fixture(scope="module")
def poisoned(shared_tiny_config):
    """A training step with all fault points, its configuration, and its first state on the host."""
    from hifigan_jax.models.discriminators.scale.config import ScaleDiscriminatorConfig

    build = ScaleDiscriminatorConfig.build
    entries = [f"{point}:{2 * number}" for number, point in enumerate(POINTS, 1)] + [f"{LAST}:21-30"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(faults.VARIABLE, ",".join(entries))
        patch.setattr(ScaleDiscriminatorConfig, "build", lambda *arguments: build(*arguments)[:1])  # the one with spectral norm
        config = shared_tiny_config.replace({"discriminators": ("mpd", "msd"), "discriminator_channel_mult": 0.125})
        step = train_step(config, 2, mesh_over(config, jax.devices()[:1]))
        state = jax.device_get(jax.jit(lambda: first_state(config))())
        audio = jnp.asarray(np.random.default_rng(0).normal(0, 0.1, (2, config.optimization.segment_size)), jnp.float32)
        step(jax.device_put(state), Batch(audio, None))
    return step, state, audio


def taken(poisoned, number, audio=None):
    """The state before the step of this number (from 1), after it, and the step's scalars."""
    step, first, usual = poisoned
    before = first._replace(step=np.int32(number - 1))
    after, metrics = step(jax.tree.map(jnp.array, before), Batch(usual if audio is None else audio, None))
    return before, jax.device_get(after), jax.device_get(metrics)


def assert_skipped(before, after, metrics):
    assert metrics["skipped"]
    assert (after.step, after.batch_in_epoch) == (before.step + 1, before.batch_in_epoch + 1)
    for name in ("generator", "discriminator", "spectral"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, name), getattr(before, name))


@pytest.mark.parametrize("number", range(1, len(POINTS) + 1), ids=POINTS)
def test_a_step_with_a_nan_leaves_both_networks_unchanged(poisoned, number):
    before, after, metrics = taken(poisoned, 2 * number)
    assert_skipped(before, after, metrics)
    loss = POINTS[number - 1].removeprefix("loss.")
    assert loss not in metrics or np.isnan(metrics[loss])


def test_ten_steps_with_nan_gradients_of_the_generator_leave_both_networks_unchanged(poisoned):
    step, first, audio = poisoned
    after = before = first._replace(step=np.int32(20))
    for _ in range(10):
        after, metrics = jax.device_get(step(jax.tree.map(jnp.array, after), Batch(audio, None)))
        assert metrics["skipped"]
        assert np.isfinite(list(metrics.values())).all()
    assert (after.step, after.epoch) == (30, 5)
    for name in ("generator", "discriminator", "spectral"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, name), getattr(before, name))
    assert not step(jax.tree.map(jnp.array, after), Batch(audio, None))[1]["skipped"]


def test_other_steps_change_both_networks(poisoned):
    before, after, metrics = taken(poisoned, 1)
    assert not metrics["skipped"]
    for name in ("generator", "discriminator", "spectral"):
        old, new = (named_leaves(getattr(state, name)) for state in (before, after))
        assert any((old[leaf] != new[leaf]).any() for leaf in old), name
        assert first_non_finite(new) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_batch_with_a_value_that_is_not_finite_is_skipped(poisoned, value):
    assert_skipped(*taken(poisoned, 1, poisoned[2].at[1, 7].set(value)))


def test_finite_gradients_whose_squares_overflow_are_skipped(poisoned):
    before, after, metrics = taken(poisoned, 1, poisoned[2] * 1e13)
    assert np.isfinite(list(metrics.values())).all()
    assert_skipped(before, after, metrics)


# --- the decisions --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def health():
    return Health(Run(max_skipped_steps=2, max_rollbacks=1), History())


def test_good_steps_end_a_row_of_skipped_ones(health, caplog):
    for step in (3, 5, 7):
        health.skipped_step(step, {"mel": np.nan, "generator": 1.0}, ["in/a.wav", "in/b.wav"])
        health.good_step()
    assert health.history == History(0, 3, 0)
    assert caplog.messages[1] == "step 5 skipped: NaN or infinite mel (recordings: a.wav, b.wav)"


def test_too_many_skipped_steps_in_a_row_end_in_a_rollback_and_too_many_rollbacks_end_the_run(health):
    for rollbacks in range(2):
        health.skipped_step(8, {"mel": 1.0}, ["a.wav"])
        with pytest.raises(Diverged) as caught:
            health.skipped_step(9, {"mel": 1.0}, ["a.wav"])
        if rollbacks == 0:
            health.roll_back(caught.value, 6)
            assert health.history == History(1, 2, 0)
    with pytest.raises(TrainingDiverged) as stopped:
        health.roll_back(caught.value, 6)
    assert str(stopped.value) == (
        "step 9: 2 steps in a row were skipped (NaN or infinite gradients) with each of 2 data orders;"
        " the checkpoint of step 6 is intact: lower learning_rate, or check the recordings named above"
    )


def test_rollbacks_are_counted_from_the_last_checkpoint(health):
    for order in (1, 2, 3):
        health.roll_back(Diverged("x"), 6)
        assert health.history.data_order == order
        health.saved()


def test_the_history_of_an_older_checkpoint_is_empty():
    assert History.of({"batch_size": 16}) == History()
    assert History.of({"history": {"data_order": 1, "skipped_steps": 12, "skipped_in_a_row": 2}}) == History(1, 12, 2)


# --- runs -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(training_config):
    limits = {"max_skipped_steps": 3, "max_rollbacks": 1, "validation_interval": 100}
    return training_config.replace({"checkpoint_interval": 2} | limits)


@pytest.fixture
def fault(monkeypatch):
    faults._visits.clear()
    yield lambda value: (faults._visits.clear(), monkeypatch.setenv(faults.VARIABLE, value))
    faults._visits.clear()


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def trained(run):
    """The steps whose losses are in the log."""
    return [row["step"] for row in rows(run) if "training/gen_loss_total" in row]


def history(run, step):
    return checkpoint.read_manifest(run / "checkpoints" / f"{step:08d}").data["history"]


def test_a_run_continues_after_a_batch_of_nan(config, run_of, fault, caplog, leaves):
    fault("batch:4")
    run = run_of(config, "run", 6)
    assert trained(run) == [1, 2, 3, 5, 6]
    assert [(row["step"], row["training/skipped_steps"]) for row in rows(run) if "training/skipped_steps" in row] == [(4, 1.0)]
    (warning,) = (message for message in caplog.messages if "skipped" in message)
    assert warning.startswith("step 4 skipped: NaN or infinite adversarial, discriminator, ")
    assert warning.count(".flac") == 2
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["00000002", "00000005", "00000006"]  # 4 waits for 5
    assert history(run, 6) == {"data_order": 0, "skipped_steps": 1, "skipped_in_a_row": 0}
    assert all(first_non_finite(part) is None for part in leaves(run, 6).values())


def test_a_run_goes_back_to_its_last_good_checkpoint_and_resumes_from_there_bit_for_bit(config, run_of, fault, caplog, leaves):
    fault("batch:4-6")
    straight = run_of(config, "straight", 9)
    assert trained(straight) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert "training continues from step 2 with data order 1" in caplog.text
    (rollback,) = (row for row in rows(straight) if "training/rollbacks" in row)
    assert rollback == {"step": 2, "training/skipped_steps": 3.0, "training/rollbacks": 1.0}
    assert history(straight, 9) == {"data_order": 1, "skipped_steps": 3, "skipped_in_a_row": 0}
    fault("batch:4-6")
    resumed = run_of(config, "resumed", 7)
    fault("batch:1000")
    run_of(config, "resumed", 9)
    jax.tree.map(np.testing.assert_array_equal, leaves(resumed, 9), leaves(straight, 9))
    fault("batch:1000")
    undisturbed = run_of(config, "undisturbed", 3)
    assert rows(undisturbed)[3]["training/gen_loss_total"] != rows(straight)[4]["training/gen_loss_total"]  # step 3: other data


def test_a_run_that_rollbacks_do_not_help_stops_with_its_last_good_checkpoint(config, run_of, fault, leaves, tmp_path):
    expected = leaves(run_of(config, "good", 2), 2)
    fault("batch:3-")
    with pytest.raises(TrainingDiverged, match="the checkpoint of step 2 is intact"):
        run_of(config, "run", 9)
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    jax.tree.map(np.testing.assert_array_equal, leaves(tmp_path / "run", int(saved.name)), expected)


def test_a_run_without_a_checkpoint_goes_back_to_its_initial_state(config, run_of, fault, leaves):
    fault("batch:1-3")
    run = run_of(config, "run", 4)
    assert history(run, 4) == {"data_order": 1, "skipped_steps": 3, "skipped_in_a_row": 0}
    assert [row["step"] for row in rows(run)] == [0, 0, 1, 2, 3, 4, 4]  # validation, rollback; losses, validation


def test_a_checkpoint_saved_between_skipped_steps_is_not_one_to_go_back_to(config, run_of, fault):
    fault("batch:4-6")
    run = run_of(config, "run", 5)  # ends between them
    assert history(run, 5)["skipped_in_a_row"] == 2
    fault("batch:1")
    run_of(config, "run", 7)
    assert history(run, 7) == {"data_order": 1, "skipped_steps": 3, "skipped_in_a_row": 0}
    assert trained(run) == [1, 2, 3, 4, 5, 6, 7]
    assert not (run / "checkpoints" / "00000005").exists()


def test_a_run_whose_checkpoints_are_gone_does_not_go_back_to_its_initial_state(config, run_of, fault, monkeypatch, tmp_path):
    saved = Health.saved

    def removed(health):
        shutil.rmtree(tmp_path / "run" / "checkpoints")
        saved(health)

    monkeypatch.setattr(Health, "saved", removed)
    fault("batch:3-5")
    with pytest.raises(CheckpointError, match="3 steps in a row .*run: the checkpoint of step 2 is gone: put it back"):
        run_of(config, "run", 6)


def test_a_stop_between_skipped_steps_does_not_cost_the_checkpoint_to_go_back_to(config, run_of, fault):
    config = config.replace({"keep_checkpoints": 1})
    fault("batch:4-6")
    run = run_of(config, "run", 5)  # ends between them
    fault("batch:1")
    run_of(config, "run", 7)
    assert trained(run) == [1, 2, 3, 4, 5, 6, 7]
    assert [folder.name for folder in run_checkpoints.steps(run, checkpoint.TRAINING)] == ["00000007"]


@pytest.mark.parametrize("interval", ["checkpoint_interval", "validation_interval"])
def test_a_state_that_is_not_finite_is_neither_saved_nor_validated(config, run_of, monkeypatch, caplog, leaves, interval):
    make = loop.train_step
    steps = iter(range(1, 100))

    def broken(*arguments):
        step = make(*arguments)

        def broken_step(state, batch):
            state, metrics = step(state, batch)
            if next(steps) == 4:
                state = state._replace(spectral={"u": jnp.full(3, jnp.nan)} | state.spectral)
            return state, metrics

        return broken_step

    monkeypatch.setattr(loop, "train_step", broken)
    intervals = {"checkpoint_interval": 100, "validation_interval": 100, "summary_interval": 100}
    run = run_of(config.replace(intervals | {interval: 2}), "run", 6)
    assert "step 4: training/spectral/u contains NaN or infinite values: training continues from step" in caplog.text
    assert all(first_non_finite(part) is None for part in leaves(run, 6).values())
