"""The recordings of a run: file lists and folders, and an index of each file's length and peak."""

import functools
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hifigan_jax import audio, mel_file
from hifigan_jax.config import Config, Data, Mel
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.file_index import inspect_all

logger = logging.getLogger(__name__)

DEFAULT_FOLDER = Data.model_fields["input_wavs_dir"].default


class Recording(NamedTuple):
    """One audio file with its length in samples and its peak, the largest |sample|.

    When fine-tuning, also the path of its mel. `centered` mels are framed as in Tacotron 2: frame i is centered on sample
    i x hop_size instead of (i + 1/2) x hop_size, and there is one frame more.
    """

    path: str
    samples: int
    peak: float
    mel_path: str | None = None
    centered: bool = False


class Corpus(NamedTuple):
    """The recordings of a run."""

    training: tuple[Recording, ...]
    validation: tuple[Recording, ...]

    def batches_per_epoch(self, batch_size: int) -> int:
        """The number of full batches in the training recordings; the remainder of each epoch is dropped."""
        return len(self.training) // batch_size


def load_corpus(config: Config, index_path: Path, check: Callable[[], None] = lambda: None) -> Corpus:
    """Finds the run's recordings and inspects each file once; keeps the results in `index_path`.

    Calls `check` after each file; what it raises ends the search. Unreadable files are logged and left out. Raises DataError for
    a file of another sampling rate, if no file or less than one batch is left, and for a mel that does not match its recording.
    """
    training, validation = list_recordings(config.data)
    entries, failed = inspect_all(sorted({*training, *validation}), index_path, _inspect, len(audio.AudioInfo._fields), check)
    infos = {path: audio.AudioInfo(*entry) for path, entry in entries.items()}
    for error in failed[:10]:
        logger.warning("left out: %s", error)
    if failed:
        logger.warning("%d of %d recordings cannot be used and are left out", len(failed), len(failed) + len(infos))
    mel, batch_size = config.mel, config.optimization.batch_size
    for path, info in infos.items():
        if info.sampling_rate != mel.sampling_rate:
            raise DataError(
                f"{path}: {info.sampling_rate} Hz, but the configuration specifies {mel.sampling_rate} Hz:"
                " resample the recordings or set sampling_rate"
            )
    shortest = max(mel.padding + 1, mel.hop_size)  # for validation: the reflection padding of the mel needs as many samples
    corpus = Corpus(_recordings(training, infos, mel.hop_size), _recordings(validation, infos, shortest))
    if not corpus.training or not corpus.validation:
        raise DataError(f"{config.data.input_wavs_dir}: too few usable recordings: training and validation need one each")
    if len(corpus.training) < batch_size:
        raise DataError(
            f"batch_size {batch_size} is larger than the {len(corpus.training)} training recordings: lower it or add recordings"
        )
    if not config.data.fine_tuning:
        return corpus
    return _with_mels(corpus, config.data.input_mels_dir, mel, index_path.with_name("mels.json"), check)


def list_recordings(data: Data) -> tuple[list[str], list[str]]:
    """The paths of the training recordings and of the validation recordings.

    Each is read from a list file (the reference's `name|text`, or paths), a folder, or input_wavs_dir. Without a list, LJSpeech's
    own lists are used if their recordings are in input_wavs_dir. Without a validation list, one recording in twenty (evenly
    spread, 150 at most) is held out.
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
            raise DataError(f"{data.input_wavs_dir}: a single recording cannot be used for training and validation: add another")
        count = min(max(len(training) // 20, 1), 150)
        held_out = {i * len(training) // count for i in range(count)}
        validation = [training[i] for i in sorted(held_out)]
        training = [path for i, path in enumerate(training) if i not in held_out]
        logger.info("%d of %d recordings are held out for validation", count, count + len(training))
    return training, validation


def audio_files(folder: Path) -> list[str]:
    """All recordings below a folder, sorted, without hidden files and folders."""
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
        paths = _listed(default, default, folder)
        return paths if os.path.isfile(paths[0]) or os.path.normpath(folder) == os.path.normpath(DEFAULT_FOLDER) else None
    if os.path.isdir(path):
        return audio_files(Path(path))
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: file list cannot be read: {reason}") from None
    names = [line.split("|")[0].strip() for line in lines]
    paths = [_locate(name, Path(folder)) for name in names if name]
    if not paths:
        raise DataError(f"{path}: the file list names no recording")
    return paths


def _locate(name: str, folder: Path) -> str:
    path = folder / name  # an absolute name ignores the folder
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
        if info.samples < shortest:
            logger.warning("left out: %s: %d samples, fewer than %d", path, info.samples, shortest)
            continue
        recordings.append(Recording(path, info.samples, info.peak))
    return tuple(recordings)


def _with_mels(corpus: Corpus, folder: str, mel: Mel, index_path: Path, check: Callable[[], None]) -> Corpus:
    """Adds to each recording its mel, `<stem>.npy` in input_mels_dir; logs all mels that do not match before raising DataError.

    A mel has one frame per hop_size samples. If every mel has one frame more, all are taken as framed like Tacotron 2's.
    """
    recordings = {recording.path: recording for recording in (*corpus.training, *corpus.validation)}
    mels = {path: os.path.join(folder, Path(path).stem + ".npy") for path in recordings}
    known, problems = inspect_all(sorted(set(mels.values())), index_path, functools.partial(_inspect_mel, mel.num_mels), 1, check)
    expected = {path: recording.samples // mel.hop_size for path, recording in recordings.items() if mels[path] in known}
    centered = bool(expected) and all(known[mels[path]][0] == frames + 1 for path, frames in expected.items())
    if centered:
        logger.info(
            "%s: every mel has one frame more than its recording: frame i is taken as centered on sample i x hop_size, as in"
            " Tacotron 2; frame 0 is dropped and the audio starts %d samples later",
            *(folder, mel.hop_size - mel.hop_size // 2),
        )
    for path, frames in expected.items():
        found = known[mels[path]][0]
        if found != frames + centered:
            problems.append(
                DataError(f"{mels[path]}: {found} frames, but {path} has {frames}: compute it with hop_size {mel.hop_size}")
            )
    if len(problems) > 1:
        for error in problems:
            logger.error("%s", error)
        raise DataError(f"{folder}: {len(problems)} of {len(mels)} mels, listed above, cannot be used: fix them")
    for error in problems:
        raise error

    def paired(recording: Recording) -> Recording:
        return recording._replace(mel_path=mels[recording.path], centered=centered)

    return Corpus(tuple(map(paired, corpus.training)), tuple(map(paired, corpus.validation)))


def _inspect(path: str) -> audio.AudioInfo | DataError:
    try:
        if not audio.is_seekable(path):
            return DataError(f"{path}: segments of this format cannot be read exactly: convert it to WAV or FLAC")
        return audio.inspect_audio(path)
    except DataError as error:
        return error


def _inspect_mel(num_mels: int, path: str) -> tuple[int] | DataError:
    try:
        return mel_file.read_mel(path, num_mels).shape[:1]
    except DataError as error:
        return error
