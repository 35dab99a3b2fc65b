"""The checkpoints of a run, one per saved step: which there are, which of them can be used, and which are deleted.

<run>/checkpoints/00005000/          a checkpoint (checkpoint.py)
                  00004000.damaged/  one that could not be used
                  .00006000.tmp/     the remains of an interrupted save
"""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax

from hifigan_jax.checkpoint import TRAINING, Leaves, write
from hifigan_jax.config import Config
from hifigan_jax.errors import CheckpointError, DiskError
from hifigan_jax.manifest import FOLDER, HINT, MismatchError, is_step

logger = logging.getLogger(__name__)

Used = TypeVar("Used")


def save(
    run: Path, step: int, parts: Mapping[str, Leaves], config: Config, data: Mapping[str, Any], keep: int | None = None
) -> Path:
    """Writes the checkpoint of `step` and returns its folder. Raises DiskError and leaves nothing if it cannot be written.

    `parts` contains the leaves of "generator" and "training". `data`, a mapping of JSON types, identifies the training data and
    may have further keys, such as counts of the run; `read_manifest` returns it. Only the newest `keep` steps (None: all) retain
    their "training" part.
    """
    if jax.process_index() == 0:
        clear_leftovers(run)
    folder = write(run / FOLDER / f"{step:08d}", parts, config, step, data)
    if keep is not None and jax.process_index() == 0:
        _delete_old_training_parts(run, keep)
    return folder


def steps(run: Path, part: str | None = None) -> list[Path]:
    """The folders of a run's checkpoints, newest first; with `part`, only of those that have it."""
    found = [path for path in (run / FOLDER).glob("*") if is_step(path) and (part is None or os.path.isdir(path / part))]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def resumable(run: Path) -> list[Path]:
    """The steps to resume from, newest first: all but the oldest ones, which keep only the generator."""
    complete = steps(run, TRAINING)
    return [folder for folder in steps(run) if not complete or int(folder.name) >= int(complete[-1].name)]


def first_usable(folders: Sequence[Path], use: Callable[[Path], Used]) -> tuple[Used, list[Path]]:
    """`use(folder)` for the first of the steps for which it raises no CheckpointError, and the steps before that one.

    Logs a warning for each step that cannot be used: why, and how much is lost. Raises CheckpointError if none can be used.
    """
    problems: dict[Path, CheckpointError] = {}
    for folder in folders:
        try:
            result = use(folder)
        except MismatchError:
            raise
        except CheckpointError as error:
            problems[folder] = error
            continue
        for damaged, error in problems.items():
            reason, lost = str(error).removesuffix(HINT), int(damaged.name) - int(folder.name)
            logger.warning("%s: using step %s instead (steps lost: %s)", reason, f"{int(folder.name):,}", f"{lost:,}")
        return result, list(problems)
    first, *others = problems.values()
    if not others:
        raise first
    for error in others:
        logger.warning("%s", str(error).removesuffix(HINT))
    reason = str(first).removesuffix(HINT)
    raise CheckpointError(f"{reason}; none of the {len(others)} older checkpoints can be used either: use another folder")


def delete(folder: Path) -> None:
    """Deletes a step at once: what remains if this is interrupted is never taken for a checkpoint. Raises DiskError."""
    outgoing = folder.with_name(f".{folder.name}.tmp")
    _remove(outgoing)
    try:
        folder.rename(outgoing)
    except OSError as error:
        raise DiskError(f"{folder}: cannot be deleted: {error.strerror}: make its folder writable and start again") from None
    _remove(outgoing)


def clear_leftovers(run: Path) -> None:
    """Deletes the remains of interrupted saves. Only for the process that writes to the run."""
    for path in (run / FOLDER).glob(".*.tmp"):
        if re.fullmatch(r"\.[0-9]{8,}(\.old)?\.tmp", path.name):
            _remove(path)


def _remove(folder: Path) -> None:
    """Deletes a folder, or the link to one, as far as possible."""
    if folder.is_symlink():
        with contextlib.suppress(OSError):
            folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def set_aside(folder: Path) -> None:
    """Renames a step that cannot be used to NAME.damaged, so that it is neither used nor counted among those to keep."""
    aside = folder.with_name(f"{folder.name}.damaged")
    try:
        _remove(aside)
        folder.rename(aside)
        logger.info("%s: renamed to %s", folder, aside.name)
    except OSError as error:
        logger.warning("%s: cannot be renamed to %s: %s", folder, aside.name, error.strerror)


def _delete_old_training_parts(run: Path, keep: int) -> None:
    for folder in steps(run, TRAINING)[keep:]:
        outgoing = folder / f".{TRAINING}.tmp"
        try:
            (folder / TRAINING).rename(outgoing)  # so that a half-deleted part is never taken for a complete one
        except OSError as error:
            logger.warning("%s: cannot be deleted: %s", folder / TRAINING, error.strerror)
        shutil.rmtree(outgoing, ignore_errors=True)
