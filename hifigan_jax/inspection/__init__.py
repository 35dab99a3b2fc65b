"""What a file is, what is in it, what is wrong with it and what would fix it, found by the readers that the programs use."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hifigan_jax.errors import HifiganError, printable
from hifigan_jax.inspection.description import Report
from hifigan_jax.inspection.kinds import describe


def inspect(path: str | Path, input_wavs_dir: str | None = None, config: str | Path | None = None) -> Report:
    """The report on a file, a folder, or a pretrained model by its name. Never raises for what the file contains.

    The names of a file list are relative to `input_wavs_dir`; None: the likeliest folder near it. `config` is the configuration
    of weights that have none beside them.
    """
    with _collected() as records:
        try:
            description, error = describe(Path(path), input_wavs_dir, config), None
        except HifiganError as found:
            description, error = None, _of(path, str(found))
        except OSError as found:
            description, error = None, _of(path, f"cannot be read: {found.strerror or found}")
    logged = {level: [_without(path, text) for of, text in records if of == level] for level in (logging.WARNING, logging.INFO)}
    if description is not None:
        problems = [*logged[logging.WARNING], *(_without(path, text) for text in description.problems)]
        description = description._replace(problems=list(dict.fromkeys(problems)))
    return Report(printable(str(path)), description, error, list(dict.fromkeys(logged[logging.INFO])))


def _of(path: str | Path, message: str) -> str:
    """A message that names the path."""
    return printable(message if printable(str(path)) in message else f"{path}: {message}")


def _without(path: str | Path, message: str) -> str:
    return printable(message).removeprefix(f"{printable(str(path))}: ")


@contextmanager
def _collected() -> Iterator[list[tuple[int, str]]]:
    """Yields the list of (level, message) of all that the package logs meanwhile, which is not printed."""
    logger, records = logging.getLogger("hifigan_jax"), []
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    logger.handlers, logger.propagate = [_Collector(records)], False
    logger.setLevel(logging.INFO)
    try:
        yield records
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


class _Collector(logging.Handler):
    def __init__(self, records: list[tuple[int, str]]):
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        level = logging.INFO if record.levelno < logging.WARNING else logging.WARNING
        self._records.append((level, record.getMessage()))
