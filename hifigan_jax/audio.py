"""Audio files as mono float32 [T] in [-1, 1]: full and partial reads, resampling, and writing 16-bit WAV."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from hifigan_jax.errors import DataError, DiskError
from hifigan_jax.files import atomic_write

logger = logging.getLogger(__name__)

# Suffixes of recordings in a folder. The format is detected from the content.
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"})
# Formats in which a partial read returns exactly the samples of a full one.
SEEKABLE_FORMATS = frozenset({"WAV", "WAVEX", "FLAC", "AIFF", "AU", "CAF", "W64", "RF64"})

_TRUNCATED = re.compile(r"^data : \d+ \(should be \d+\)", re.MULTILINE)  # in libsndfile's log of a WAV file
_MAX_SAMPLE = 8.0  # float audio with larger samples is not scaled to [-1, 1]
_MAX_LENGTH = 2**31  # in samples; a header may state any number


class AudioInfo(NamedTuple):
    """Length and sampling rate from a file's header, and the largest |sample| of its mono mix."""

    samples: int
    sampling_rate: int
    peak: float


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """The samples of a file as float32 [T] and its sampling rate in Hz. Several channels are averaged.

    Raises DataError for files that cannot be decoded, are empty, or contain NaN, infinities or samples far outside [-1, 1].
    """
    with _opened(path) as file:
        return _read(file, path, file.frames), file.samplerate


def read_segment(path: str | Path, start: int, length: int) -> np.ndarray:
    """Samples [start, start + length) as float32, padded with zeros after the end of the file."""
    with _opened(path) as file:
        file.seek(min(start, file.frames))
        audio = _read(file, path, min(length, file.frames - file.tell()))
    return np.pad(audio, (0, length - audio.size))


def inspect_audio(path: str | Path) -> AudioInfo:
    """Decodes the entire file, in bounded memory, to check that it can be read. Raises the errors of `read_audio`."""
    with _opened(path) as file:
        if _TRUNCATED.search(file.extra_info):
            logger.warning("%s: truncated: the header states more samples than the file contains", path)
        peak, remaining = 0.0, file.frames
        while remaining > 0:
            block = _read(file, path, min(remaining, 2**20))
            peak = max(peak, float(np.abs(block).max()))
            remaining -= block.size
        return AudioInfo(file.frames, file.samplerate, peak)


def is_seekable(path: str | Path) -> bool:
    """Whether partial reads of this file are exact (not in MP3 and Opus)."""
    with _opened(path) as file:
        return file.format in SEEKABLE_FORMATS


def resample(audio: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    """`audio` resampled to another sampling rate (soxr, very high quality)."""
    import soxr

    return soxr.resample(audio, rate, target_rate, quality="VHQ").astype(np.float32)


def read_audio_at(path: str | Path, sampling_rate: int) -> np.ndarray:
    """The samples [T] of a file, resampled to `sampling_rate` and logged if it has another rate. Raises as `read_audio`."""
    samples, rate = read_audio(path)
    if rate == sampling_rate:
        return samples
    logger.info("%s: resampled from %d to %d Hz", path, rate, sampling_rate)
    return resample(samples, rate, sampling_rate)


def write_wav(path: str | Path, audio: np.ndarray, sampling_rate: int) -> None:
    """Writes [T] as 16-bit PCM, atomically. Samples out of range are clipped.

    Samples are scaled by 32768 and truncated towards zero, as in the reference. Raises DataError for NaN or infinities, DiskError
    if the file cannot be written.
    """
    if not np.isfinite(audio).all():
        raise DataError(f"{path}: not written: the audio contains NaN or infinite samples")
    # Reference: does not clip, so that +1.0 wraps around to -32768.
    samples = np.clip(audio * np.float32(32768), -32768, 32767).astype(np.int16)
    with atomic_write(path) as temporary:
        try:
            soundfile.write(temporary, samples, sampling_rate, format="WAV", subtype="PCM_16")
        except soundfile.SoundFileError as error:
            raise DiskError(f"{path}: cannot be written: {error}") from None


@contextmanager
def _opened(path: str | Path) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            if file.frames == 0:
                raise DataError(f"{path}: contains no samples")
            if file.frames > _MAX_LENGTH:
                raise DataError(f"{path}: the header states {file.frames} samples: save the file again with its true length")
            yield file
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:  # the last two: raw data, NUL in a name
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        reason = "no such file" if "\0" in str(path) or not os.path.exists(path) else reason
        raise DataError(f"{path}: cannot be decoded: {reason}") from None


def _read(file: soundfile.SoundFile, path: str | Path, samples: int) -> np.ndarray:
    audio = file.read(samples, dtype="float32", always_2d=True)
    if audio.shape[0] != samples:
        raise DataError(f"{path}: damaged: {samples} samples expected, {audio.shape[0]} decoded")
    audio = audio[:, 0] if audio.shape[1] == 1 else audio.mean(axis=1)
    if samples and not np.abs(audio).max() <= _MAX_SAMPLE:  # also true of NaN
        raise DataError(f"{path}: samples are NaN, infinite or far outside [-1, 1]: scale the audio to [-1, 1]")
    return audio
