"""Damages one file of the newest checkpoint of a tiny run, again and again, and checks what training and inference load then.

    python benchmarks/reliability/damage.py [--flips 500] [--truncations 120] [--seed 0]

Damage must be detected, with a warning, so that the checkpoint before is used, or be harmless: the restored state and
configuration are the same. Prints counts as JSON. Exit code 1 if any other outcome occurred.
"""

import argparse
import collections
import json
import logging
import os
import pathlib
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "reliability")]

import inputs  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import AxisType, NamedSharding, PartitionSpec  # noqa: E402

from hifigan_jax import checkpoint  # noqa: E402
from hifigan_jax.config import Config, load_config  # noqa: E402
from hifigan_jax.errors import HifiganError  # noqa: E402
from hifigan_jax.loading import load_generator  # noqa: E402
from hifigan_jax.training import initial_state  # noqa: E402
from hifigan_jax.training.reference import state_shapes  # noqa: E402
from hifigan_jax.training.run_folder import open_run_folder  # noqa: E402
from hifigan_jax.training.state import TrainState, to_parts  # noqa: E402

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
            checkpoint.save(folder / "run", step, to_parts(state), config, DATA, keep=len(STEPS))
        return cls(folder, load_config(folder / "run" / "config.json"), states)  # with absolute paths

    def newest_files(self) -> list[str]:
        """The files of the newest checkpoint, relative to the run."""
        run = self.folder / "run"
        return sorted(path.relative_to(run).as_posix() for path in checkpoint.steps(run)[0].rglob("*") if path.is_file())

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
        newest = str(run / checkpoint.FOLDER / f"{STEPS[-1]:08d}")
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
    parts = [f"{checkpoint.FOLDER}/{STEPS[-1]:08d}/{part}" for part in (checkpoint.GENERATOR, checkpoint.TRAINING)]
    every = [(name, how, damage) for name in run.newest_files() for how, damage in TRUNCATIONS.items()]
    every += [(name, "deleted", delete) for name in parts]
    while count > 0:
        draw.shuffle(every)
        yield from every[:count]
        count -= len(every)


def measure(count_flips: int, count_truncations: int, seed: int) -> dict[str, Any]:
    """The counts of outcomes by kind of damage and program, and what was damaged where the outcome is bad."""
    draw, bad = random.Random(seed), []
    with tempfile.TemporaryDirectory(prefix="hifigan-jax-") as name:
        run = TinyRun.make(pathlib.Path(name))
        kinds = {"flips": flips(run, count_flips, draw), "truncations": truncations(run, count_truncations, draw)}
        counts = {kind: {program: collections.Counter() for program in ("inference", "training")} for kind in kinds}
        for kind, mutants in kinds.items():
            for name, how, damage in mutants:
                for program, outcome in run.outcomes(name, damage).items():
                    known = next(known for known in GOOD + BAD if outcome.startswith(known))
                    counts[kind][program][known] += 1
                    if known in BAD:
                        bad.append(f"{program}: {name}, {how}: {outcome}")
    rows = {kind: {program: dict.fromkeys(GOOD + BAD, 0) | found for program, found in of.items()} for kind, of in counts.items()}
    return rows | {"bad": bad}


def main() -> int:
    """Prints the counts; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=500)
    parser.add_argument("--truncations", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.getLogger("hifigan_jax").propagate = False
    counts = measure(options.flips, options.truncations, options.seed)
    print(json.dumps(counts, indent=1))
    return int(bool(counts["bad"]))


if __name__ == "__main__":
    sys.exit(main())
