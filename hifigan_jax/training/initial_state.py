"""Where a run starts: at its newest checkpoint, at a run of the reference in its folder, at given weights, or from scratch."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util
from jax.sharding import NamedSharding

from hifigan_jax import checkpoint
from hifigan_jax.config import Config
from hifigan_jax.config.flat import model_differences
from hifigan_jax.errors import CheckpointError
from hifigan_jax.loading import Generator, load_generator, paired_discriminator
from hifigan_jax.models.discriminators.torch_names import discriminator_variables
from hifigan_jax.training.reference import read_reference_state, state_shapes
from hifigan_jax.training.setup import placed_first_state
from hifigan_jax.training.state import TrainState, from_parts, to_parts
from hifigan_jax.trees import shape_difference
from hifigan_jax.weights.reference_run import discriminator_file, find_pairs
from hifigan_jax.weights.torch_file import read_torch_file

logger = logging.getLogger(__name__)


class Position(NamedTuple):
    """Where a run stands: updates done, and its place in the data. The host's copy of what TrainState holds."""

    step: int
    epoch: int
    batch_in_epoch: int


class InitialState(NamedTuple):
    """What is needed to find a run's first state and to put it on the devices."""

    config: Config
    folder: Path
    data: Mapping[str, Any]  # identifies the training files and how they are batched
    batches_per_epoch: int
    replicated: NamedSharding

    def state(self, finetune_from: str | None) -> tuple[TrainState, Position]:
        """The state that training goes on from. Raises CheckpointError where there is one that can't be used."""
        return self._own_checkpoint() or self._run_of_the_reference() or self._fresh(finetune_from)

    def _own_checkpoint(self) -> tuple[TrainState, Position] | None:
        found = checkpoint.steps(self.folder, checkpoint.TRAINING)
        if not found:
            return None
        checkpoint.check_same_model(found[0], self.config)
        shapes = state_shapes(self.config)
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.replicated), shapes)
        for folder in found:
            try:
                parts = {name: checkpoint.restore(folder, name, leaves) for name, leaves in to_parts(target).items()}
                was = checkpoint.read_manifest(folder)["data"]
            except CheckpointError as error:
                logger.warning("%s; trying the one before", error)
                continue
            state = from_parts(parts, shapes)
            logger.info("resuming from %s", folder)
            at = Position(*(int(value) for value in jax.device_get((state.step, state.epoch, state.batch_in_epoch))))
            if not was:  # a converted run of the reference
                return self._placed_by_count(state, at.step, at.epoch)
            return self._placed(state, at, unchanged=was == self.data or not at.batch_in_epoch)
        raise CheckpointError(f"{found[0].parent}: none of its checkpoints can be used; start anew in another --checkpoint_path")

    def _run_of_the_reference(self) -> tuple[TrainState, Position] | None:
        pairs = find_pairs(self.folder)
        if not pairs and any(self.folder.glob("g_*")):
            logger.warning("%s: no do_* of the same step as its g_*: starting anew (--finetune_from takes a g_*)", self.folder)
        for pair in pairs:
            try:
                state = read_reference_state(pair, self.config)
            except CheckpointError as error:
                logger.warning("%s; trying the one before", error)
                continue
            logger.info("going on with the reference's %s and %s", *pair)
            return self._placed_by_count(jax.device_put(state, self.replicated), int(state.step), int(state.epoch))
        if pairs:
            raise CheckpointError(f"{self.folder}: none of its g_* and do_* files can be used; choose another --checkpoint_path")
        return None

    def _fresh(self, finetune_from: str | None) -> tuple[TrainState, Position]:
        state = placed_first_state(self.config, self.replicated)
        if finetune_from is not None:
            given = load_generator(finetune_from)
            differing = model_differences(given.config, self.config)
            if differing:
                raise CheckpointError(f"{finetune_from}: another model than the configuration's: {', '.join(differing)}")
            params = jax.device_put(given.params, self.replicated)
            state = state._replace(generator=state.generator._replace(params=params))
            logger.info("starting from the generator of %s", given.source)
            state = self._with_discriminator_of(given, state)
        return state, Position(0, 0, 0)

    def _with_discriminator_of(self, given: Generator, state: TrainState) -> TrainState:
        variables = _discriminator_beside(Path(given.source), given.config)
        of_state = {"params": state.discriminator.params, "spectral": state.spectral}
        others = given.config.discriminators != self.config.discriminators  # their shapes may be the same
        if variables is None or others or shape_difference(variables, of_state):
            why = "no discriminators beside it" if variables is None else "its discriminators are not the configuration's"
            logger.warning(
                "%s: %s: starting with fresh ones, which can spoil a good generator: see adversarial_from_step", given.source, why
            )
            return state
        logger.info("starting from the discriminators beside it")
        placed = jax.device_put(jax.tree.map(lambda old, new: new.astype(old.dtype), of_state, variables), self.replicated)
        return state._replace(discriminator=state.discriminator._replace(params=placed["params"]), spectral=placed["spectral"])

    def _placed_by_count(self, state: TrainState, step: int, epoch: int) -> tuple[TrainState, Position]:
        """At the place in `epoch` that follows from the number of updates, if every epoch had as many as one has here."""
        batches = step - epoch * self.batches_per_epoch
        ended = batches == self.batches_per_epoch
        at = Position(step, epoch + ended, 0 if ended else batches)
        return self._placed(state, at, unchanged=0 <= batches <= self.batches_per_epoch)

    def _placed(self, state: TrainState, at: Position, unchanged: bool) -> tuple[TrainState, Position]:
        """At its place in the epoch if the data is what it was, else at the next epoch's start."""
        if not unchanged:
            logger.warning("the training files or the batch size have changed: going on with the next epoch")
            at = at._replace(epoch=at.epoch + 1, batch_in_epoch=0)
        place = jax.device_put(tuple(np.int32(number) for number in at), self.replicated)
        return state._replace(step=place[0], epoch=place[1], batch_in_epoch=place[2]), at


def _discriminator_beside(source: Path, config: Config) -> dict[str, Any] | None:
    """{"params", "spectral"} of the discriminators that were saved with a generator, where there are any."""
    if (source / checkpoint.TRAINING).is_dir():
        leaves = traverse_util.unflatten_dict(checkpoint.restore(source, checkpoint.TRAINING), sep="/")
        return {"params": leaves["discriminator"]["params"], "spectral": leaves.get("spectral", {})}
    if (beside := discriminator_file(source)) is not None:
        content = read_torch_file(beside)
        try:
            return discriminator_variables(content["mpd"], content["msd"])
        except (CheckpointError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(f"{beside}: holds no discriminators of the reference ({error})") from None
    if (params := paired_discriminator(source, config)) is not None:
        return {"params": params, "spectral": {}}
    return None
