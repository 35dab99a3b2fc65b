"""The recordings of a run: file lists and folders, and an index of each file's length and peak."""

import functools
import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hifigan_jax import audio, mel_file, mel_guard, mel_pairs
from hifigan_jax.config import Config, Data
from hifigan_jax.conventions import Convention
from hifigan_jax.errors import DataError
from hifigan_jax.file_index import inspect_all
from hifigan_jax.file_lists import hold_out, list_recordings
from hifigan_jax.mel_conversion import Conversion, conversion

logger = logging.getLogger(__name__)


class Recording(NamedTuple):
    """One audio file with its length in samples and its peak, the largest |sample|.

    When fine-tuning, also the path of its mel, the mel's number of frames, and its conversion to what the generator takes.
    """

    path: str
    samples: int
    peak: float
    mel_path: str | None = None
    mel_frames: int | None = None
    conversion: Conversion | None = None


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
    if config.data.fine_tuning:
        _conversion(config)  # unusable settings are found before thousands of files are read
    training, validation = list_recordings(config.data)
    files = sorted({*training, *(validation or ())})
    entries, failed = inspect_all(files, index_path, _inspect, len(audio.AudioInfo._fields), check)
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
    shortest = mel.convention.shortest_recording  # for validation, which computes the mel of a whole recording
    if validation is None:
        training, validation = hold_out(training, {path for path, info in infos.items() if info.samples >= shortest})
    corpus = Corpus(_recordings(training, infos, mel.hop_size), _recordings(validation, infos, shortest))
    if not corpus.training or not corpus.validation:
        raise DataError(f"{config.data.input_wavs_dir}: too few usable recordings: training and validation need one each")
    if len(corpus.training) < batch_size:
        raise DataError(
            f"batch_size {batch_size} is larger than the {len(corpus.training)} training recordings: lower it or add recordings"
        )
    if not config.data.fine_tuning:
        return corpus
    return _with_mels(corpus, config.data, _conversion(config), index_path.with_name("mels.json"), check)


def _conversion(config: Config) -> Conversion:
    return conversion(config.mel, config.data.input_mels_convention, config.data.input_mels_statistics)


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


def _with_mels(corpus: Corpus, data: Data, used: Conversion, index_path: Path, check: Callable[[], None]) -> Corpus:
    """Adds to each recording its mel (mel_pairs.py); logs all mels that do not match before raising DataError.

    The convention defines how many frames a mel has. Without input_mels_convention, if every mel has one frame more than
    expected, all are taken as centered, like Tacotron 2's.
    """
    folder = data.input_mels_dir
    recordings = {recording.path: recording for recording in (*corpus.training, *corpus.validation)}
    mels = mel_pairs.mel_paths(recordings, data)
    missing = mel_pairs.missing(mels)
    if data.input_mels_convention or data.input_mels_statistics:
        index_path = index_path.with_stem(f"mels-{hashlib.sha256(repr(used).encode()).hexdigest()[:8]}")
    inspect = functools.partial(_inspect_mel, used.source)
    known, problems = inspect_all(sorted({*mels.values()} - missing.keys()), index_path, inspect, 2, check)
    problems = [*missing.values(), *problems]
    if not data.input_mels_unchecked:
        problems += [DataError(f"{path}: {reason}") for path, (_, reason) in known.items() if reason]
    found = {path: known[mels[path]][0] for path in recordings if mels[path] in known}
    one_more = bool(found) and all(frames == used.source.frames(recordings[path].samples) + 1 for path, frames in found.items())
    if one_more and data.input_mels_convention is None and not used.source.centered:
        used = used._replace(source=used.source._replace(centered=True))
        logger.info(
            "%s: every mel has one frame more than its recording: frame i is taken as centered on sample i x hop_size, as in"
            " Tacotron 2; frame 0 is dropped and the audio starts %d samples later",
            *(folder, used.first()[1]),
        )
    for path, frames in found.items():
        if problem := mel_pairs.frames_problem(frames, recordings[path].samples, used.source, used.target):
            problems.append(DataError(f"{mels[path]}: does not match {path}: {problem}"))
    if len(problems) > 1:
        for error in problems:
            logger.error("%s", error)
        bad = {str(error).partition(".npy: ")[0] for error in problems}  # a mel can have several problems
        raise DataError(f"{folder}: {len(bad)} of {len(set(mels.values()))} mels, listed above, cannot be used: fix them")
    for error in problems:
        raise error
    differences = (frames - used.source.frames(recordings[path].samples) for path, frames in found.items())
    mel_pairs.log_different_lengths(folder, differences)

    def paired(recording: Recording) -> Recording:
        path = recording.path
        return recording._replace(mel_path=mels[path], mel_frames=found[path], conversion=used)

    return Corpus(tuple(map(paired, corpus.training)), tuple(map(paired, corpus.validation)))


def _inspect(path: str) -> audio.AudioInfo | DataError:
    try:
        if not audio.is_seekable(path):
            return DataError(f"{path}: segments of this format cannot be read exactly: convert it to WAV or FLAC")
        return audio.inspect_audio(path)
    except DataError as error:
        return error


def _inspect_mel(convention: Convention, path: str) -> tuple[int, str] | DataError:
    """The number of frames of a mel, and why it cannot be of the convention; empty if it can."""
    try:
        mel = mel_file.read_mel(path, convention.num_mels, convention.frames_first)
    except DataError as error:
        return error
    try:
        mel_guard.check(mel, convention)
    except DataError as error:
        return mel.shape[0], str(error)
    return mel.shape[0], ""
