"""The training program: restore, iterate, log, validate, save, stop on a signal."""

import hashlib
import logging
import math
import os
from pathlib import Path

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hifigan_jax import checkpoint, data
from hifigan_jax.config import Config, save_config
from hifigan_jax.errors import DiskError, HifiganError
from hifigan_jax.recordings import Corpus, load_corpus
from hifigan_jax.training.distributed import AnyProcess, first_process_first
from hifigan_jax.training.initial_state import InitialState, Position
from hifigan_jax.training.logging import MetricsLog, Timer, progress_line, tagged
from hifigan_jax.training.setup import mesh_over, train_step
from hifigan_jax.training.state import to_parts
from hifigan_jax.training.step import AXIS
from hifigan_jax.training.stop import StopRequest
from hifigan_jax.training.validation import Validator
from hifigan_jax.weights.reference_run import find_pairs

logger = logging.getLogger(__name__)


class TrainingDiverged(HifiganError):
    """A loss became NaN or infinite."""


def train(config: Config, finetune_from: str | None = None) -> None:
    """Trains until max_steps or training_epochs, or until a signal asks it to stop; resumes from the run's newest checkpoint.

    Raises one of our errors for whatever the user can mend; nothing is lost then but the steps since the last checkpoint.
    """
    mesh = mesh_over(config)
    with first_process_first():
        run = _open_run(config)
        corpus = load_corpus(config, run / "recordings.json")
    with StopRequest() as stop:
        Run(config, run, corpus, mesh, finetune_from).go(stop)


class Run:
    """A run in progress: its state on the devices and where it stands."""

    def __init__(self, config: Config, folder: Path, corpus: Corpus, mesh: Mesh, finetune_from: str | None):
        self.config, self.folder, self.corpus = config, folder, corpus
        self.per_epoch = corpus.batches_per_epoch(config.optimization.batch_size)
        self.data = {"training_files": _fingerprint(corpus), "batch_size": config.optimization.batch_size}
        replicated = NamedSharding(mesh, PartitionSpec())
        self.sharded = NamedSharding(mesh, PartitionSpec(AXIS))
        self.any_process, self.stopping = AnyProcess(mesh), False
        initial = InitialState(config, folder, self.data, self.per_epoch, replicated)
        self.state, self.at = initial.state(finetune_from)
        self.train_step = train_step(config, self.per_epoch, mesh)
        self.saved_at = self.at.step if self.at.step else None
        self.writes = jax.process_index() == 0
        self.log = MetricsLog(folder, self.at.step) if self.writes else None
        self.validator = Validator(config, corpus.validation, self.log) if self.writes else None

    def go(self, stop: StopRequest) -> None:
        """Steps until the end."""
        self._introduce()
        if self._finished():
            logger.info("nothing to do: the run is at step %d, epoch %d", self.at.step, self.at.epoch)
            return
        batches = data.training_batches(self.corpus, self.config, jax.process_index(), jax.process_count())
        place = self.at.epoch * self.per_epoch + self.at.batch_in_epoch
        stream = data.iterate(batches, place, self.config.data.num_workers)
        row, timer = None, Timer()
        if self.at.step == 0:
            self._validate()
        while not self._finished() and not self._stops(stop):
            batch = jax.tree.map(lambda rows: jax.make_array_from_process_local_data(self.sharded, rows), next(stream))
            if self.at.batch_in_epoch == 0 and self.writes and self.per_epoch >= self.config.run.stdout_interval:
                print(f"Epoch: {self.at.epoch + 1}", flush=True)
            self.state, metrics = self.train_step(self.state, batch)
            timer.count()
            if row is not None:  # the scalars of the step before, fetched while the devices are busy with this one
                self._report(*row, timer)
            self.at = self._next_position()
            row = (self.at, metrics)
            if self._due(self.config.run.validation_interval) or self._due(self.config.run.checkpoint_interval):
                self._report(*row, timer, resting=True)
                row = None
                if self._due(self.config.run.validation_interval):
                    self._validate()
                if self._due(self.config.run.checkpoint_interval):
                    self._save()
                timer.restart()
        self._end(row, timer)

    def _end(self, row, timer: Timer) -> None:
        if row is not None:
            self._report(*row, timer, resting=True)
        if self.stopping:
            logger.info("stopping at step %d, as asked", self.at.step)
        elif not self._due(self.config.run.validation_interval):
            self._validate()
        if self.saved_at != self.at.step:
            self._save()
        if self.log:
            self.log.close()

    def _report(self, at: Position, metrics: dict[str, jax.Array], timer: Timer, resting: bool = False) -> None:
        """Prints and writes what is due at `at`; where the run rests, to validate, to save or to end, it always writes."""
        intervals = self.config.run
        prints, writes = at.step % intervals.stdout_interval == 0, at.step % intervals.summary_interval == 0 or resting
        if not (prints or writes):
            return
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise TrainingDiverged(
                f"step {at.step}: {', '.join(bad)} became NaN or infinite; the last checkpoint is step {self.saved_at or 0}:"
                " lower learning_rate, or look at the recordings"
            )
        if not self.writes:
            return
        seconds = timer.seconds_per_batch()
        if prints:
            print(progress_line(at.step, values, seconds), flush=True)
        if writes:
            self.log.scalars(at.step, tagged(values) | {"training/batch_seconds": seconds})

    def _validate(self) -> None:
        if self.validator:
            params = jax.tree.map(lambda leaf: leaf.addressable_data(0), self.state.generator.params)
            self.validator.run(params, self.at.step)

    def _save(self) -> None:
        checkpoint.save(
            self.folder, self.at.step, to_parts(self.state), self.config, self.data, keep=self.config.run.keep_checkpoints
        )
        self.saved_at = self.at.step
        logger.info("saved checkpoint %d", self.at.step)

    def _due(self, interval: int) -> bool:
        return self.at.step % interval == 0

    def _stops(self, stop: StopRequest) -> bool:
        self.stopping = self.any_process(stop.requested)
        return self.stopping

    def _finished(self) -> bool:
        return self.at.epoch >= self.config.run.training_epochs or self.at.step >= (self.config.run.max_steps or math.inf)

    def _next_position(self) -> Position:
        step, epoch, batch = self.at
        return Position(step + 1, epoch + 1, 0) if batch + 1 >= self.per_epoch else Position(step + 1, epoch, batch + 1)

    def _introduce(self) -> None:
        devices = jax.devices()
        networks = (self.state.generator, self.state.discriminator)
        sizes = [sum(leaf.size for leaf in jax.tree.leaves(network.params)) for network in networks]
        logger.info("%d x %s, jax %s", len(devices), devices[0].device_kind, jax.__version__)
        logger.info("generator %.2f million parameters, discriminators %.2f million", *(size / 1e6 for size in sizes))
        logger.info(
            "%d recordings to train on (%d batches an epoch), %d to validate on",
            len(self.corpus.training),
            self.per_epoch,
            len(self.corpus.validation),
        )


def _open_run(config: Config) -> Path:
    folder = Path(config.run.checkpoint_path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"{folder}: can't be created: {error.strerror} (--checkpoint_path)") from None
    for found in checkpoint.steps(folder, checkpoint.TRAINING)[:1]:
        checkpoint.check_same_model(found, config)
    if jax.process_index() == 0:
        checkpoint.clear_leftovers(folder)
        _keep_reference_config(folder, config)
        save_config(config, folder / "config.json")
    return folder


def _keep_reference_config(folder: Path, config: Config) -> None:
    """A run of the reference that lies here must be of the same model; its config.json is kept under another name."""
    theirs, kept = folder / "config.json", folder / "config_reference.json"
    if find_pairs(folder) and theirs.is_file() and not kept.exists():
        checkpoint.check_same_model(folder, config)
        theirs.replace(kept)


def _fingerprint(corpus: Corpus) -> str:
    names = "\n".join(f"{Path(recording.path).name} {recording.frames}" for recording in corpus.training)
    return hashlib.sha256(os.fsencode(names)).hexdigest()
