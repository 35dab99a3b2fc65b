"""Synthesis of many files: they are read, synthesized and written side by side, with an outcome per file. Does not import jax."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hifigan_jax import audio, mel_file
from hifigan_jax.errors import DataError
from hifigan_jax.mel_conversion import Conversion
from hifigan_jax.synthesis.piecewise_output import PiecewiseOutput
from hifigan_jax.synthesis.targets import MELS, Kind

if TYPE_CHECKING:
    from hifigan_jax.synthesis.utterances import Utterance
    from hifigan_jax.synthesis.vocoder import Vocoder

# Files are read and written while the device computes.
_READERS = 2
_PREFETCH = 4  # files to read ahead, and to queue for writing
_LONGEST_AT_ONCE = 120  # seconds of a recording that is not read in pieces


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
