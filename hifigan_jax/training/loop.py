"""The training program: restore, iterate, log, validate, save, stop on a signal."""

import contextlib
import functools
import hashlib
import logging
import math
import os
from pathlib import Path

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hifigan_jax import data, faults
from hifigan_jax.config import Config
from hifigan_jax.errors import CheckpointError, HifiganError
from hifigan_jax.files import clear_temporary
from hifigan_jax.processes import worst
from hifigan_jax.recordings import Corpus, load_corpus
from hifigan_jax.runtime import explaining_memory
from hifigan_jax.set_aside import SetAside
from hifigan_jax.training.batches import Batches
from hifigan_jax.training.distributed import AnyProcess, first_process_first
from hifigan_jax.training.health import Diverged, Health, delete_unsettled
from hifigan_jax.training.initial_state import InitialState, Position
from hifigan_jax.training.progress import Progress, numbers
from hifigan_jax.training.run_folder import open_run_folder
from hifigan_jax.training.run_lock import locked
from hifigan_jax.training.saving import Saver
from hifigan_jax.training.setup import mesh_over, train_step
from hifigan_jax.training.state import to_parts
from hifigan_jax.training.step import AXIS
from hifigan_jax.training.stop import Stopped, StopRequest
from hifigan_jax.training.validation import Validator
from hifigan_jax.training.validation_metrics import check_metrics
from hifigan_jax.trees import first_non_finite

logger = logging.getLogger(__name__)


def train(config: Config, finetune_from: str | None = None, stop: StopRequest | None = None) -> None:
    """Trains until max_steps, training_epochs or a stop signal; resumes from the run's newest checkpoint.

    `stop` is the caller's, if signals are already handled. Raises a HifiganError for anything that the user can fix; if too many
    recordings become unreadable in the middle of a run, a checkpoint is saved first.
    """
    check_metrics(config.run.validation_metrics)
    mesh, folder = mesh_over(config), Path(config.run.checkpoint_path)
    with contextlib.ExitStack() as held:
        stop = stop or held.enter_context(StopRequest())
        try:
            with first_process_first():
                if jax.process_index() == 0:
                    held.enter_context(locked(folder))
                stop.check()
                clear_temporary(folder)
                open_run_folder(config)
                corpus = load_corpus(config, folder / "recordings.json", stop.check)
            with explaining_memory(
                "lower batch_size or segment_size, raise accumulation_steps, or set rematerialize (docs/multi-host.md)"
            ):
                run = Run(config, folder, corpus, mesh, finetune_from)
                if worst(stop.requested):
                    raise Stopped
                run.run(stop)
        except Stopped:
            logger.info("stopped before the first step, as requested: there is nothing to save")


class Run:
    """A run in progress: its state on the devices and its position."""

    def __init__(self, config: Config, folder: Path, corpus: Corpus, mesh: Mesh, finetune_from: str | None):
        self.config, self.folder, self.corpus = config, folder, corpus
        self.per_epoch = corpus.batches_per_epoch(config.optimization.batch_size)
        self.data = {"training_files": _fingerprint(corpus), "batch_size": config.optimization.batch_size}
        initial = InitialState(config, folder, self.data, self.per_epoch, NamedSharding(mesh, PartitionSpec()))
        self.initial_state = functools.partial(initial.state, finetune_from)
        self.state, self.position, history = self.initial_state()
        self.health, set_aside = Health(config.run, history), SetAside(folder / "set_aside.txt")
        self.batches = Batches(corpus, config, NamedSharding(mesh, PartitionSpec(AXIS)), set_aside)
        self.any_process, self.stopping, self.failure = AnyProcess(mesh), False, None
        self.train_step = train_step(config, self.per_epoch, mesh)
        self.saver, self.saved_at, self.save_postponed = Saver(folder, config), self.position.step or None, False
        self.progress = Progress(config.run, folder, self.position.step, set_aside)
        self.validator = Validator(config, corpus.validation, set_aside) if self.progress.log else None

    def run(self, stop: StopRequest) -> None:
        """Trains until the run is finished or a stop is requested."""
        self._log_setup()
        if self._finished():
            logger.info("nothing to do: the run has reached step %d, epoch %d", self.position.step, self.position.epoch)
            return
        try:
            while not self._ends_well(stop):
                pass
        finally:
            self.progress.close()
        if self.failure:
            raise self.failure

    def _ends_well(self, stop: StopRequest) -> bool:
        """Trains to the end and returns True, or goes back to the last good checkpoint and returns False."""
        try:
            self._train(stop)
        except Diverged as reason:
            self._roll_back(reason)
            return False
        return True

    def _train(self, stop: StopRequest) -> None:
        if self.position.step == 0 and not self.health.history.data_order:
            self._validate(stop)
        self.batches.start(self._batch_number(self.position), self.health.history.data_order)
        pending = None  # position and scalars that are not yet reported
        while not self._finished():
            batch = next(self.batches)
            self.failure = self.failure or self.batches.failure
            if self._should_stop(stop):
                break
            if self.position.batch_in_epoch == 0:
                self.progress.epoch(self.position.epoch + 1, self.per_epoch)
            faults.no_memory("out_of_memory.training")
            self.state, metrics = self.train_step(self.state, batch)
            self.progress.timer.count()
            if pending is not None:  # fetches the previous step's scalars while the devices compute this one
                self._report(*pending)
            self.position = self._next_position()
            pending = (self.position, metrics)
            if self._pauses():
                self._report(*pending, always_write=True)
                pending = None
                self._validate_and_save(stop)
                self.progress.timer.restart()
        if pending is not None:
            self._report(*pending, always_write=True)
        self._end(stop)

    def _end(self, stop: StopRequest) -> None:
        if self.stopping:
            logger.info("stopping at step %d%s", self.position.step, "" if self.failure else ", as requested")
        elif not self._due(self.config.run.validation_interval):
            self._validate(stop)
        if self.position.step and self.saved_at != self.position.step:
            self._save(last=True)

    def _report(self, position: Position, metrics: dict[str, jax.Array], always_write: bool = False) -> None:
        """Reports the step that led to `position`. Raises Diverged if too many steps in a row were skipped."""
        losses = {name: value for name, value in metrics.items() if name != "skipped"}
        if not jax.device_get(metrics["skipped"]):
            self.health.good_step()
            return self.progress.step(position.step, losses, always_write)
        total, order = self.health.history.skipped_steps + 1, self.health.history.data_order
        self.progress.skipped(position.step, total)
        batch = data.batch_paths(self.corpus, self.config, self._batch_number(position) - 1, order)
        self.health.skipped_step(position.step, numbers(losses), batch)

    def _roll_back(self, reason: Diverged) -> None:
        """Goes back to the last good checkpoint, or to the initial state, with another order of the data."""
        self.health.roll_back(reason, self.saved_at)
        self.state = None  # its memory is needed for the restored one
        with first_process_first():
            if self.progress.log:
                delete_unsettled(self.folder)
        self.state, self.position, _ = self.initial_state()
        if self.saved_at and not self.position.step:
            raise CheckpointError(f"{reason}; {self.folder}: the checkpoint of step {self.saved_at} is gone: put it back")
        self.saved_at, self.save_postponed = self.position.step or None, False
        history = self.health.history
        logger.warning("%s: training continues from step %d with data order %d", reason, self.position.step, history.data_order)
        self.progress.rolled_back(self.position.step, history)

    def _pauses(self) -> bool:
        intervals = self.config.run.validation_interval, self.config.run.checkpoint_interval
        return self.save_postponed or any(map(self._due, intervals))

    def _validate_and_save(self, stop: StopRequest) -> None:
        if self._due(self.config.run.validation_interval):
            self._validate(stop)
        due = self.save_postponed or self._due(self.config.run.checkpoint_interval)
        self.save_postponed = due and self.health.history.skipped_in_a_row > 0  # only a good step shows that the state is good
        if due and not self.save_postponed:
            self._save()

    def _validate(self, stop: StopRequest) -> None:
        if self.position.step:
            self._check_finite()
        if self.validator:
            params = jax.tree.map(lambda leaf: leaf.addressable_data(0), self.state.generator.params)
            try:
                self.validator.run(params, self.position.step, self.progress.log, stop)
            except HifiganError as error:  # the state is good: it is saved before the run ends
                self.failure = error

    def _save(self, last: bool = False) -> None:
        self._check_finite()
        history = self.health.history
        described = self.data | {"history": history._asdict()}
        if self.saver.save(self.position.step, to_parts(self.state), described, last, settled=not history.skipped_in_a_row):
            self.saved_at = self.position.step
            self.health.saved()

    def _check_finite(self) -> None:
        for part, leaves in to_parts(self.state).items():
            if (leaf := first_non_finite(leaves)) is not None:
                raise Diverged(f"step {self.position.step}: {part}/{leaf} contains NaN or infinite values")

    def _due(self, interval: int) -> bool:
        return self.position.step % interval == 0

    def _should_stop(self, stop: StopRequest) -> bool:
        self.stopping = self.any_process(stop.requested or self.failure is not None)
        return self.stopping

    def _finished(self) -> bool:
        step, epoch, _ = self.position
        return epoch >= self.config.run.training_epochs or step >= (self.config.run.max_steps or math.inf)

    def _next_position(self) -> Position:
        step, epoch, batch = self.position
        return Position(step + 1, epoch + 1, 0) if batch + 1 >= self.per_epoch else Position(step + 1, epoch, batch + 1)

    def _batch_number(self, position: Position) -> int:
        """The number of batches before `position`, over all epochs."""
        return position.epoch * self.per_epoch + position.batch_in_epoch

    def _log_setup(self) -> None:
        devices = jax.devices()
        networks = (self.state.generator, self.state.discriminator)
        sizes = [sum(leaf.size for leaf in jax.tree.leaves(network.params)) for network in networks]
        logger.info("%d x %s, jax %s", len(devices), devices[0].device_kind, jax.__version__)
        logger.info("generator %.2f million parameters, discriminators %.2f million", *(size / 1e6 for size in sizes))
        logger.info(
            "%d training recordings (%d batches per epoch), %d validation recordings",
            len(self.corpus.training),
            self.per_epoch,
            len(self.corpus.validation),
        )


def _fingerprint(corpus: Corpus) -> str:
    names = "\n".join(f"{Path(recording.path).name} {recording.samples}" for recording in corpus.training)
    return hashlib.sha256(os.fsencode(names)).hexdigest()
