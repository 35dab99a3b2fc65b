"""The input files of a synthesis, and where the audio of each is written.

Nothing here imports jax, so that a program can check its arguments, and choose settings by the size of the work, before it does.
"""

import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from hifigan_jax import audio
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.folders import files_below

logger = logging.getLogger(__name__)


class Kind(NamedTuple):
    """A kind of input files: what they are called in messages, their suffixes, and how the names of their audio end."""

    name: str
    suffixes: Collection[str]
    ending: str


# The endings are the reference's.
RECORDINGS = Kind("audio", audio.SUFFIXES, "_generated.wav")
MELS = Kind(".npy", {".npy"}, "_generated_e2e.wav")


def output_paths(source: Path, output: Path, kind: Kind, part: int = 1, parts: int = 1) -> dict[Path, Path]:
    """Where in the folder `output` the audio of each input is written: `source` itself, or the files of this kind in the folder.

    Subfolders are preserved; output of earlier runs is left out. With `parts`, only the `part`-th of equal parts, counted from 1.
    Raises DataError if there is no input, and UsageError if two inputs have the same output.
    """
    return _select_part(_targets(_inputs(source, output, kind), source, output, kind.ending), part, parts)


def _inputs(folder: Path, output: Path, kind: Kind) -> list[Path]:
    if os.path.isfile(folder):
        return [folder]
    if not os.path.isdir(folder):  # Path.is_dir raises an OSError for a name that is too long
        raise DataError(f"{folder}: no such folder")
    below = os.path.realpath(output).startswith(os.path.join(os.path.realpath(folder), ""))
    found, others = files_below(folder, kind.suffixes, output if below else None)
    if others:
        logger.info("%s: %d files with other suffixes are skipped", folder, others)
    chosen = _without_earlier_output([Path(path) for path in found], folder, output, kind.ending)
    if not chosen:
        raise DataError(f"{folder}: contains no {kind.name} files")
    return chosen


def _without_earlier_output(files: list[Path], folder: Path, output: Path, ending: str) -> list[Path]:
    """Without the files that are themselves where the audio of another file is written."""
    written = {os.path.realpath(target) for target in _targets(files, folder, output, ending).values()}
    kept = [path for path in files if os.path.realpath(path) not in written]
    if len(kept) < len(files):
        logger.info("%s: %d files are the output of others and are skipped", folder, len(files) - len(kept))
    return kept


def _targets(files: list[Path], folder: Path, output: Path, ending: str) -> dict[Path, Path]:
    """The output path of each input, in the same subfolder. Raises UsageError if two inputs have the same output."""
    targets: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for path in files:
        inside = path.relative_to(folder).parent if folder.is_dir() else Path()
        target = output / inside / (path.stem + ending)
        if target in taken:
            raise UsageError(f"{taken[target]} and {path.name}: both would be written to {target}: rename or move one")
        targets[path], taken[target] = target, path
    return targets


def _select_part(targets: dict[Path, Path], part: int, parts: int) -> dict[Path, Path]:
    """Every `parts`-th file in order of size, so that all parts are about equal work."""
    if parts == 1:
        return targets
    by_size = sorted(targets, key=lambda path: (-size_of(path), path))
    return {path: targets[path] for path in by_size[part - 1 :: parts]}


def size_of(path: Path) -> int:
    """The size of a file in bytes, 0 if it cannot be determined: reading it then fails with the reason."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
