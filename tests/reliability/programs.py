"""Helpers of the tests in this folder: running the programs, loading a corpus, the exceptions."""

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

NOT_RAISED = pytest.fail.Exception  # raised by pytest.raises if nothing was raised


class Outcome(NamedTuple):
    """How a program ended: its exit code, and the lines of stdout and of stderr."""

    code: int
    printed: list[str]
    messages: list[str]

    def about(self, name: str) -> list[str]:
        """The lines of stderr that contain `name`."""
        return [line for line in self.messages if name in line]


class _Stream(io.TextIOWrapper):
    """A terminal in memory; calls `on_write` with each text written."""

    def __init__(self, encoding: str, errors: str, on_write: Callable[[str], None]):
        super().__init__(io.BytesIO(), encoding, errors, newline="\n", write_through=True)
        self._on_write = on_write

    def write(self, text: str) -> int:
        written = super().write(text)
        self._on_write(text)
        return written

    def lines(self) -> list[str]:
        return self.buffer.getvalue().decode(self.encoding, "replace").splitlines()


def run(command: str, *, encoding: str = "utf-8", on_print: Callable[[str], None] = lambda _: None, **flags) -> Outcome:
    """Runs a program on a terminal with this encoding; raises what the program does not catch."""
    from hifigan_jax.cli import run as run_program

    logging.getLogger("hifigan_jax").handlers.clear()  # a handler of an earlier run writes to another stream
    arguments = [text for flag, value in flags.items() for text in (f"--{flag}", str(value))]
    out, err = _Stream(encoding, "strict", on_print), _Stream(encoding, "backslashreplace", lambda _: None)  # as in Python
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_program(command, arguments)
    if command == "train" and code:  # a failed run leaves files open until the process ends
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


class Recordings(NamedTuple):
    """The recordings of a run, each with the path of its mel or None, and the log messages."""

    training: dict[str, str | None]
    validation: dict[str, str | None]
    messages: list[str]

    @property
    def all(self) -> dict[str, str | None]:
        """The training and the validation recordings."""
        return self.training | self.validation

    @property
    def names(self) -> list[str]:
        """Names of all files, sorted, without their folders."""
        return sorted(pathlib.Path(path).name for path in self.all)

    def about(self, name: str) -> list[str]:
        """The messages that contain `name`."""
        return [line for line in self.messages if name in line]


def corpus(config: pathlib.Path, index: pathlib.Path, **overrides) -> Recordings:
    """The recordings that a run of this configuration would use. Raises the exceptions of the package."""
    from hifigan_jax.recordings import load_corpus

    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("hifigan_jax")
    logger.addHandler(handler)
    try:
        found = load_corpus(load_config(config, overrides), index)
    finally:
        logger.removeHandler(handler)
    parts = ({one.path: one.mel_path for one in part} for part in (found.training, found.validation))
    return Recordings(*parts, messages)
