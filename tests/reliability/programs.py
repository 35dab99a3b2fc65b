"""What the tests of this folder use of the package beside its Python interface: the programs, the corpus, the exceptions."""

import contextlib
import gc
import io
import json
import logging
import pathlib
import warnings
from collections.abc import Callable
from typing import NamedTuple

import pytest

from hifigan_jax.config import load_config
from hifigan_jax.errors import HifiganError  # noqa: F401, for the tests

NOT_RAISED = pytest.fail.Exception  # what pytest.raises ends with where nothing was raised


class Outcome(NamedTuple):
    """How a program ended: its exit code, and the lines of stdout and of stderr."""

    code: int
    printed: list[str]
    said: list[str]

    def about(self, name: str) -> list[str]:
        """The lines of stderr that name a file."""
        return [line for line in self.said if name in line]


class _Stream(io.TextIOWrapper):
    """A terminal in memory; `hear` is called with all that is written."""

    def __init__(self, encoding: str, errors: str, hear: Callable[[str], None]):
        super().__init__(io.BytesIO(), encoding, errors, newline="\n", write_through=True)
        self._hear = hear

    def write(self, text: str) -> int:
        written = super().write(text)
        self._hear(text)
        return written

    def lines(self) -> list[str]:
        return self.buffer.getvalue().decode(self.encoding, "replace").splitlines()


def run(command: str, *, encoding: str = "utf-8", hear: Callable[[str], None] = lambda _: None, **flags) -> Outcome:
    """Runs a program on a terminal of this encoding; what it doesn't catch is raised here."""
    from hifigan_jax.cli import run as run_program

    logging.getLogger("hifigan_jax").handlers.clear()  # one of an earlier run writes elsewhere
    arguments = [text for flag, value in flags.items() for text in (f"--{flag}", str(value))]
    out, err = _Stream(encoding, "strict", hear), _Stream(encoding, "backslashreplace", lambda _: None)  # as Python's own
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_program(command, arguments)
    if command == "train" and code:  # a run that ends with an error leaves its files to the end of the process
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    return Outcome(code, out.lines(), err.lines())


def infer(**options) -> Outcome:
    """`infer.py`, as in `run`."""
    return run("infer", **options)


def train(**options) -> Outcome:
    """`train.py`, as in `run`."""
    return run("train", **options)


def losses(run: pathlib.Path) -> list[float]:
    """The generator's loss at each step of a run."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row["training/gen_loss_total"] for row in rows if "training/gen_loss_total" in row]


class Taken(NamedTuple):
    """The recordings of a run, each with its mel's path or None, and what was said of the others."""

    training: dict[str, str | None]
    validation: dict[str, str | None]
    said: list[str]

    @property
    def all(self) -> dict[str, str | None]:
        """Those to train on and those to validate on."""
        return self.training | self.validation

    @property
    def names(self) -> list[str]:
        """Names of all files, sorted, without their folders."""
        return sorted(pathlib.Path(path).name for path in self.all)

    def about(self, name: str) -> list[str]:
        """The messages that name a file."""
        return [line for line in self.said if name in line]


def corpus(config: pathlib.Path, index: pathlib.Path, **overrides) -> Taken:
    """What a run of this configuration would be trained on. Raises as the package does."""
    from hifigan_jax.recordings import load_corpus

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("hifigan_jax")
    logger.addHandler(handler)
    try:
        found = load_corpus(load_config(config, overrides), index)
    finally:
        logger.removeHandler(handler)
    parts = ({one.path: one.mel_path for one in part} for part in (found.training, found.validation))
    return Taken(*parts, said)
