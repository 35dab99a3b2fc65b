"""The initial state of a run: its newest checkpoint, a run of the reference in its folder, given weights, or random weights."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util
from jax.sharding import NamedSharding

from hifigan_jax import checkpoint, run_checkpoints
from hifigan_jax.config import Config
from hifigan_jax.config.flat import model_differences
from hifigan_jax.errors import CheckpointError
from hifigan_jax.loading import Generator, load_generator, paired_discriminator
from hifigan_jax.models.discriminators.torch_names import discriminator_variables
from hifigan_jax.training.health import History
from hifigan_jax.training.reference import read_reference_state, state_shapes
from hifigan_jax.training.setup import placed_first_state
from hifigan_jax.training.state import TrainState, from_parts, to_parts
from hifigan_jax.trees import shape_difference
from hifigan_jax.weights.reference_run import discriminator_file, find_pairs, generator_files
from hifigan_jax.weights.torch_file import read_torch_file

logger = logging.getLogger(__name__)


class Position(NamedTuple):
    """The position of a run: updates done, and its place in the data. The host's copy of the numbers in TrainState."""

    step: int
    epoch: int
    batch_in_epoch: int


class InitialState(NamedTuple):
    """Finds the initial state of a run and places it on the devices."""

    config: Config
    folder: Path
    data: Mapping[str, Any]  # identifies the training files and how they are batched
    batches_per_epoch: int
    replicated: NamedSharding

    def state(self, finetune_from: str | None) -> tuple[TrainState, Position, History]:
        """The state that training starts or resumes from. Raises CheckpointError if the run has states but none can be used."""
        return self._own_checkpoint() or (*(self._reference_run() or self._fresh(finetune_from)), History())

    def _own_checkpoint(self) -> tuple[TrainState, Position, History] | None:
        found = run_checkpoints.resumable(self.folder)
        if not found:
            return None
        (state, saved_data, folder), damaged = run_checkpoints.first_usable(found, self._restored)
        if jax.process_index() == 0:
            for unusable in damaged:
                run_checkpoints.set_aside(unusable)
        logger.info("resuming from %s", folder)
        position = Position(*(int(value) for value in jax.device_get((state.step, state.epoch, state.batch_in_epoch))))
        if not saved_data:  # a converted run of the reference
            return *self._placed_by_count(state, position.step, position.epoch), History()
        same = all(saved_data.get(key) == value for key, value in self.data.items())
        return *self._placed(state, position, unchanged=same or not position.batch_in_epoch), History.of(saved_data)

    def _restored(self, folder: Path) -> tuple[TrainState, Mapping[str, Any], Path]:
        checkpoint.check_same_model(folder, self.config)
        shapes = state_shapes(self.config)
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.replicated), shapes)
        parts = {name: checkpoint.restore(folder, name, leaves) for name, leaves in to_parts(target).items()}
        return from_parts(parts, shapes), checkpoint.read_manifest(folder).data, folder

    def _reference_run(self) -> tuple[TrainState, Position] | None:
        pairs = find_pairs(self.folder)
        if not pairs and generator_files(self.folder):
            logger.warning("%s: no do_* of the same step as its g_*: not resumed, the run starts at step 0", self.folder)
        for pair in pairs:
            try:
                state = read_reference_state(pair, self.config)
            except CheckpointError as error:
                logger.warning("%s; trying the previous one", error)
                continue
            logger.info("resuming from the reference's %s and %s", *pair)
            return self._placed_by_count(jax.device_put(state, self.replicated), int(state.step), int(state.epoch))
        if pairs:
            raise CheckpointError(f"{self.folder}: none of its g_* and do_* files can be used: choose another --checkpoint_path")
        return None

    def _fresh(self, finetune_from: str | None) -> tuple[TrainState, Position]:
        state = placed_first_state(self.config, self.replicated)
        if finetune_from is not None:
            given = load_generator(finetune_from, intact=(checkpoint.TRAINING,))
            differing = model_differences(given.config, self.config)
            if differing:
                raise CheckpointError(f"{finetune_from}: does not match the model in --config: {', '.join(differing)}")
            params = jax.device_put(given.params, self.replicated)
            state = state._replace(generator=state.generator._replace(params=params))
            logger.info("starting from the generator of %s", given.source)
            state = self._with_discriminator_of(given, state)
        return state, Position(0, 0, 0)

    def _with_discriminator_of(self, given: Generator, state: TrainState) -> TrainState:
        variables = _paired_discriminator(Path(given.source), given.config)
        initial = {"params": state.discriminator.params, "spectral": state.spectral}
        differ = given.config.discriminators != self.config.discriminators  # equal shapes do not mean equal discriminators
        if variables is None or differ or shape_difference(variables, initial):
            reason = "no discriminators saved with it" if variables is None else "its discriminators do not match --config"
            logger.warning(
                "%s: %s: starting with random ones, which can degrade a good generator: see adversarial_from_step",
                *(given.source, reason),
            )
            return state
        logger.info("starting from the discriminators saved with it")
        placed = jax.device_put(jax.tree.map(lambda old, new: new.astype(old.dtype), initial, variables), self.replicated)
        return state._replace(discriminator=state.discriminator._replace(params=placed["params"]), spectral=placed["spectral"])

    def _placed_by_count(self, state: TrainState, step: int, epoch: int) -> tuple[TrainState, Position]:
        """The state at the batch of `epoch` that follows from `step`, if all epochs so far had `batches_per_epoch` batches."""
        batches = step - epoch * self.batches_per_epoch
        ended = batches == self.batches_per_epoch
        position = Position(step, epoch + ended, 0 if ended else batches)
        return self._placed(state, position, unchanged=0 <= batches <= self.batches_per_epoch)

    def _placed(self, state: TrainState, position: Position, unchanged: bool) -> tuple[TrainState, Position]:
        """The state at `position` if the data is unchanged, else at the start of the next epoch."""
        if not unchanged:
            logger.warning("the training files or the batch size have changed: resuming at the start of the next epoch")
            position = position._replace(epoch=position.epoch + 1, batch_in_epoch=0)
        step, epoch, batch = jax.device_put(tuple(np.int32(number) for number in position), self.replicated)
        return state._replace(step=step, epoch=epoch, batch_in_epoch=batch), position


def _paired_discriminator(source: Path, config: Config) -> dict[str, Any] | None:
    """The variables ("params", "spectral") of the discriminators saved with a generator; None if there are none."""
    if (source / checkpoint.TRAINING).is_dir():
        leaves = traverse_util.unflatten_dict(checkpoint.restore(source, checkpoint.TRAINING), sep="/")
        return {"params": leaves["discriminator"]["params"], "spectral": leaves.get("spectral", {})}
    if (path := discriminator_file(source)) is not None:
        content = read_torch_file(path)
        try:
            return discriminator_variables(content["mpd"], content["msd"])
        except (CheckpointError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(f"{path}: contains no discriminators of the reference ({error})") from None
    if (params := paired_discriminator(source, config)) is not None:
        return {"params": params, "spectral": {}}
    return None
