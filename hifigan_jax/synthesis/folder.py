"""Synthesis of a folder: its files, where the audio of each is written, and the work itself, with an outcome per file.

Nothing here imports jax, so that a program can check its arguments, and choose settings by the size of the work, before it does.
"""

import itertools
import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hifigan_jax import audio, mel_file
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.folders import files_below
from hifigan_jax.mel_conversion import Conversion
from hifigan_jax.synthesis.piecewise_output import PiecewiseOutput

if TYPE_CHECKING:
    from hifigan_jax.synthesis.utterances import Utterance
    from hifigan_jax.synthesis.vocoder import Vocoder

logger = logging.getLogger(__name__)

# Files are read and written while the device computes.
_READERS = 2
_PREFETCH = 4  # files to read ahead, and to queue for writing
_LONGEST_AT_ONCE = 120  # seconds of a recording that is not read in pieces


class Kind(NamedTuple):
    """A kind of input files: what they are called in messages, their suffixes, and how the names of their audio end."""

    name: str
    suffixes: Collection[str]
    ending: str


# The endings are the reference's.
RECORDINGS = Kind("audio", audio.SUFFIXES, "_generated.wav")
MELS = Kind(".npy", {".npy"}, "_generated_e2e.wav")


class Outcome(NamedTuple):
    """The result for an input: `seconds` of audio written to `target`, or an error."""

    path: Path
    target: Path
    seconds: float
    error: DataError | None = None
    skipped: bool = False  # `target` was there

    def as_json(self) -> dict[str, Any]:
        """A flat object for a report."""
        outcome = "failed" if self.error else "skipped" if self.skipped else "written"
        reason = str(self.error) if self.error else None
        names = {"input": str(self.path), "output": None if self.error else str(self.target)}
        return names | {"outcome": outcome, "seconds": self.seconds, "reason": reason}


def output_paths(source: Path, output: Path, kind: Kind, part: int = 1, parts: int = 1) -> dict[Path, Path]:
    """Where in the folder `output` the audio of each input is written: `source` itself, or the files of this kind in the folder.

    Subfolders are preserved; output of earlier runs is left out. With `parts`, only the `part`-th of equal parts, counted from 1.
    Raises DataError if there is no input, and UsageError if two inputs have the same output.
    """
    return _select_part(_targets(_inputs(source, output, kind), source, output, kind.ending), part, parts)


def synthesize_files(
    vocoder: "Vocoder",
    targets: Mapping[Path, Path],
    kind: Kind,
    on_written: Callable[[Path], None] | None = None,
    converted: Conversion | None = None,
    force: bool = False,
) -> Iterator[Outcome]:
    """Yields the outcome of every input of `output_paths`, failures last. A bad file does not affect the others.

    `converted` is the conversion of mels of another convention than the vocoder's (`Vocoder.conversion`); with `force`, mels are
    used whose values cannot be of their convention. Other threads read and write a few files ahead, and call `on_written` with
    the path of each file that is complete, also if this is interrupted. Raises DiskError if audio cannot be written.
    """
    failed: list[tuple[Path, DataError]] = []
    options = {"converted": converted or vocoder.conversion(), "force": force} if kind is MELS else {}
    read = partial(read_mel if kind is MELS else _read_audio, vocoder=vocoder, **options)
    with _threads(_READERS) as readers, _threads(1) as writer, _Outputs(targets, vocoder.sampling_rate, on_written) as outputs:
        inputs = _prefetch(readers, ((path, partial(read, path)) for path in targets), failed)
        parts = vocoder.synthesize(_parts(inputs, vocoder, failed))
        writes = ((part.path, partial(outputs.write, part, samples)) for part, samples in parts)
        for path, seconds in _prefetch(writer, writes, failed):
            if seconds is not None:
                yield Outcome(path, targets[path], seconds)
    for path, error in failed:
        yield Outcome(path, targets[path], 0.0, error)


class _Part(NamedTuple):
    """An input, or a piece of a long recording, of whose audio the samples [start, stop) are used."""

    path: Path
    number: int = 0
    start: int = 0
    stop: int | None = None
    is_last: bool = True


def _parts(
    inputs: Iterable[tuple[Path, "Utterance | None"]], vocoder: "Vocoder", failed: list[tuple[Path, DataError]]
) -> Iterator[tuple[_Part, "Utterance"]]:
    """The parts of all inputs; recordings that are read in pieces come without an utterance."""
    for path, utterance in inputs:
        if utterance is not None:
            yield _Part(path), utterance
            continue
        try:
            for number, piece in enumerate(vocoder.pieces(audio.audio_blocks(path, vocoder.sampling_rate))):
                yield _Part(path, number, piece.start, piece.stop, piece.is_last), piece.utterance
        except DataError as error:
            failed.append((path, error))


class _Outputs:
    """Writes the audio of parts, which arrive in order for each input."""

    def __init__(self, targets: Mapping[Path, Path], rate: int, on_written: Callable[[Path], None] | None):
        self._targets, self._rate, self._on_written = targets, rate, on_written
        self._open: dict[Path, PiecewiseOutput] = {}

    def __enter__(self) -> "_Outputs":
        return self

    def __exit__(self, *_) -> None:
        for output in self._open.values():
            output.close()

    def write(self, part: _Part, samples: np.ndarray) -> float | None:
        """Writes the audio of a part. After an input's last part, returns the duration of its audio in seconds."""
        target = self._targets[part.path]
        if part.path not in self._open:
            self._open[part.path] = PiecewiseOutput(target, self._rate)
        seconds = self._open[part.path].add(samples[part.start : part.stop], part.is_last)
        if seconds is not None:
            del self._open[part.path]
            if self._on_written:
                self._on_written(target)
        return seconds


def _inputs(folder: Path, output: Path, kind: Kind) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
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


@contextmanager
def _threads(count: int) -> Iterator[Executor]:
    """A thread pool. If the block raises, running tasks finish and pending ones are canceled."""
    pool = ThreadPoolExecutor(count)
    pool.submit(int).result()  # start the first thread now: one that starts during an interrupt would not be joined
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _prefetch(
    pool: Executor, tasks: Iterable[tuple[Path, Callable]], failed: list[tuple[Path, DataError]]
) -> Iterator[tuple[Path, Any]]:
    """Yields the results of `tasks` in order, computing up to _PREFETCH of them in advance. A DataError is added to `failed`."""
    started: deque[tuple[Path, Future]] = deque()
    tasks = iter(tasks)
    while True:
        started.extend((path, pool.submit(task)) for path, task in itertools.islice(tasks, 1 + _PREFETCH - len(started)))
        if not started:
            return
        path, future = started.popleft()
        try:
            result = future.result()
        except DataError as error:
            failed.append((path, error))
        else:
            yield path, result


def read_mel(path: Path, vocoder: "Vocoder", converted: Conversion, force: bool) -> "Utterance":
    """The utterance of a mel; the arguments are those of `synthesize_files`. Raises DataError."""
    mel = mel_file.read_mel(path, vocoder.config.mel.num_mels, converted.source.frames_first)
    try:
        return vocoder.utterance_of_mel(mel, converted, force)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _read_audio(path: Path, vocoder: "Vocoder") -> "Utterance | None":
    """The utterance of a recording, None if the recording is too long to be read at once."""
    length, rate = audio.length_and_rate(path)
    if length / rate > _LONGEST_AT_ONCE:
        return None
    samples = audio.read_audio_at(path, vocoder.sampling_rate)
    try:
        return vocoder.utterance_of_audio(samples)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
