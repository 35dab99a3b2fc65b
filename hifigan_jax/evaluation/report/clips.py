"""Clips of a report: which files it contains, their audio in a compressed format, and their pictures."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import soundfile

from hifigan_jax.audio import resample
from hifigan_jax.errors import DataError, UsageError, did_you_mean
from hifigan_jax.evaluation.files import read_mono
from hifigan_jax.evaluation.metric import Audio
from hifigan_jax.evaluation.report.pictures import difference, spectrogram, waveform
from hifigan_jax.evaluation.spectra import log_mel, mel_settings

Codec = Literal["flac", "opus"]

REFERENCE = "reference recording"
SAME_AS_REFERENCE = ("ground_truth", "pcm16")  # anchors that sound like the reference
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # Hz
OPUS_BIT_RATE = 80_000  # bit/s
_OPUS_LOWEST, _OPUS_HIGHEST = 6_000, 256_000  # bit/s of libsndfile's compression levels 1 and 0


class Source(NamedTuple):
    """Where the audio of a system is."""

    name: str
    folder: Path
    files: dict[str, dict[str, Any]]  # by key; as in results.json


class Track(NamedTuple):
    """A clip as one system synthesized it. `difference` is None for the reference."""

    source: int  # its number in the list of sources
    audio: bytes
    waveform: bytes
    mel: bytes
    difference: bytes | None


class Clip(NamedTuple):
    """A reference and what the systems made of it, the reference first."""

    key: str
    seconds: float  # of the reference
    tracks: list[Track]
    problems: list[str]

    @property
    def size(self) -> int:
        """Bytes of audio and pictures."""
        return sum(len(part) for track in self.tracks for part in track[1:] if part is not None)


def sources(data: dict[str, Any], systems: Sequence[str] | None, root: Path) -> list[Source]:
    """The reference and the systems of a results.json. Raises UsageError for an unknown system, DataError for a missing folder.

    None means all systems but the anchors that sound like the reference. Relative folders are below `root`.
    """
    known = data["systems"]
    for name in systems or ():
        if name not in known:
            raise UsageError(f"{name}: not a system of these results ({', '.join(known)}){did_you_mean(name, known)}")
    names = [name for name in known if name not in SAME_AS_REFERENCE] if systems is None else list(dict.fromkeys(systems))
    entries = [(REFERENCE, data["reference"]), *((name, known[name]) for name in names)]
    listed = [Source(name, root / entry["folder"], entry["files"]) for name, entry in entries]
    for source in listed:
        if not source.folder.is_dir():
            raise DataError(f"{source.folder}: no such folder, but it has the audio of {source.name}: give its root with --root")
    return listed


def choose(listed: Sequence[Source], count: int) -> list[str]:
    """At most `count` keys, evenly spaced, of the references that most systems have a file for."""
    keys = sorted(listed[0].files)
    complete = [key for key in keys if all(key in source.files for source in listed)]
    keys = complete or keys
    positions = np.linspace(0, len(keys) - 1, min(count, len(keys)))
    return [keys[round(position)] for position in positions]


def load(key: str, listed: Sequence[Source], codec: Codec) -> Clip:
    """The clip with the tracks of all sources that have this key. A file that cannot be read is a problem."""
    audio, problems = {}, []
    for i, source in enumerate(listed):
        try:
            if key in source.files:
                audio[i] = _read(source.folder / source.files[key]["path"], source.files[key]["sha256"])
        except DataError as error:
            problems.append(str(error))
    if 0 not in audio:
        return Clip(key, 0.0, [], problems)
    samples, rate = audio[0]
    return Clip(key, samples.size / rate, tracks({i: samples for i, (samples, _) in audio.items()}, rate, codec), problems)


def tracks(audio: dict[int, Audio], rate: int, codec: Codec) -> list[Track]:
    """The tracks of one clip. Source 0 is the reference, whose peak and loudest mel bin set the range of the pictures."""
    settings = mel_settings(rate, full_band=True)
    mels = {i: log_mel(samples, settings) for i, samples in audio.items()}
    peak, maximum = float(np.abs(audio[0]).max()), float(mels[0].max())
    return [
        Track(
            i,
            encode(samples, rate, codec),
            waveform(samples, peak),
            spectrogram(mels[i], maximum),
            difference(mels[i], mels[0]) if i else None,
        )
        for i, samples in audio.items()
    ]


def encode(audio: Audio, rate: int, codec: Codec) -> bytes:
    """A 16-bit FLAC file, or an Ogg file with Opus at the next rate that Opus has and with 10 ms of silence at the end."""
    file = io.BytesIO()
    if codec == "flac":
        samples = np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16)  # exact for 16-bit files; soundfile's is not
        soundfile.write(file, samples, rate, format="FLAC", subtype="PCM_16", compression_level=1.0)
    else:
        target = next((candidate for candidate in _OPUS_RATES if candidate >= rate), _OPUS_RATES[-1])
        audio = audio if target == rate else resample(audio, rate, target)
        audio = np.pad(audio, (0, target // 100))  # 10 ms, because the last 6.5 ms of libsndfile's Opus are wrong
        level = (_OPUS_HIGHEST - OPUS_BIT_RATE) / (_OPUS_HIGHEST - _OPUS_LOWEST)
        soundfile.write(file, np.clip(audio, -1, 1), target, format="OGG", subtype="OPUS", compression_level=level)
    return file.getvalue()


def _read(path: Path, sha256: str) -> tuple[Audio, int]:
    """The samples of a file and its rate. Raises DataError, also if it is not the file that was evaluated."""
    audio, rate = read_mono(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise DataError(f"{path}: has changed since the evaluation: evaluate again")
    return np.clip(audio, -1, 1), rate
