"""The outputs of a run: the reference's progress line on stdout, metrics.jsonl, TensorBoard."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hifigan_jax.losses import TERMS
from hifigan_jax.training.metrics_file import MetricsFile

logger = logging.getLogger(__name__)

# The reference's TensorBoard tags of the step's scalars that are not loss terms.
_TAGS = {
    "generator": "training/gen_loss_total",
    "discriminator": "training/disc_loss_total",
    "learning_rate": "training/learning_rate",
}


def tagged(metrics: Mapping[str, float]) -> dict[str, float]:
    """The step's scalars under their TensorBoard tags."""
    return {_TAGS[name] if name in _TAGS else TERMS[name].tag: value for name, value in metrics.items()}


def progress_line(step: int, metrics: Mapping[str, float], seconds_per_batch: float) -> str:
    """The reference's progress line. `step` is the number of updates done; the reference counts from 0."""
    labels = {"Gen Loss Total": metrics["generator"]} | {
        term.label: metrics[name] for name, term in TERMS.items() if term.label is not None and name in metrics
    }
    values = [f"{label} : {value:4.3f}" for label, value in labels.items()]
    return ", ".join([f"Steps : {step:d}", *values, f"s/b : {seconds_per_batch:4.3f}"])


class MetricsLog:
    """metrics.jsonl and TensorBoard's event files of a run that starts at `step`. Whatever cannot be written, the run continues.

    What an earlier run logged after `step` is removed: those steps are trained again.
    """

    def __init__(self, run: Path, step: int):
        self._metrics = MetricsFile(run / "metrics.jsonl", step)
        self._board = _tensorboard(run / "logs", step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one line, and one point per value to TensorBoard."""
        self._metrics.add(step, values)
        if self._board is not None:
            self._board.scalars(step, values)

    def audio(self, tag: str, samples: np.ndarray, step: int, sampling_rate: int) -> None:
        """Writes audio to listen to in TensorBoard."""
        if self._board is not None:
            self._board.audio(tag, samples.clip(-1, 1), step, sampling_rate)

    def close(self) -> None:
        """Attempts once more to write what could not be written."""
        self._metrics.flush()


class Timer:
    """Measures seconds per batch, without the first batch, which waits for the compiler."""

    def __init__(self):
        self.mean: float | None = None
        self.restart()

    def restart(self) -> None:
        """Discards the batches counted so far."""
        self.since, self.batches = time.perf_counter(), 0

    def count(self) -> None:
        """Counts one batch."""
        if self.mean is None:  # the first: its time is reported only if no other has been measured
            self.mean = time.perf_counter() - self.since
            self.restart()
        else:
            self.batches += 1

    def seconds_per_batch(self) -> float:
        """Returns the mean since the last restart and restarts; without a batch since then, returns the previous mean.

        A run that pauses or ends reports its last step right after the step before, with no batch in between.
        """
        if self.batches:
            self.mean = (time.perf_counter() - self.since) / self.batches
        self.restart()
        return self.mean or 0.0


def _tensorboard(folder: Path, step: int):
    try:
        from hifigan_jax.training.event_file import EventFile
    except Exception as error:  # it is missing, or its dependencies do not match
        reason = "is not installed" if isinstance(error, ImportError) else f"cannot be imported ({error!s:.100})"
        logger.warning("tensorboardX %s: no TensorBoard files are written; metrics.jsonl contains all values", reason)
        return None
    return EventFile(folder, step)
