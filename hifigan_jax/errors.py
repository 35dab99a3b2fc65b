"""Errors that a user can fix. Each message is one line: what is wrong, where, and how to fix it."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

_HALF = 700  # characters that are kept at each end of a message that is too long


class HifiganError(Exception):
    """Base class of all errors; `exit_code` is the exit code of the command-line programs."""

    exit_code = 1

    def __init__(self, message: str):
        """Keeps `message` one printable line, and short enough to read, whatever file names or contents it quotes."""
        if len(message) > 2 * _HALF + 7:  # the reason and the fix are at the end
            message = f"{message[:_HALF]} [...] {message[-_HALF:]}"
        super().__init__(printable(message))


class UsageError(HifiganError):
    """An invalid flag, configuration key or argument."""

    exit_code = 2


class DataError(HifiganError):
    """An invalid recording, mel or file list."""

    exit_code = 3


class CheckpointError(HifiganError):
    """An invalid checkpoint, weights file or run folder."""

    exit_code = 4


class DiskError(HifiganError):
    """A file or folder that cannot be written."""

    exit_code = 5


def printable(text: str) -> str:
    """`text` with a space in place of line breaks, control characters, and parts of file names that are not text."""
    return "".join(c if c.isprintable() else " " for c in text)


class OutOfMemory(HifiganError):
    """Memory that does not suffice, of the host or of a device."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint at the known word closest to a misspelled one, ignoring case; empty if none is close."""
    originals = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), originals, n=1)
    return f"; did you mean {originals[close[0]]!r}?" if close else ""


def shortened(value: Any, length: int = 60) -> str:
    """A value from a file for an error message, in at most `length` characters; its size and nesting cost no time."""
    return f"{reprlib.repr(value):.{length}}"
