"""The training program: restore, iterate, log, validate, save, stop on a signal."""

import hashlib
import logging
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from hifigan_jax import checkpoint, data
from hifigan_jax.config import MODEL_KEYS, Config, save_config
from hifigan_jax.errors import CheckpointError, DiskError, HifiganError, UsageError
from hifigan_jax.generator_source import load_generator
from hifigan_jax.mel import input_mel, loss_mel
from hifigan_jax.models import build_discriminator, build_generator
from hifigan_jax.recordings import Corpus, load_corpus
from hifigan_jax.training.logging import MetricsLog, Timer, progress_line, tagged
from hifigan_jax.training.state import TrainState, adamw, from_parts, initial_state, to_parts
from hifigan_jax.training.step import AXIS, make_train_step
from hifigan_jax.training.stop import StopRequest
from hifigan_jax.training.validation import Validator

logger = logging.getLogger(__name__)


class TrainingDiverged(HifiganError):
    """A loss became NaN or infinite."""


class Position(NamedTuple):
    """Where a run stands: updates done, and its place in the data. The host's copy of what TrainState holds."""

    step: int
    epoch: int
    batch_in_epoch: int


def train(config: Config, finetune_from: str | None = None) -> None:
    """Trains until max_steps or training_epochs, or until a signal asks it to stop; resumes from the run's newest checkpoint.

    Raises one of our errors for whatever the user can mend; nothing is lost then but the steps since the last checkpoint.
    """
    mesh = _mesh_over_all_devices(config)
    run = _open_run(config)
    corpus = load_corpus(config, run / "recordings.json")
    with StopRequest() as stop:
        Run(config, run, corpus, mesh, finetune_from).go(stop)


class Run:
    """A run in progress: its state on the devices and where it stands."""

    def __init__(self, config: Config, folder: Path, corpus: Corpus, mesh: Mesh, finetune_from: str | None):
        self.config, self.folder, self.corpus = config, folder, corpus
        self.per_epoch = corpus.batches_per_epoch(config.batch_size)
        self.data = {"training_files": _fingerprint(corpus), "batch_size": config.batch_size}
        self.replicated = NamedSharding(mesh, PartitionSpec())
        self.split = NamedSharding(mesh, PartitionSpec(AXIS))
        generator, discriminator, optimizer = build_generator(config), build_discriminator(config), adamw(config)
        self.initialise = jax.jit(
            lambda: initial_state(generator, discriminator, optimizer, config), out_shardings=self.replicated
        )
        self.state, self.at = self._restored() or self._fresh(finetune_from)
        self.train_step = make_train_step(
            generator=generator,
            discriminator=discriminator,
            optimizer=optimizer,
            input_mel=input_mel(config),
            loss_mel=loss_mel(config),
            loss_weights=config.loss_weights,
            learning_rate=lambda epoch: config.learning_rate * config.lr_decay**epoch,
            batches_per_epoch=self.per_epoch,
            mesh=mesh,
        )
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
        stream = data.iterate(batches, place, self.config.num_workers)
        row, timer = None, Timer()
        if self.at.step == 0:
            self._validate()
        while not self._finished() and not stop.requested:
            batch = jax.tree.map(lambda rows: jax.make_array_from_process_local_data(self.split, rows), next(stream))
            if self.at.batch_in_epoch == 0 and self.writes and self.per_epoch >= self.config.stdout_interval:
                print(f"Epoch: {self.at.epoch + 1}", flush=True)
            self.state, metrics = self.train_step(self.state, batch)
            timer.count()
            if row is not None:  # the scalars of the step before, fetched while the devices are busy with this one
                self._report(*row, timer)
            self.at = self._next_position()
            row = (self.at, metrics)
            if self._due(self.config.validation_interval) or self._due(self.config.checkpoint_interval):
                self._report(*row, timer, resting=True)
                row = None
                if self._due(self.config.validation_interval):
                    self._validate()
                if self._due(self.config.checkpoint_interval):
                    self._save()
                timer.restart()
        self._end(row, timer, stop)

    def _end(self, row, timer: Timer, stop: StopRequest) -> None:
        if row is not None:
            self._report(*row, timer, resting=True)
        if stop.requested:
            logger.info("stopping at step %d, as asked", self.at.step)
        elif not self._due(self.config.validation_interval):
            self._validate()
        if self.saved_at != self.at.step:
            self._save()
        if self.log:
            self.log.close()

    def _report(self, at: Position, metrics: dict[str, jax.Array], timer: Timer, resting: bool = False) -> None:
        """Prints and writes what is due at `at`; where the run rests, to validate, to save or to end, it always writes."""
        prints, writes = at.step % self.config.stdout_interval == 0, at.step % self.config.summary_interval == 0 or resting
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
            self.folder, self.at.step, to_parts(self.state), self.config, self.data, keep=self.config.keep_checkpoints
        )
        self.saved_at = self.at.step
        logger.info("saved checkpoint %d", self.at.step)

    def _due(self, interval: int) -> bool:
        return self.at.step % interval == 0

    def _finished(self) -> bool:
        return self.at.epoch >= self.config.training_epochs or self.at.step >= (self.config.max_steps or math.inf)

    def _next_position(self) -> Position:
        step, epoch, batch = self.at
        return Position(step + 1, epoch + 1, 0) if batch + 1 >= self.per_epoch else Position(step + 1, epoch, batch + 1)

    def _fresh(self, finetune_from: str | None) -> tuple[TrainState, Position]:
        state = self.initialise()
        if finetune_from is not None:
            given = load_generator(finetune_from)
            differing = [key for key in MODEL_KEYS if getattr(given.config, key) != getattr(self.config, key)]
            if differing:
                raise CheckpointError(f"{finetune_from}: another model than the configuration's: {', '.join(differing)} differ")
            params = jax.device_put(given.params, self.replicated)
            state = state._replace(generator=state.generator._replace(params=params))
            logger.info("starting from the generator of %s", given.source)
        return state, Position(0, 0, 0)

    def _restored(self) -> tuple[TrainState, Position] | None:
        found = checkpoint.steps(self.folder, checkpoint.TRAINING)
        if not found:
            return None
        checkpoint.check_same_model(found[0], self.config)
        shapes = jax.eval_shape(self.initialise)
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.replicated), shapes)
        for folder in found:
            try:
                parts = {name: checkpoint.restore(folder, name, leaves) for name, leaves in to_parts(target).items()}
                was = checkpoint.read_manifest(folder)["data"]
            except CheckpointError as error:
                logger.warning("%s; trying the one before", error)
                continue
            return self._at_its_place(from_parts(parts, shapes), was, folder)
        raise CheckpointError(f"{found[0].parent}: none of its checkpoints can be used; start anew in another --checkpoint_path")

    def _at_its_place(self, state: TrainState, was: dict[str, Any], folder: Path) -> tuple[TrainState, Position]:
        at = Position(*(int(value) for value in jax.device_get((state.step, state.epoch, state.batch_in_epoch))))
        if was != self.data and at.batch_in_epoch:
            logger.warning("the training files or the batch size have changed: going on with the next epoch")
            at = at._replace(epoch=at.epoch + 1, batch_in_epoch=0)
            place = jax.device_put((np.int32(at.epoch), np.int32(0)), self.replicated)
            state = state._replace(epoch=place[0], batch_in_epoch=place[1])
        logger.info("resuming from %s", folder)
        return state, at

    def _introduce(self) -> None:
        devices = jax.devices()
        sizes = [sum(leaf.size for leaf in jax.tree.leaves(player.params)) for player in self.state[3:5]]
        logger.info("%d x %s, jax %s", len(devices), devices[0].device_kind, jax.__version__)
        logger.info("generator %.2f million parameters, discriminators %.2f million", *(size / 1e6 for size in sizes))
        logger.info(
            "%d recordings to train on (%d batches an epoch), %d to validate on",
            len(self.corpus.training),
            self.per_epoch,
            len(self.corpus.validation),
        )


def _mesh_over_all_devices(config: Config) -> Mesh:
    devices = jax.device_count()
    if config.batch_size % devices:
        raise UsageError(f"batch_size {config.batch_size} can't be split evenly over {devices} devices: make it a multiple")
    return jax.make_mesh((devices,), (AXIS,), (AxisType.Auto,))


def _open_run(config: Config) -> Path:
    folder = Path(config.checkpoint_path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"{folder}: can't be created: {error.strerror} (--checkpoint_path)") from None
    for found in checkpoint.steps(folder, checkpoint.TRAINING)[:1]:
        checkpoint.check_same_model(found, config)
    if jax.process_index() == 0:
        checkpoint.clear_leftovers(folder)
        save_config(config, folder / "config.json")
    return folder


def _fingerprint(corpus: Corpus) -> str:
    names = "\n".join(f"{Path(recording.path).name} {recording.frames}" for recording in corpus.training)
    return hashlib.sha256(os.fsencode(names)).hexdigest()
