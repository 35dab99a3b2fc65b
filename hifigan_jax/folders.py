"""The files in a folder of recordings or mels."""

import logging
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

logger = logging.getLogger(__name__)


def files_below(folder: str | Path, suffixes: Collection[str], leave_out: str | Path | None = None) -> tuple[list[str], int]:
    """The files with one of the suffixes in a folder, sorted, and the number of files with others.

    Linked folders are followed, each folder once. Hidden names, and everything below the folder `leave_out`, are left out.
    Named pipes, devices and sockets are left out with a warning, as reading them could block.
    """
    left_out = None if leave_out is None else os.path.realpath(leave_out)
    chosen, others = [], 0
    for path in _walk(os.fspath(folder), left_out, set()):
        if Path(path).suffix.lower() not in suffixes:
            others += 1
        elif _may_block(path):
            logger.warning("left out: %s: not a file, but a named pipe, device or socket", path)
        else:
            chosen.append(path)
    return sorted(chosen), others


def _walk(folder: str, left_out: str | None, seen: set[str]) -> Iterator[str]:
    """Paths of everything but folders. Linked folders come last: a folder inside is then found under its own name."""
    real = os.path.realpath(folder)
    if real in seen or real == left_out:
        return
    seen.add(real)
    try:
        with os.scandir(folder) as entries:
            visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        logger.warning("left out: %s: cannot be read: %s", folder, error.strerror)
        return
    folders = []
    for entry in visible:
        if _is_folder(entry):
            folders.append(entry)
        else:
            yield entry.path
    for entry in sorted(folders, key=lambda entry: entry.is_symlink()):
        yield from _walk(entry.path, left_out, seen)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _may_block(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:  # reading it fails with the reason
        return False
