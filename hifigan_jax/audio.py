"""Audio files as float32 [T] in [-1, 1], mono: read whole or in part, resampled, written as 16-bit WAV."""

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

# What counts as a recording in a folder; the content decides how it is decoded.
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"})
# Formats where a partial read returns the very samples of a full one.
SEEKABLE_FORMATS = frozenset({"WAV", "WAVEX", "FLAC", "AIFF", "AU", "CAF", "W64", "RF64"})

_CUT_SHORT = re.compile(r"^data : \d+ \(should be \d+\)", re.MULTILINE)  # in libsndfile's notes on a WAV file
_LOUDEST = 8.0  # beyond this, float audio is not in [-1, 1] at all
_LONGEST = 2**31  # samples; a header may claim anything


class AudioInfo(NamedTuple):
    """What a file's header says, and the largest |sample| of its mono mix."""

    frames: int
    sampling_rate: int
    peak: float


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """The whole file as float32 [T] and its sampling rate in Hz. Several channels are averaged.

    Raises DataError for whatever can't be decoded, is empty, or holds NaN, infinities or samples far outside [-1, 1].
    """
    with _opened(path) as file:
        return _read(file, path, file.frames), file.samplerate


def read_segment(path: str | Path, start: int, length: int) -> np.ndarray:
    """Samples [start, start + length) as float32, zeros where the file ends before."""
    with _opened(path) as file:
        file.seek(min(start, file.frames))
        audio = _read(file, path, min(length, file.frames - file.tell()))
    return np.pad(audio, (0, length - audio.size))


def inspect_audio(path: str | Path) -> AudioInfo:
    """Decodes the whole file, in bounded memory, and so proves that it can be read. Raises as `read_audio`."""
    with _opened(path) as file:
        if _CUT_SHORT.search(file.extra_info):
            logger.warning("%s: its header claims more samples than it holds: it was cut short", path)
        peak, left = 0.0, file.frames
        while left > 0:
            block = _read(file, path, min(left, 2**20))
            peak = max(peak, float(np.abs(block).max()))
            left -= block.size
        return AudioInfo(file.frames, file.samplerate, peak)


def is_seekable(path: str | Path) -> bool:
    """Whether partial reads of this file equal full ones (they don't in MP3 and Opus)."""
    with _opened(path) as file:
        return file.format in SEEKABLE_FORMATS


def resample(audio: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    """`audio` at another sampling rate (soxr, very high quality)."""
    import soxr

    return soxr.resample(audio, rate, target_rate, quality="VHQ").astype(np.float32)


def read_audio_at(path: str | Path, sampling_rate: int) -> np.ndarray:
    """`read_audio`, resampled with a notice where the file has another rate: [T]."""
    samples, rate = read_audio(path)
    if rate == sampling_rate:
        return samples
    logger.info("%s: resampled from %d to %d Hz", path, rate, sampling_rate)
    return resample(samples, rate, sampling_rate)


def write_wav(path: str | Path, audio: np.ndarray, sampling_rate: int) -> None:
    """Writes [T] as 16-bit PCM, clipped to the range; the file appears whole or not at all.

    Scaled by 32768 and cut towards zero as the reference does. Raises DataError for NaN or infinities, DiskError if it can't be
    written.
    """
    if not np.isfinite(audio).all():
        raise DataError(f"{path}: not written: the audio holds NaN or infinite samples")
    # Reference: +1.0 wraps around to -32768 there.
    samples = np.clip(audio * np.float32(32768), -32768, 32767).astype(np.int16)
    with atomic_write(path) as temporary:
        try:
            soundfile.write(temporary, samples, sampling_rate, format="WAV", subtype="PCM_16")
        except soundfile.SoundFileError as error:
            raise DiskError(f"{path}: can't be written: {error}") from None


@contextmanager
def _opened(path: str | Path) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            if file.frames == 0:
                raise DataError(f"{path}: holds no samples")
            if file.frames > _LONGEST:
                raise DataError(f"{path}: claims {file.frames} samples: write it anew with its true length")
            yield file
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:  # the last two: raw data, NUL in a name
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        reason = "no such file" if "\0" in str(path) or not os.path.exists(path) else reason
        raise DataError(f"{path}: can't be decoded: {reason}") from None


def _read(file: soundfile.SoundFile, path: str | Path, frames: int) -> np.ndarray:
    audio = file.read(frames, dtype="float32", always_2d=True)
    if audio.shape[0] != frames:
        raise DataError(f"{path}: damaged: {frames} samples expected, {audio.shape[0]} decoded")
    audio = audio[:, 0] if audio.shape[1] == 1 else audio.mean(axis=1)
    if frames and not np.abs(audio).max() <= _LOUDEST:  # also true of NaN
        raise DataError(f"{path}: samples are NaN, infinite or far outside [-1, 1]: scale the audio to [-1, 1]")
    return audio
