"""Which recordings a run trains on and validates with: file lists, folders, and recordings held out."""

import codecs
import itertools
import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from hifigan_jax import audio
from hifigan_jax.config import Data
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.folders import files_below

logger = logging.getLogger(__name__)

DEFAULT_FOLDER = Data.model_fields["input_wavs_dir"].default


def list_recordings(data: Data) -> tuple[list[str], list[str] | None]:
    """The paths of the training recordings and of the validation recordings, which are None if they are to be held out.

    Each is read from a list file (the reference's `name|text`, or paths), a folder, or input_wavs_dir. Without a list, LJSpeech's
    own lists are used if their recordings are in input_wavs_dir. Raises UsageError and DataError.
    """
    training = _listed(data, data.input_training_file, "LJSpeech-1.1/training.txt")
    validation = _listed(data, data.input_validation_file, "LJSpeech-1.1/validation.txt")
    if training is None:
        training = audio_files(data.input_wavs_dir)
        if not training:
            raise DataError(f"{data.input_wavs_dir}: no recordings found (--input_wavs_dir)")
        separate = {os.path.abspath(path) for path in validation or ()}
        training = [path for path in training if os.path.abspath(path) not in separate]
    return training, validation


def hold_out(paths: Sequence[str], usable: Collection[str]) -> tuple[list[str], list[str]]:
    """Splits recordings into those for training and those for validation, one in twenty, evenly spread, 150 at most.

    In place of one that is not usable, the next usable one is held out. Raises DataError if fewer than two are usable.
    """
    if sum(path in usable for path in paths) < 2:
        raise DataError("fewer than two usable recordings: training and validation need one each: add another")
    count = min(max(len(paths) // 20, 1), 150)
    held_out: set[str] = set()
    for i in range(count):
        first = i * len(paths) // count
        following = (paths[(first + offset) % len(paths)] for offset in range(len(paths)))
        held_out.update(itertools.islice((path for path in following if path in usable and path not in held_out), 1))
    logger.info("%d of %d recordings are held out for validation", len(held_out), len(paths))
    return [path for path in paths if path not in held_out], [path for path in paths if path in held_out]


def audio_files(folder: str | Path) -> list[str]:
    """All recordings below a folder, as `files_below`."""
    return files_below(folder, audio.SUFFIXES)[0]


def _listed(data: Data, path: str | None, default: str) -> list[str] | None:
    """The recordings of the list or folder `path`; of the list `default` if it exists and its recordings do; else None."""
    if path is None:
        if not os.path.isfile(default):
            return None
        paths = read_list(default, data)
        return (
            paths
            if os.path.isfile(paths[0]) or os.path.normpath(data.input_wavs_dir) == os.path.normpath(DEFAULT_FOLDER)
            else None
        )
    return audio_files(path) if os.path.isdir(path) else read_list(path, data)


def read_list(path: str, data: Data) -> list[str]:
    """The paths of the recordings that a file list names, relative to input_wavs_dir. Raises UsageError and DataError."""
    names = read_names(path)
    folder = Path(data.input_wavs_dir)
    paths = [locate(name, folder) for name in names]
    for name, located in zip(names, paths, strict=True):
        if _is_escaped(name) and not os.path.isfile(located):
            raise UsageError(f"{path}: file list cannot be read: its names are not in UTF-8: save it as UTF-8")
    if not data.allow_outside:
        _check_inside(path, paths, folder)
    return paths


def read_names(path: str) -> list[str]:
    """The names in a file list, as written. Raises UsageError and DataError."""
    names = [name for line in _lines(path) if (name := line.split("|")[0].strip())]
    if not names:
        raise DataError(f"{path}: the file list names no recording")
    return names


def locate(name: str, folder: Path) -> str:
    """The path of the recording of a name in a file list, relative to `folder`."""
    path = folder / name  # an absolute name ignores the folder
    if path.suffix.lower() in audio.SUFFIXES:
        return str(path)
    return f"{path}.flac" if os.path.isfile(f"{path}.flac") else f"{path}.wav"


def _check_inside(path: str, paths: Sequence[str], folder: Path) -> None:
    """Raises DataError if a listed recording is outside the folder, also by a link."""
    inside = os.path.join(os.path.realpath(folder), "")
    outside = [located for located in paths if "\0" not in located and not os.path.realpath(located).startswith(inside)]
    if outside:
        others = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        raise DataError(
            f"{path}: {outside[0]}{others}: outside {folder}: set --input_wavs_dir to a folder that contains all of them,"
            " or allow it with --allow_outside"
        )


def _lines(path: str) -> list[str]:
    """The lines of a list. Only names are read: text in another encoding does no harm."""
    try:
        content = Path(path).read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return content.decode("utf-16").split("\n")
        return content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape").split("\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: file list cannot be read: {reason}") from None


def _is_escaped(name: str) -> bool:
    """Whether a name contains bytes that are not UTF-8. A file on disk may have such a name."""
    return any("\udc80" <= character <= "\udcff" for character in name)
