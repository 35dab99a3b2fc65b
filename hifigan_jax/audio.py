"""Audio files as mono float32 [T] in [-1, 1]: full and partial reads, resampling, and writing 16-bit WAV."""

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from hifigan_jax.errors import DataError, DiskError
from hifigan_jax.files import atomic_write
from hifigan_jax.wav_header import CompletedWav, unset_size_position

logger = logging.getLogger(__name__)

# Suffixes of recordings in a folder. The format is detected from the content.
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"})
# Containers and codings in which a partial read returns exactly the samples of a full one. A WAV file may contain GSM or MP3.
SEEKABLE_FORMATS = frozenset({"WAV", "WAVEX", "FLAC", "AIFF", "AU", "CAF", "W64", "RF64"})
_SEEKABLE_CODINGS = re.compile(r"PCM_\w+|FLOAT|DOUBLE|[UA]LAW|(IMA|MS)_ADPCM|ALAC_\d+")

_TRUNCATED = re.compile(r"^data : (\d+) \(should be \d+\)", re.MULTILINE)  # in libsndfile's log of a WAV file
_SIZE_OF_PIPES = 2**31 - 4096  # a program that writes to a pipe cannot set the size later, and states the largest
_MAX_SAMPLE = 8.0  # float audio with larger samples is not scaled to [-1, 1]
_MAX_LENGTH = 2**31  # in samples; a header may state any number
_BLOCK = 2**20  # samples of all channels that are decoded at a time
_LOWEST_RATE = 1000  # Hz; a header that states less is wrong
_CANCELED = 0.01  # a mix whose peak is below this part of its channels' peak has lost the speech


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
        blocks = [*_blocks(file, path)]
        _warn(file, path, blocks)
        return np.concatenate([block.mix for block in blocks]), file.samplerate


def read_segment(path: str | Path, start: int, length: int, samples: int | None = None) -> np.ndarray:
    """Samples [start, start + length) as float32, padded with zeros after the end of the file.

    Raises the errors of `read_audio`, and DataError if the file does not have `samples` samples (None: any number).
    """
    with _opened(path) as file:
        if samples is not None:
            check_length(path, file.frames, samples)
        file.seek(min(start, file.frames))
        audio = _read(file, path, min(length, file.frames - file.tell())).mix
    return np.pad(audio, (0, length - audio.size))


def check_length(path: str | Path, found: int, expected: int) -> None:
    """Raises DataError if a file that had `expected` samples when it was inspected has another number now."""
    if found != expected:
        raise DataError(f"{path}: changed: {found} samples, {expected} when it was inspected: start again to use it")


def inspect_audio(path: str | Path) -> AudioInfo:
    """Decodes the entire file, in bounded memory, to check that it can be read. Raises the errors of `read_audio`."""
    with _opened(path) as file:
        blocks = [block.without_samples() for block in _blocks(file, path)]
        _warn(file, path, blocks)
        return AudioInfo(file.frames, file.samplerate, max(block.peak for block in blocks))


def length_and_rate(path: str | Path) -> tuple[int, int]:
    """Samples per channel and sampling rate in Hz, as the header states them. Raises DataError."""
    with _opened(path) as file:
        return file.frames, file.samplerate


def coding(path: str | Path) -> tuple[str, str, int]:
    """Container ("WAV"), coding ("PCM_16") and number of channels of a file. Raises DataError."""
    with _opened(path) as file:
        return file.format, file.subtype, file.channels


def wav_length(path: str | Path) -> tuple[int, int]:
    """Samples and rate of a file that `write_wav` has written. Raises DataError for any other, also if it is incomplete."""
    with _opened(path) as file:
        written = (file.format, file.subtype, file.channels) == ("WAV", "PCM_16", 1)
        if not written or os.path.getsize(path) < 44 + 2 * file.frames or _TRUNCATED.search(file.extra_info):
            raise DataError(f"{path}: not a complete 16-bit WAV file with one channel")
        return file.frames, file.samplerate


def is_seekable(path: str | Path) -> bool:
    """Whether partial reads of this file are exact (not in MP3, Opus and GSM)."""
    with _opened(path) as file:
        return file.format in SEEKABLE_FORMATS and _SEEKABLE_CODINGS.fullmatch(file.subtype) is not None and file.seekable()


def as_samples(values: np.ndarray) -> np.ndarray:
    """Audio of any shape as float32 in [-1, 1]: integers, as in audio files, are scaled by the range of their dtype.

    Raises DataError for other kinds of numbers, NaN, infinities and samples far outside [-1, 1].
    """
    match values.dtype.kind:
        case "f":
            audio = values.astype(np.float32)
        case "i":
            audio = (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
        case "u" if values.dtype == np.uint8:  # the only unsigned format of audio files
            audio = (values.astype(np.float32) - 128) / 128
        case _:
            raise DataError(f"audio of dtype {values.dtype}: expected floating-point numbers in [-1, 1] or integer samples")
    if audio.size and not np.abs(audio).max() <= _MAX_SAMPLE:  # also true of NaN
        raise DataError("the audio contains NaN, infinite values or values far outside [-1, 1]: scale it to [-1, 1]")
    return audio


def resample(audio: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    """`audio` resampled to another sampling rate (soxr, very high quality)."""
    import soxr

    return soxr.resample(audio, rate, target_rate, quality="VHQ").astype(np.float32)


def resampled_length(samples: int, rate: int, target_rate: int) -> int:
    """The number of samples that `resample` returns."""
    return samples if rate == target_rate else round(samples * target_rate / rate)


def read_audio_at(path: str | Path, sampling_rate: int) -> np.ndarray:
    """The samples [T] of a file, resampled to `sampling_rate` and logged if it has another rate. Raises as `read_audio`."""
    samples, rate = read_audio(path)
    if rate == sampling_rate:
        return samples
    if samples.size * sampling_rate / rate > _MAX_LENGTH:
        raise DataError(f"{path}: too long to resample from {rate} to {sampling_rate} Hz: split it")
    logger.info("%s: resampled from %d to %d Hz", path, rate, sampling_rate)
    return resample(samples, rate, sampling_rate)


def audio_blocks(path: str | Path, sampling_rate: int) -> Iterator[np.ndarray]:
    """The samples of `read_audio_at` in blocks [T], in bounded memory. Resampled ones can differ in the last bits."""
    import soxr

    with _opened(path) as file:
        if file.samplerate == sampling_rate:
            resampled = None
        else:
            logger.info("%s: resampled from %d to %d Hz", path, file.samplerate, sampling_rate)
            resampled = soxr.ResampleStream(file.samplerate, sampling_rate, 1, dtype="float32", quality="VHQ")
        seen = []
        for block in _blocks(file, path):
            yield block.mix if resampled is None else resampled.resample_chunk(block.mix)
            seen.append(block.without_samples())
        if resampled is not None:
            yield resampled.resample_chunk(np.zeros(0, np.float32), last=True)
        _warn(file, path, seen)


def write_wav(path: str | Path, audio: np.ndarray, sampling_rate: int) -> None:
    """Writes [T] as 16-bit PCM, atomically. Samples out of range are clipped.

    Samples are scaled by 32768 and truncated towards zero, as in the reference. Raises DataError for NaN or infinities, DiskError
    if the file cannot be written.
    """
    with wav_writer(path, sampling_rate) as write:
        write(audio)


@contextmanager
def wav_writer(path: str | Path, sampling_rate: int) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields a function that appends samples [T] to a file as `write_wav` writes it, with the same errors.

    The file gets its name when the block ends without an error.
    """

    def write(audio: np.ndarray) -> None:
        if not np.isfinite(audio).all():
            raise DataError(f"{path}: not written: the audio contains NaN or infinite samples")
        # Reference: does not clip, so that +1.0 wraps around to -32768.
        file.write(np.clip(audio * np.float32(32768), -32768, 32767).astype(np.int16))

    with atomic_write(path) as temporary:
        try:
            with soundfile.SoundFile(os.fsencode(temporary), "w", sampling_rate, 1, "PCM_16", format="WAV") as file:
                yield write
        except soundfile.SoundFileError as error:
            raise DiskError(f"{path}: cannot be written: {error}") from None


class _Block(NamedTuple):
    """Consecutive samples: the mean of the channels, its peak, and the peak of the channels."""

    mix: np.ndarray
    peak: float
    channels_peak: float

    def without_samples(self) -> "_Block":
        """The peaks alone; a slice of the samples would keep all of them in memory."""
        return self._replace(mix=np.zeros(0, np.float32))


@contextmanager
def _opened(path: str | Path) -> Iterator[soundfile.SoundFile]:
    try:
        with _sound_file(os.fspath(path)) as file:
            if file.frames == 0:
                raise DataError(f"{path}: contains no samples")
            if file.frames > _MAX_LENGTH:
                raise DataError(f"{path}: the header states {file.frames} samples: save the file again with its true length")
            if file.samplerate < _LOWEST_RATE:
                raise DataError(
                    f"{path}: the header states a rate of {file.samplerate} Hz: save the file again with its true rate"
                )
            yield file
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError) as error:  # the last two: raw data, NUL in a name
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        reason = "no such file" if "\0" in str(path) or not os.path.exists(path) else reason
        raise DataError(f"{path}: cannot be decoded: {reason}") from None


@contextmanager
def _sound_file(path: str) -> Iterator[soundfile.SoundFile]:
    with soundfile.SoundFile(os.fsencode(path)) as file:  # the name may not be UTF-8
        position = unset_size_position(path) if file.frames == 0 and file.format == "WAV" else None
        if position is None:
            yield file
            return
    with CompletedWav(path, position) as completed, soundfile.SoundFile(completed) as file:
        yield file


def _blocks(file: soundfile.SoundFile, path: str | Path) -> Iterator[_Block]:
    """All samples. A header that states too many costs no memory."""
    size = max(_BLOCK // file.channels, 1)
    for start in range(0, file.frames, size):
        yield _read(file, path, min(size, file.frames - start))


def _read(file: soundfile.SoundFile, path: str | Path, samples: int) -> _Block:
    audio = file.read(samples, dtype="float32", always_2d=True)
    if audio.shape[0] != samples:
        raise DataError(f"{path}: damaged: {samples} samples expected, {audio.shape[0]} decoded")
    mix = audio[:, 0] if audio.shape[1] == 1 else audio.mean(axis=1)
    peak, channels_peak = (float(np.abs(part).max(initial=0)) for part in (mix, audio))
    if not channels_peak <= _MAX_SAMPLE:  # also true of NaN
        raise DataError(f"{path}: samples are NaN, infinite or far outside [-1, 1]: scale the audio to [-1, 1]")
    return _Block(mix, peak, channels_peak)


def _warn(file: soundfile.SoundFile, path: str | Path, blocks: Sequence[_Block]) -> None:
    truncated = _TRUNCATED.search(file.extra_info)
    if truncated and int(truncated[1]) < _SIZE_OF_PIPES:
        logger.warning("%s: truncated: the header states more samples than the file contains", path)
    if max(block.peak for block in blocks) < _CANCELED * max(block.channels_peak for block in blocks):
        logger.warning("%s: its channels cancel out: their mean is almost silent: keep one of them", path)
