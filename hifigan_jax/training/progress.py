"""What a run prints and logs while it trains. Only the first of several processes does so."""

from collections.abc import Mapping
from pathlib import Path

import jax

from hifigan_jax.config.sections import Run
from hifigan_jax.printing import Printer
from hifigan_jax.set_aside import SetAside
from hifigan_jax.training.health import History
from hifigan_jax.training.logging import MetricsLog, Timer, progress_line, tagged


class Progress:
    """The outputs of a run that starts at `step`. `log` is None in all processes but the first."""

    def __init__(self, options: Run, folder: Path, step: int, set_aside: SetAside):
        self.options, self.folder, self.set_aside = options, folder, set_aside
        self.timer, self.printer = Timer(), Printer("training continues")
        self.log = MetricsLog(folder, step) if jax.process_index() == 0 else None

    def epoch(self, number: int, batches: int) -> None:
        """Prints the number of an epoch that starts, unless epochs are shorter than stdout_interval."""
        if self.log and batches >= self.options.stdout_interval:
            self.printer(f"Epoch: {number}")

    def step(self, step: int, losses: Mapping[str, jax.Array], always_write: bool) -> None:
        """Prints and writes the losses of a step if they are due; `always_write` before the run validates, saves or ends."""
        prints = step % self.options.stdout_interval == 0
        writes = step % self.options.summary_interval == 0 or always_write
        if self.log is None or not (prints or writes):
            return
        values, seconds = numbers(losses), self.timer.seconds_per_batch()
        if prints:
            self.printer(progress_line(step, values, seconds))
        if writes:
            gone = {"training/recordings_set_aside": float(len(self.set_aside))} if self.set_aside else {}
            self.log.scalars(step, tagged(values) | {"training/batch_seconds": seconds} | gone)

    def skipped(self, step: int, total: int) -> None:
        """Writes the number of steps skipped so far; the losses of a skipped step are no numbers."""
        if self.log:
            self.log.scalars(step, {"training/skipped_steps": float(total)})

    def rolled_back(self, step: int, history: History) -> None:
        """Removes what was written after `step`: the run continues from there."""
        self.timer = Timer()
        if self.log:
            self.log.close()
            self.log = MetricsLog(self.folder, step)
            rollbacks = {"training/rollbacks": float(history.data_order)}
            self.log.scalars(step, {"training/skipped_steps": float(history.skipped_steps)} | rollbacks)

    def close(self) -> None:
        """Writes everything that is still buffered."""
        if self.log:
            self.log.close()


def numbers(losses: Mapping[str, jax.Array]) -> dict[str, float]:
    """The losses as Python numbers. Waits until the devices have computed them."""
    return {name: float(value) for name, value in jax.device_get(losses).items()}
