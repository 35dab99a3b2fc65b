"""The health of a run: steps that were skipped, and returns to the last good checkpoint."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hifigan_jax import checkpoint, run_checkpoints
from hifigan_jax.config.sections import Run
from hifigan_jax.errors import CheckpointError, HifiganError

logger = logging.getLogger(__name__)

NAMED_RECORDINGS = 64  # in the log line of a skipped step


class Diverged(Exception):
    """Training cannot continue from its current state; the message is the reason."""


class TrainingDiverged(HifiganError):
    """Training did not recover from NaN or infinite values."""


class History(NamedTuple):
    """What a run has gone through. Saved in its checkpoints, so that a resumed run takes the same decisions."""

    data_order: int = 0  # every rollback starts another order
    skipped_steps: int = 0
    skipped_in_a_row: int = 0  # the newest of them, without a good step since

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "History":
        """The history in a checkpoint's description of its data; checkpoints of older versions have none."""
        return cls(**data["history"]) if "history" in data else cls()


class Health:
    """Counts the skipped steps of a run and decides when it must return to its last good checkpoint, and when it must stop."""

    def __init__(self, options: Run, history: History):
        self.options, self.history = options, history
        self.rollbacks = 0  # since the last checkpoint was saved

    def good_step(self) -> None:
        """Ends a row of skipped steps."""
        self.history = self.history._replace(skipped_in_a_row=0)

    def skipped_step(self, step: int, losses: Mapping[str, float], recordings: Sequence[str]) -> None:
        """Counts and logs a skipped step. Raises Diverged if it is the last of max_skipped_steps in a row."""
        order, total, in_a_row = self.history
        self.history = History(order, total + 1, in_a_row + 1)
        what = "NaN or infinite " + (", ".join(n for n, value in losses.items() if not math.isfinite(value)) or "gradients")
        names = [Path(path).name for path in recordings[:NAMED_RECORDINGS]] + ["..."] * (len(recordings) > NAMED_RECORDINGS)
        logger.warning("step %d skipped: %s (recordings: %s)", step, what, ", ".join(names))
        if in_a_row + 1 >= self.options.max_skipped_steps:
            raise Diverged(f"step {step}: {in_a_row + 1} steps in a row were skipped ({what})")

    def saved(self) -> None:
        """Notes that a checkpoint was saved."""
        self.rollbacks = 0

    def roll_back(self, reason: Diverged, saved_at: int | None) -> None:
        """Counts a return to the last good checkpoint. Raises TrainingDiverged after max_rollbacks of them."""
        if self.rollbacks >= self.options.max_rollbacks:
            times = f" with each of {self.rollbacks + 1} data orders" if self.rollbacks else ""
            kept = "no checkpoint was saved" if saved_at is None else f"the checkpoint of step {saved_at} is intact"
            raise TrainingDiverged(f"{reason}{times}; {kept}: lower learning_rate, or check the recordings named above")
        self.rollbacks += 1
        order, total, _ = self.history
        self.history = History(order + 1, total, 0)


def delete_unsettled(run: Path) -> None:
    """Deletes the newest checkpoints of a run that were saved between skipped steps: their state may be what makes steps fail."""
    for folder in run_checkpoints.steps(run, checkpoint.TRAINING):
        try:
            history = History.of(checkpoint.read_manifest(folder).data)
        except CheckpointError:
            continue
        if not history.skipped_in_a_row:
            return
        run_checkpoints.delete(folder)
