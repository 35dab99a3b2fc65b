"""Which recordings a run has: file lists and folders, and an index of what must be known of each file."""

import functools
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from hifigan_jax import audio, mel_file
from hifigan_jax.config import Config, Data, Mel
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.files import atomic_write

logger = logging.getLogger(__name__)


class Recording(NamedTuple):
    """One file, with what must be known of it before any of it is read: its length in samples and its largest |sample|.

    When fine-tuning, its mel's file too, and whether that mel is framed as Tacotron 2 does: frame i centered on sample
    i hop_size, not on (i + 1/2) hop_size, and one frame more.
    """

    path: str
    frames: int
    peak: float
    mel_path: str | None = None
    centered: bool = False


class Corpus(NamedTuple):
    """The recordings of a run."""

    training: tuple[Recording, ...]
    validation: tuple[Recording, ...]

    def batches_per_epoch(self, batch_size: int) -> int:
        """Whole batches in one pass over the training recordings; the rest of a pass is dropped."""
        return len(self.training) // batch_size


def load_corpus(config: Config, index_path: Path) -> Corpus:
    """Finds the run's recordings and inspects each of them once; what was learnt is kept in `index_path`.

    Unreadable files are named and left out. Raises DataError where a file has another sampling rate, where none is left, where
    there are fewer than one batch, and where a mel to fine-tune on doesn't belong to its recording.
    """
    training, validation = list_recordings(config.data)
    entries, failed = _inspect_all(sorted({*training, *validation}), index_path, _inspect, len(audio.AudioInfo._fields))
    infos = {path: audio.AudioInfo(*entry) for path, entry in entries.items()}
    for error in failed[:10]:
        logger.warning("left out: %s", error)
    if failed:
        logger.warning("%d of %d recordings can't be used and are left out", len(failed), len(failed) + len(infos))
    mel, batch_size = config.mel, config.optimization.batch_size
    for path, info in infos.items():
        if info.sampling_rate != mel.sampling_rate:
            raise DataError(
                f"{path}: {info.sampling_rate} Hz, but the configuration says {mel.sampling_rate} Hz: resample the recordings or"
                " set sampling_rate"
            )
    reflected = max(mel.padding + 1, mel.hop_size)  # a whole utterance's mel needs as many samples
    corpus = Corpus(_recordings(training, infos, mel.hop_size), _recordings(validation, infos, reflected))
    if not corpus.training or not corpus.validation:
        raise DataError(f"{config.data.input_wavs_dir}: no readable recording is left to train on and one to validate on")
    if len(corpus.training) < batch_size:
        raise DataError(
            f"batch_size {batch_size} is larger than the {len(corpus.training)} training recordings: lower it or add some"
        )
    if not config.data.fine_tuning:
        return corpus
    return _with_mels(corpus, config.data.input_mels_dir, mel, index_path.with_name("mels.json"))


def list_recordings(data: Data) -> tuple[list[str], list[str]]:
    """Paths of the training and of the validation recordings.

    Each comes from a list file (the reference's `name|text`, or paths), from a folder, or from the whole of input_wavs_dir. With
    no validation list, one recording in twenty (150 at most, evenly spread) is held out.
    """
    training = _listed(data.input_training_file, "LJSpeech-1.1/training.txt", data.input_wavs_dir)
    validation = _listed(data.input_validation_file, "LJSpeech-1.1/validation.txt", data.input_wavs_dir)
    if training is None:
        training = audio_files(Path(data.input_wavs_dir))
        if not training:
            raise DataError(f"{data.input_wavs_dir}: no recordings found (--input_wavs_dir)")
        held_out = {os.path.abspath(path) for path in validation or ()}
        training = [path for path in training if os.path.abspath(path) not in held_out]
    if validation is None:
        if len(training) < 2:
            raise DataError(f"{data.input_wavs_dir}: one recording can't be both trained on and held out: add another")
        count = min(max(len(training) // 20, 1), 150)
        held_out = {i * len(training) // count for i in range(count)}
        validation = [training[i] for i in sorted(held_out)]
        training = [path for i, path in enumerate(training) if i not in held_out]
        logger.info("%d of %d recordings are held out for validation", count, count + len(training))
    return training, validation


def audio_files(folder: Path) -> list[str]:
    """All recordings below a folder, sorted; hidden files and folders are passed over."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.join(root, name) for name in names if Path(name).suffix.lower() in audio.SUFFIXES and not name.startswith(".")
        ]
    return sorted(found)


def _listed(path: str | None, default: str, folder: str) -> list[str] | None:
    if path is None:
        if not os.path.isfile(default):
            return None
        path = default
    if os.path.isdir(path):
        return audio_files(Path(path))
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: file list can't be read: {reason}") from None
    names = [line.split("|")[0].strip() for line in lines]
    paths = [_locate(name, Path(folder)) for name in names if name]
    if not paths:
        raise DataError(f"{path}: the file list names no recording")
    return paths


def _locate(name: str, folder: Path) -> str:
    path = folder / name  # an absolute name stands for itself
    if path.suffix.lower() in audio.SUFFIXES:
        return str(path)
    flac = path.with_name(path.name + ".flac")
    return str(flac if flac.is_file() else path.with_name(path.name + ".wav"))


def _recordings(paths: Sequence[str], infos: dict[str, audio.AudioInfo], shortest: int) -> tuple[Recording, ...]:
    recordings = []
    for path in paths:
        if path not in infos:
            continue
        info = infos[path]
        if info.frames < shortest:
            logger.warning("left out: %s: %d samples, fewer than %d", path, info.frames, shortest)
            continue
        recordings.append(Recording(path, info.frames, info.peak))
    return tuple(recordings)


def _with_mels(corpus: Corpus, folder: str, mel: Mel, index_path: Path) -> Corpus:
    """Each recording with its mel, `<stem>.npy` in input_mels_dir; every mel that doesn't fit is named before any is used.

    A mel has a frame for each hop_size samples. If all have one more, they are taken to be framed as Tacotron 2 does it.
    """
    recordings = {recording.path: recording for recording in (*corpus.training, *corpus.validation)}
    mels = {path: os.path.join(folder, Path(path).stem + ".npy") for path in recordings}
    known, problems = _inspect_all(sorted(set(mels.values())), index_path, functools.partial(_inspect_mel, mel.num_mels), 1)
    expected = {path: recording.frames // mel.hop_size for path, recording in recordings.items() if mels[path] in known}
    centered = bool(expected) and all(known[mels[path]][0] == frames + 1 for path, frames in expected.items())
    if centered:
        logger.info(
            "%s: every mel has one frame more than its recording: taken as centered on sample i x hop_size, as Tacotron 2 does"
            " it; frame 0 is cut and the audio starts %d samples later",
            *(folder, mel.hop_size - mel.hop_size // 2),
        )
    for path, frames in expected.items():
        has = known[mels[path]][0]
        if has != frames + centered:
            problems.append(
                DataError(f"{mels[path]}: {has} frames, but {path} has {frames}: make it with hop_size {mel.hop_size}")
            )
    if len(problems) > 1:
        for error in problems:
            logger.error("%s", error)
        raise DataError(f"{folder}: {len(problems)} of {len(mels)} mels, named above, can't be used: mend them")
    for error in problems:
        raise error

    def paired(recording: Recording) -> Recording:
        return recording._replace(mel_path=mels[recording.path], centered=centered)

    return Corpus(tuple(map(paired, corpus.training)), tuple(map(paired, corpus.validation)))


def _inspect_all(
    paths: Sequence[str], index_path: Path, inspect: Callable[[str], tuple | DataError], width: int
) -> tuple[dict[str, list], list[DataError]]:
    """What `inspect` finds in each readable file, `width` values, and what is wrong with the others.

    Files are read only where size or time differ from the index's.
    """
    known = _read_index(index_path, width)
    stamps = {path: _stamp(path) for path in paths}
    entries = {path: known[path] for path in paths if path in known and known[path][:2] == stamps[path]}
    new = [path for path in paths if path not in entries]
    if new:
        logger.info("reading %d files for the index %s", len(new), index_path.name)
    failed = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, info in zip(new, pool.map(inspect, new), strict=True):
            if isinstance(info, DataError):
                failed.append(info)
            else:
                entries[path] = [*stamps[path], *info]
    if new:
        with atomic_write(index_path) as temporary:
            Path(temporary).write_text(json.dumps(entries, indent=0), encoding="utf-8")
    return {path: entries[path][2:] for path in paths if path in entries}, failed


def _inspect(path: str) -> audio.AudioInfo | DataError:
    try:
        if not audio.is_seekable(path):
            return DataError(f"{path}: a format that can't be read in parts exactly: convert it to WAV or FLAC")
        return audio.inspect_audio(path)
    except DataError as error:
        return error


def _inspect_mel(num_mels: int, path: str) -> tuple[int] | DataError:
    try:
        return mel_file.read_mel(path, num_mels).shape[:1]
    except DataError as error:
        return error


def _stamp(path: str) -> list[int]:
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return [0, 0]
    return [stat.st_size, stat.st_mtime_ns]


def _read_index(path: Path, width: int) -> dict[str, list]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return {name: entry for name, entry in index.items() if len(entry) == 2 + width}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # it can always be made again
