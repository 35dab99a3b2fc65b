"""The training program: restore, iterate, log, validate, save, stop on a signal."""

import contextlib
import hashlib
import logging
import math
import os
from pathlib import Path

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hifigan_jax import data, faults
from hifigan_jax.config import Config
from hifigan_jax.errors import HifiganError
from hifigan_jax.files import clear_temporary
from hifigan_jax.printing import Printer
from hifigan_jax.processes import worst
from hifigan_jax.recordings import Corpus, load_corpus
from hifigan_jax.runtime import explaining_memory
from hifigan_jax.training.distributed import AnyProcess, first_process_first
from hifigan_jax.training.initial_state import InitialState, Position
from hifigan_jax.training.logging import MetricsLog, Timer, progress_line, tagged
from hifigan_jax.training.run_folder import open_run_folder
from hifigan_jax.training.run_lock import locked
from hifigan_jax.training.saving import Saver
from hifigan_jax.training.setup import mesh_over, train_step
from hifigan_jax.training.state import to_parts
from hifigan_jax.training.step import AXIS
from hifigan_jax.training.stop import Stopped, StopRequest
from hifigan_jax.training.validation import Validator
from hifigan_jax.training.validation_metrics import check_metrics

logger = logging.getLogger(__name__)


class TrainingDiverged(HifiganError):
    """A loss became NaN or infinite."""


def train(config: Config, finetune_from: str | None = None, stop: StopRequest | None = None) -> None:
    """Trains until max_steps, training_epochs or a stop signal; resumes from the run's newest checkpoint.

    `stop` is the caller's, if signals are already handled. Raises a HifiganError for anything that the user can fix; only the
    steps since the last checkpoint are lost then.
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
        replicated = NamedSharding(mesh, PartitionSpec())
        self.sharded = NamedSharding(mesh, PartitionSpec(AXIS))
        self.any_process, self.stopping = AnyProcess(mesh), False
        initial = InitialState(config, folder, self.data, self.per_epoch, replicated)
        self.state, self.position = initial.state(finetune_from)
        self.train_step = train_step(config, self.per_epoch, mesh)
        self.saver, self.saved_at = Saver(folder, config), self.position.step or None
        self.is_writer = jax.process_index() == 0
        self.printer = Printer("training continues")
        self.log = MetricsLog(folder, self.position.step) if self.is_writer else None
        self.validator = Validator(config, corpus.validation, self.log) if self.is_writer else None

    def run(self, stop: StopRequest) -> None:
        """Trains until the run is finished or a stop is requested."""
        self._log_setup()
        if self._finished():
            logger.info("nothing to do: the run has reached step %d, epoch %d", self.position.step, self.position.epoch)
            return
        batches = data.training_batches(self.corpus, self.config, jax.process_index(), jax.process_count())
        start = self.position.epoch * self.per_epoch + self.position.batch_in_epoch
        stream = data.iterate(batches, start, self.config.data.num_workers)
        if self.position.step == 0:
            self._validate(stop)
        pending, timer = None, Timer()  # pending: position and scalars that are not yet reported
        while not self._finished() and not self._should_stop(stop):
            batch = jax.tree.map(lambda rows: jax.make_array_from_process_local_data(self.sharded, rows), next(stream))
            if self.position.batch_in_epoch == 0 and self.is_writer and self.per_epoch >= self.config.run.stdout_interval:
                self.printer(f"Epoch: {self.position.epoch + 1}")
            faults.no_memory("out_of_memory.training")
            self.state, metrics = self.train_step(self.state, batch)
            timer.count()
            if pending is not None:  # fetches the previous step's scalars while the devices compute this one
                self._report(*pending, timer)
            self.position = self._next_position()
            pending = (self.position, metrics)
            if self._due(self.config.run.validation_interval) or self._due(self.config.run.checkpoint_interval):
                self._report(*pending, timer, always_write=True)
                pending = None
                if self._due(self.config.run.validation_interval):
                    self._validate(stop)
                if self._due(self.config.run.checkpoint_interval):
                    self._save()
                timer.restart()
        self._end(pending, timer, stop)

    def _end(self, pending, timer: Timer, stop: StopRequest) -> None:
        if pending is not None:
            self._report(*pending, timer, always_write=True)
        if self.stopping:
            logger.info("stopping at step %d, as requested", self.position.step)
        elif not self._due(self.config.run.validation_interval):
            self._validate(stop)
        if self.saved_at != self.position.step:
            self._save(last=True)
        if self.log:
            self.log.close()

    def _report(self, position: Position, metrics: dict[str, jax.Array], timer: Timer, always_write: bool = False) -> None:
        """Prints and writes what is due at `position`; `always_write` before the run validates, saves or ends."""
        intervals = self.config.run
        prints = position.step % intervals.stdout_interval == 0
        writes = position.step % intervals.summary_interval == 0 or always_write
        if not (prints or writes):
            return
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            last = "no checkpoint was saved" if self.saved_at is None else f"the last checkpoint is step {self.saved_at}"
            raise TrainingDiverged(
                f"step {position.step}: {', '.join(bad)} became NaN or infinite; {last}:"
                " lower learning_rate or check the recordings"
            )
        if not self.is_writer:
            return
        seconds = timer.seconds_per_batch()
        if prints:
            self.printer(progress_line(position.step, values, seconds))
        if writes:
            self.log.scalars(position.step, tagged(values) | {"training/batch_seconds": seconds})

    def _validate(self, stop: StopRequest) -> None:
        if self.validator:
            params = jax.tree.map(lambda leaf: leaf.addressable_data(0), self.state.generator.params)
            self.validator.run(params, self.position.step, stop)

    def _save(self, last: bool = False) -> None:
        if self.saver.save(self.position.step, to_parts(self.state), self.data, last):
            self.saved_at = self.position.step

    def _due(self, interval: int) -> bool:
        return self.position.step % interval == 0

    def _should_stop(self, stop: StopRequest) -> bool:
        self.stopping = self.any_process(stop.requested)
        return self.stopping

    def _finished(self) -> bool:
        step, epoch, _ = self.position
        return epoch >= self.config.run.training_epochs or step >= (self.config.run.max_steps or math.inf)

    def _next_position(self) -> Position:
        step, epoch, batch = self.position
        return Position(step + 1, epoch + 1, 0) if batch + 1 >= self.per_epoch else Position(step + 1, epoch, batch + 1)

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
