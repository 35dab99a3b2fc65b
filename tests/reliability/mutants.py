"""A tiny run with checkpoints of random numbers, and damaged copies of it."""

import logging
import os
import pathlib
import random
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import inputs
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from hifigan_jax import checkpoint, run_checkpoints
from hifigan_jax.config import Config, load_config
from hifigan_jax.errors import HifiganError
from hifigan_jax.loading import load_generator
from hifigan_jax.training import initial_state
from hifigan_jax.training.reference import state_shapes
from hifigan_jax.training.run_folder import open_run_folder
from hifigan_jax.training.state import TrainState, to_parts

STEPS = (1000, 2000, 3000)
DATA = {"training_files": "0123", "batch_size": 2}
PER_EPOCH = 700  # batches
GOOD, BAD = ("detected", "harmless"), ("silent", "blocking", "foreign exception")

Damage = Callable[[pathlib.Path], None]  # damages a file or a folder


class TinyRun(NamedTuple):
    """A run with three checkpoints of random numbers, in `folder`/"run", and what is in them."""

    folder: pathlib.Path
    config: Config
    states: dict[int, TrainState]

    @classmethod
    def make(cls, folder: pathlib.Path) -> "TinyRun":
        """Writes the run."""
        config = Config.from_flat(inputs.TRAINING | {"checkpoint_path": str(folder / "run")})
        states = {step: random_state(config, step) for step in STEPS}
        open_run_folder(config)
        for step, state in states.items():
            run_checkpoints.save(folder / "run", step, to_parts(state), config, DATA, keep=len(STEPS))
        return cls(folder, load_config(folder / "run" / "config.json"), states)  # with absolute paths

    def newest_files(self) -> list[str]:
        """The files of the newest checkpoint, relative to the run."""
        run = self.folder / "run"
        return sorted(path.relative_to(run).as_posix() for path in run_checkpoints.steps(run)[0].rglob("*") if path.is_file())

    def outcomes(self, name: str, damage: Damage) -> dict[str, str]:
        """What inference and training do in a copy of the run in which the file or folder `name` is damaged."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder / "run", copy, copy_function=os.link)
        target = copy / name
        if target.is_file():  # a copy of its own
            content = target.read_bytes()
            target.unlink()
            target.write_bytes(content)
        damage(target)
        programs = {"inference": self._infer, "training": self._train}  # the latter renames a damaged checkpoint
        return {program: self._outcome(use, copy) for program, use in programs.items()}

    def _outcome(self, use: Callable[[pathlib.Path], int | None], run: pathlib.Path) -> str:
        with Warnings("hifigan_jax") as warnings:
            try:
                step = use(run)
            except HifiganError:
                return "blocking"
            except Exception as error:
                return f"foreign exception {type(error).__name__}: {error!s:.200}"
        if step == STEPS[-1] and not warnings:
            return "harmless"
        newest = str(run / run_checkpoints.FOLDER / f"{STEPS[-1]:08d}")
        told = len(warnings) == 1 and newest in warnings[0] and "steps lost: 1,000" in warnings[0]
        return "detected" if step == STEPS[-2] and told else "silent"

    def _infer(self, run: pathlib.Path) -> int | None:
        generator = load_generator(run)
        step = int(pathlib.Path(generator.source).name)
        wanted = to_parts(self.states[step])["generator"]
        return step if generator.config == self.config and equal(generator.params, wanted) else None

    def _train(self, run: pathlib.Path) -> int | None:
        config = self.config.replace({"checkpoint_path": str(run)})
        open_run_folder(config)
        mesh = jax.make_mesh((1,), ("data",), (AxisType.Auto,), devices=jax.devices()[:1])
        sharding = NamedSharding(mesh, PartitionSpec())
        initial = initial_state.InitialState(config, run, DATA, PER_EPOCH, sharding)
        with mock.patch.object(initial_state, "state_shapes", return_value=self.states[STEPS[0]]):  # faster than tracing
            state, position, *_ = initial.state(None)
        if position.step not in self.states:
            return None
        wanted = self.states[position.step]
        same = position == (wanted.step, wanted.epoch, wanted.batch_in_epoch) and equal(state, wanted)
        return position.step if same else None


def random_state(config: Config, step: int) -> TrainState:
    """A state of random numbers at the position of `step`."""
    draw = np.random.default_rng(step)

    def filled(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if np.issubdtype(leaf.dtype, np.integer):
            return np.full(leaf.shape, step, leaf.dtype)
        return draw.normal(size=leaf.shape).astype(leaf.dtype)

    state = jax.tree.map(filled, state_shapes(config))
    return state._replace(epoch=np.int32(step // PER_EPOCH), batch_in_epoch=np.int32(step % PER_EPOCH))


def equal(found: Any, wanted: Any) -> bool:
    """Whether all arrays have the same bits."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    return all(np.asarray(one).tobytes() == np.asarray(other).tobytes() for one, other in pairs)


class Warnings:
    """The messages of level WARNING and above, as a list."""

    def __init__(self, logger: str):
        self.logger, self.messages = logging.getLogger(logger), []

    def __enter__(self) -> list[str]:
        self.handler = logging.Handler(logging.WARNING)
        self.handler.emit = lambda record: self.messages.append(record.getMessage())
        self.logger.addHandler(self.handler)
        return self.messages

    def __exit__(self, *_: object) -> None:
        self.logger.removeHandler(self.handler)


# --- damage ---------------------------------------------------------------------------------------------------------------------


def flip(bit: int) -> Damage:
    """Flips one bit of a file."""

    def damage(path: pathlib.Path) -> None:
        content = bytearray(path.read_bytes())
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)

    return damage


def cut(size: Callable[[int], int]) -> Damage:
    """Truncates a file to `size` of its size."""
    return lambda path: os.truncate(path, size(path.stat().st_size))


def delete(path: pathlib.Path) -> None:
    """Deletes a file, or a folder with its content."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


TRUNCATIONS: dict[str, Damage] = {
    "emptied": cut(lambda size: 0),
    "cut in half": cut(lambda size: size // 2),
    "without its last byte": cut(lambda size: max(size - 1, 0)),
    "deleted": delete,
}


def flips(run: TinyRun, count: int, draw: random.Random) -> Iterator[tuple[str, str, Damage]]:
    """Bit flips: every second one in any file with the same probability, the others in any byte."""
    sizes = {name: (run.folder / "run" / name).stat().st_size for name in run.newest_files()}
    sizes = {name: size for name, size in sizes.items() if size}
    for i in range(count):
        name = draw.choices([*sizes], None if i % 2 else [*sizes.values()])[0]
        bit = draw.randrange(8 * sizes[name])
        yield name, f"bit {bit}", flip(bit)


def truncations(run: TinyRun, count: int, draw: random.Random) -> Iterator[tuple[str, str, Damage]]:
    """Every truncation of every file in random order, and the deletion of either part, until there are `count`."""
    parts = [f"{run_checkpoints.FOLDER}/{STEPS[-1]:08d}/{part}" for part in (checkpoint.GENERATOR, checkpoint.TRAINING)]
    every = [(name, how, damage) for name in run.newest_files() for how, damage in TRUNCATIONS.items()]
    every += [(name, "deleted", delete) for name in parts]
    while count > 0:
        draw.shuffle(every)
        yield from every[:count]
        count -= len(every)
