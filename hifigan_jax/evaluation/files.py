"""The files of an evaluation: finding them, checking them, and pairing them with their references."""

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from hifigan_jax import file_lists
from hifigan_jax.audio import read_audio
from hifigan_jax.errors import DataError

ENDINGS = ("_generated_e2e", "_generated")  # of infer.py's output
SHORTEST = 0.5  # s
SILENT = 2.0**-15  # peak; one step of 16-bit audio
LARGEST_DIFFERENCE = 0.1  # s between the lengths of a pair

CHANNELS = "one channel; files with more are refused"
LENGTH = f"compared from the first sample, both cut to the shorter; refused if they differ by more than {LARGEST_DIFFERENCE} s"
LEVEL = "unchanged; clipped to [-1, 1]"


class AudioFile(NamedTuple):
    """An audio file that can be evaluated."""

    path: str
    sha256: str  # of the file
    content: str  # SHA-256 of the samples
    rate: int  # Hz
    samples: int

    @property
    def seconds(self) -> float:
        """The duration in s."""
        return self.samples / self.rate


class Files(NamedTuple):
    """The usable files of a folder by key, their path below it without suffix, and what is wrong with the others."""

    usable: dict[str, AudioFile]
    problems: list[str]


def inspect(path: str | Path) -> AudioFile:
    """Reads and checks a file. Raises DataError if it cannot be evaluated."""
    audio, rate = read_mono(path)
    if audio.size < SHORTEST * rate:
        raise DataError(f"{path}: {audio.size / rate:.2f} s: too short, {SHORTEST} s or more are needed")
    if np.abs(audio).max() < SILENT:
        raise DataError(f"{path}: silent")
    hashes = (hashlib.sha256(data).hexdigest() for data in (Path(path).read_bytes(), audio.tobytes()))
    return AudioFile(os.fspath(path), *hashes, rate, audio.size)


def read_mono(path: str | Path) -> tuple[np.ndarray, int]:
    """The samples of a file with one channel, and its rate. Raises DataError."""
    audio, rate = read_audio(path)
    if (channels := soundfile.info(os.fsencode(path)).channels) > 1:
        raise DataError(f"{path}: {channels} channels: save one channel")
    return audio, rate


def reference_files(folder: str | Path) -> Files:
    """The references of an evaluation. Raises DataError if there are none.

    All must have the same sampling rate; files that do not have the most frequent one are problems.
    """
    named, twice = _named(folder)
    found, problems = _inspect_all(named)
    problems = twice + problems
    if not found:
        raise DataError(f"{folder}: contains no usable audio files" + (f": {problems[0]}" if problems else ""))
    rate = Counter(file.rate for file in found.values()).most_common(1)[0][0]
    usable = {key: file for key, file in found.items() if file.rate == rate}
    other = [file for file in found.values() if file.rate != rate]
    return Files(usable, problems + [f"{file.path}: {file.rate} Hz, but most references have {rate} Hz" for file in other])


def system_files(folder: str | Path, references: Files, all_references: set[str]) -> Files:
    """The files of a system that have a reference and can be compared with it.

    A file belongs to the reference with the same path below its folder, whatever the suffix; the endings that infer.py appends
    are ignored. `all_references` contains the keys of unusable references too, which are reported once, not for each system.
    """
    found, problems = _named(folder)
    named: dict[str, Path] = {}
    for name, path in found.items():
        key = _key(name, all_references)
        if key is None:
            problems.append(f"{path}: has no reference")
        elif key in named:
            problems.append(f"{path}: left out, {named[key].name} has the same reference")
        else:
            named[key] = path
    inspected, unreadable = _inspect_all({key: path for key, path in named.items() if key in references.usable})
    problems += [f"{folder}: has no file for {references.usable[key].path}" for key in references.usable.keys() - named.keys()]
    usable = {}
    for key in sorted(inspected):
        problem = _mismatch(inspected[key], references.usable[key])
        if problem:
            problems.append(problem)
        else:
            usable[key] = inspected[key]
    return Files(usable, sorted(problems) + unreadable)


def keys(folder: str | Path) -> set[str]:
    """The keys of all audio files of a folder, usable or not."""
    return set(_named(folder)[0])


def _key(name: str, references: set[str]) -> str | None:
    candidates = [name, *(name.removesuffix(ending) for ending in ENDINGS)]
    return next((candidate for candidate in candidates if candidate in references), None)


def _named(folder: str | Path) -> tuple[dict[str, Path], list[str]]:
    """Audio files by their path below the folder without suffix. Of several with the same name, the others are problems."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    named: dict[str, Path] = {}
    problems = []
    for path in map(Path, file_lists.audio_files(folder)):
        first = named.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
        if first != path:
            problems.append(f"{path}: left out, {first.name} has the same name")
    return named, problems


def _inspect_all(named: dict[str, Path]) -> tuple[dict[str, AudioFile], list[str]]:
    found, problems = {}, []
    for key, path in named.items():
        try:
            found[key] = inspect(path)
        except DataError as error:
            problems.append(str(error))
    return found, problems


def _mismatch(file: AudioFile, reference: AudioFile) -> str | None:
    if file.rate != reference.rate:
        return f"{file.path}: {file.rate} Hz, but its reference has {reference.rate} Hz"
    if abs(file.samples - reference.samples) > LARGEST_DIFFERENCE * reference.rate:
        return f"{file.path}: {file.seconds:.2f} s, but its reference has {reference.seconds:.2f} s"
    return None
