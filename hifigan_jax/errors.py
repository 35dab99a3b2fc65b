"""The errors that a user can mend. Each message is one line: what is wrong, where, and how to mend it."""

import difflib
from collections.abc import Iterable


class HifiganError(Exception):
    """Base of all of them; `exit_code` is what the programs return."""

    exit_code = 1

    def __init__(self, message: str):
        """Whatever a file's content or name puts into `message`, it stays one printable line."""
        super().__init__("".join(c if c.isprintable() else " " for c in message))


class UsageError(HifiganError):
    """A flag, a configuration key or an argument."""

    exit_code = 2


class DataError(HifiganError):
    """A recording, a mel or a file list."""

    exit_code = 3


class CheckpointError(HifiganError):
    """A checkpoint, a weights file or a run folder."""

    exit_code = 4


class DiskError(HifiganError):
    """Something that could not be written."""

    exit_code = 5


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that is closest to a misspelt one, in any case of letters; empty if none is close."""
    spelled = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), spelled, n=1)
    return f"; did you mean {spelled[close[0]]!r}?" if close else ""
