"""`infer.py`: synthesizes a folder of recordings or mels."""

import argparse
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_jax import audio, mel_file, runtime
from hifigan_jax.cli.options import add_compile_cache, add_compute_dtype
from hifigan_jax.errors import DataError, HifiganError, UsageError

logger = logging.getLogger(__name__)

# Files are read and written while the device computes.
_READERS = 2
_PREFETCH = 4  # files to read ahead, and to queue for writing

# Below this size of all inputs, about two minutes of audio, compiling for oneDNN takes longer than its convolutions save.
_SHORT_WORK = 5_000_000  # bytes


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The program's arguments."""
    result = argparse.ArgumentParser(name, description="Synthesize speech from recordings or mel-spectrograms.")
    source = result.add_mutually_exclusive_group(required=True)
    source.add_argument("--input_wavs_dir", type=Path, metavar="DIR", help="folder of recordings to resynthesize, or one file")
    source.add_argument(
        "--input_mels_dir",
        type=Path,
        metavar="DIR",
        help="log-mels: folder or file, .npy of shape (bins, frames)",
    )
    result.add_argument(
        "--output_dir", type=Path, metavar="DIR", help="default: generated_files, or generated_files_from_mel for mels"
    )
    result.add_argument(
        "--checkpoint_file",
        default="universal_v1",
        metavar="PATH_OR_NAME",
        help="PyTorch or .safetensors file, run or checkpoint folder, or pretrained model: universal_v1 (default), ljspeech_v1",
    )
    result.add_argument("--config", metavar="JSON", help="the model's configuration, if there is none next to the weights")
    result.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="I/N", help="process only part I of N, to split a folder over processes"
    )
    add_compute_dtype(result, "float32")
    add_compile_cache(result)
    return result


def main(options: argparse.Namespace) -> int:
    """Synthesizes every file. Returns the exit code: 3 if any file failed."""
    from_mels = options.input_mels_dir is not None
    folder = options.input_mels_dir if from_mels else options.input_wavs_dir
    output = options.output_dir or Path("generated_files_from_mel" if from_mels else "generated_files")
    suffixes, ending = ({".npy"}, "_generated_e2e.wav") if from_mels else (audio.SUFFIXES, "_generated.wav")
    targets = _select_shard(_targets(_inputs(folder, output, suffixes), folder, output, ending), *options.shard)
    start = time.perf_counter()

    long_work = sum(path.stat().st_size for path in targets) > _SHORT_WORK
    runtime.prepare(options.compile_cache, onednn=long_work or options.compute_dtype != "float32")
    from hifigan_jax.synthesis import Vocoder  # imports jax

    compilations = runtime.Compilations()
    vocoder = Vocoder.from_pretrained(options.checkpoint_file, options.config, options.compute_dtype)
    loaded = time.perf_counter()
    failed: list[HifiganError] = []
    with _threads(_READERS) as readers, _threads(1) as writer:
        read = partial(_read_mel if from_mels else _read_audio, vocoder=vocoder)
        utterances = _prefetch(readers, ((path, partial(read, path)) for path in targets), failed)
        results = vocoder.synthesize(utterances)
        writes = ((path, partial(_write, targets[path], samples, vocoder.sampling_rate)) for path, samples in results)
        seconds = sum(length for _, length in _prefetch(writer, writes, failed))
    ended = time.perf_counter()
    logger.info(
        "%d files, %.1f s of audio in %.1f s: %.1f x real time, %d compilations; loading %s took %.1f s",
        len(targets) - len(failed),
        seconds,
        ended - loaded,
        seconds / (ended - loaded),
        compilations.count,
        options.checkpoint_file,
        loaded - start,
    )
    for error in failed:
        logger.error("%s", error)
    return DataError.exit_code if failed else 0


def _inputs(folder: Path, output: Path, suffixes: Collection[str]) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    inside = [path for path in sorted(folder.rglob("*")) if output.resolve() not in path.resolve().parents]
    files = [path for path in inside if path.is_file() and not path.name.startswith(".")]
    chosen = [path for path in files if path.suffix.lower() in suffixes]
    if len(chosen) < len(files):
        logger.info("%s: %d files with other suffixes are skipped", folder, len(files) - len(chosen))
    if not chosen:
        raise DataError(f"{folder}: contains no {'.npy' if '.npy' in suffixes else 'audio'} files")
    return chosen


def _targets(files: list[Path], folder: Path, output: Path, ending: str) -> dict[Path, Path]:
    """The output path of each input, in the same subfolder. Raises UsageError if two inputs have the same output."""
    targets: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for path in files:
        inside = path.relative_to(folder).parent if folder.is_dir() else Path()
        target = output / inside / (path.stem + ending)
        if target in taken:
            raise UsageError(f"{taken[target]} and {path.name}: both would be written to {target}: rename or move one")
        targets[path] = taken[target] = target
    return targets


def _select_shard(targets: dict[Path, Path], part: int, parts: int) -> dict[Path, Path]:
    """Every `parts`-th file in order of size, so that all parts are about equal work."""
    if parts == 1:
        return targets
    by_size = sorted(targets, key=lambda path: (-path.stat().st_size, path))
    return {path: targets[path] for path in by_size[part - 1 :: parts]}


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, for example 1/8, not {text!r}")
    return int(part), int(parts)


@contextmanager
def _threads(count: int) -> Iterator[Executor]:
    """A thread pool. If the block raises, running tasks finish and pending ones are canceled."""
    pool = ThreadPoolExecutor(count)
    pool.submit(int).result()  # start the first thread now: one that starts during an interrupt would not be joined
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _prefetch(pool: Executor, tasks: Iterable[tuple[Path, Callable]], failed: list[HifiganError]) -> Iterator[tuple[Path, Any]]:
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
            failed.append(error)
        else:
            yield path, result


def _write(target: Path, samples: np.ndarray, rate: int) -> float:
    """Writes a WAV file and prints its path. Returns its duration in seconds."""
    audio.write_wav(target, samples, rate)
    print(target, flush=True)
    return samples.size / rate


def _read_mel(path: Path, vocoder):
    return vocoder.utterance_of_mel(mel_file.read_mel(path, vocoder.config.mel.num_mels))


def _read_audio(path: Path, vocoder):
    samples = audio.read_audio_at(path, vocoder.sampling_rate)
    try:
        return vocoder.utterance_of_audio(samples)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
