"""Indexes: what an inspection found in each of many files, kept in a JSON so that files are inspected once."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hifigan_jax import faults
from hifigan_jax.errors import DataError, DiskError
from hifigan_jax.files import atomic_write, refuse_special

logger = logging.getLogger(__name__)


def inspect_all(
    paths: Sequence[str],
    index_path: Path,
    inspect: Callable[[str], tuple | DataError],
    width: int,
    check: Callable[[], None] = lambda: None,
) -> tuple[dict[str, list], list[DataError]]:
    """The result of `inspect` for each readable file, `width` values, and the errors of the others.

    Inspects only files whose size or modification time differs from the index. Calls `check` after each; if that raises, the
    index keeps what has been found so far.
    """
    kept, is_own = _read(index_path)
    known = {path: entry for path, entry in kept.items() if len(entry) == 2 + width}
    stamps = {path: _stamp(path) for path in paths}
    entries = {path: known[path] for path in paths if path in known and known[path][:2] == stamps[path]}
    new = [path for path in paths if path not in entries]
    if new:
        logger.info("reading %d files for the index %s", len(new), index_path.name)
    failed = []
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for path, info in zip(new, pool.map(inspect, new), strict=True):
            check()
            if isinstance(info, DataError):
                failed.append(info)
            else:
                entries[path] = [*stamps[path], *info]
    finally:
        pool.shutdown(cancel_futures=True)
        if new and is_own:
            _write(index_path, entries)
        elif new:
            logger.warning("%s: a file of another program: no index is kept, the next start reads all files again", index_path)
    return {path: entries[path][2:] for path in paths if path in entries}, failed


def _stamp(path: str) -> list[int]:
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return [0, 0]
    return [stat.st_size, stat.st_mtime_ns]


def _write(path: Path, entries: dict[str, list]) -> None:
    content = json.dumps({"sha256": _digest(entries), "files": entries}, indent=0)
    try:
        with atomic_write(path) as temporary:
            faults.no_space("disk_full.index")
            Path(temporary).write_text(content, encoding="utf-8")
    except DiskError as error:
        logger.warning("%s: the next start reads all files again", error)


def _read(path: Path) -> tuple[dict[str, list], bool]:
    """The entries of an index that is exactly as it was written, otherwise none; whether the file may be replaced.

    A JSON file that is no index, not even a damaged one, is of another program.
    """
    try:
        refuse_special(path)  # a pipe would block
        index = json.loads(path.read_text(encoding="utf-8"))
    except (DiskError, OSError, ValueError, RecursionError):
        return {}, True
    try:
        return index["files"] if index["sha256"] == _digest(index["files"]) else {}, True
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}, isinstance(index, dict) and "files" in index


def _digest(entries: Any) -> str:
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()
