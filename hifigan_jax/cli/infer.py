"""`infer.py`: a folder of recordings or mels in, a folder of speech out."""

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
_AHEAD = 4  # files that are read, or wait to be written, before they are needed


def parser(name: str | None = None) -> argparse.ArgumentParser:
    """The program's arguments."""
    result = argparse.ArgumentParser(name, description="Turn recordings or mel-spectrograms into speech.")
    source = result.add_mutually_exclusive_group(required=True)
    source.add_argument("--input_wavs_dir", type=Path, metavar="DIR", help="recordings, to be analysed and spoken again")
    source.add_argument("--input_mels_dir", type=Path, metavar="DIR", help="natural-log mels: .npy of (M, F) or (1, M, F)")
    result.add_argument(
        "--output_dir", type=Path, metavar="DIR", help="default generated_files, or generated_files_from_mel for mels"
    )
    result.add_argument(
        "--checkpoint_file",
        default="universal_v1",
        metavar="PATH_OR_NAME",
        help="a .pth file, a run's folder, or universal_v1 (default), ljspeech_v1",
    )
    result.add_argument("--config", metavar="JSON", help="of a .pth file with none beside it")
    result.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="I/N", help="the I-th of N parts of the files, for N processes or hosts"
    )
    add_compute_dtype(result, "float32")
    add_compile_cache(result)
    return result


def main(options: argparse.Namespace) -> int:
    """Synthesizes every file; returns 3 if any of them could not be."""
    from_mels = options.input_mels_dir is not None
    folder = options.input_mels_dir if from_mels else options.input_wavs_dir
    output = options.output_dir or Path("generated_files_from_mel" if from_mels else "generated_files")
    suffixes, ending = ({".npy"}, "_generated_e2e.wav") if from_mels else (audio.SUFFIXES, "_generated.wav")
    targets = _share(_targets(_inputs(folder, output, suffixes), folder, output, ending), *options.shard)
    start = time.perf_counter()

    runtime.prepare(options.compile_cache)
    from hifigan_jax.synthesis import Vocoder  # jax starts here

    compilations = runtime.Compilations()
    vocoder = Vocoder.from_pretrained(options.checkpoint_file, options.config, options.compute_dtype)
    loaded = time.perf_counter()
    failed: list[HifiganError] = []
    with _threads(_READERS) as readers, _threads(1) as writer:
        read = partial(_read_mel if from_mels else _read_audio, vocoder=vocoder)
        utterances = _ahead(readers, ((path, partial(read, path)) for path in targets), failed)
        spoken = vocoder.synthesize(utterances)
        writes = ((path, partial(_write, targets[path], samples, vocoder.sampling_rate)) for path, samples in spoken)
        seconds = sum(length for _, length in _ahead(writer, writes, failed))
    ended = time.perf_counter()
    logger.info(
        "%d files, %.1f s of audio in %.1f s: %.1f x real time, with %d compilations; %.1f s before that to load %s",
        len(targets) - len(failed),
        seconds,
        ended - loaded,
        seconds / (ended - loaded),
        compilations.count,
        loaded - start,
        options.checkpoint_file,
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
        logger.info("%s: %d files without a fitting suffix are passed over", folder, len(files) - len(chosen))
    if not chosen:
        raise DataError(f"{folder}: holds no {'.npy' if '.npy' in suffixes else 'audio'} files")
    return chosen


def _targets(files: list[Path], folder: Path, output: Path, ending: str) -> dict[Path, Path]:
    """Input -> output, sub-folders kept. Two inputs never share an output."""
    targets: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for path in files:
        inside = path.relative_to(folder).parent if folder.is_dir() else Path()
        target = output / inside / (path.stem + ending)
        if target in taken:
            raise UsageError(f"{taken[target]} and {path.name}: both would become {target}: rename or move one")
        targets[path] = taken[target] = target
    return targets


def _share(targets: dict[Path, Path], part: int, parts: int) -> dict[Path, Path]:
    """Every parts-th of the files by size, so that all parts have about equal work; as they are where there is one part."""
    if parts == 1:
        return targets
    by_size = sorted(targets, key=lambda path: (-path.stat().st_size, path))
    return {path: targets[path] for path in by_size[part - 1 :: parts]}


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"I/N with I from 1 to N, as in 1/8, not {text!r}")
    return int(part), int(parts)


@contextmanager
def _threads(count: int) -> Iterator[Executor]:
    """A pool; when the block ends early, what has begun is finished and the rest is left."""
    pool = ThreadPoolExecutor(count)
    pool.submit(int).result()  # a thread that starts just as an interrupt comes would not be waited for
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _ahead(pool: Executor, tasks: Iterable[tuple[Path, Callable]], failed: list[HifiganError]) -> Iterator[tuple[Path, Any]]:
    """Yields the tasks' results in their order; the pool works up to _AHEAD tasks ahead. A DataError costs its own task only."""
    started: deque[tuple[Path, Future]] = deque()
    tasks = iter(tasks)
    while True:
        started.extend((path, pool.submit(task)) for path, task in itertools.islice(tasks, 1 + _AHEAD - len(started)))
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
    """Writes and prints; returns the audio's length in seconds."""
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
