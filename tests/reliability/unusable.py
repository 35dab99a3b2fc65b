"""Kinds of recordings that cannot be used: damaged, absurd, or not recordings at all."""

import gzip
import io
import json
import os
import pathlib
import struct
import zipfile
from collections.abc import Callable

import inputs
import numpy as np
import soundfile
from inputs import RATE, second

Write = Callable[[pathlib.Path], object]  # writes a bad file at a path


def _bytes(content: Callable[[], bytes]) -> Write:
    return lambda path: path.write_bytes(content())


def _samples(samples: Callable[[], np.ndarray], rate: int = RATE, **options) -> Write:
    return lambda path: soundfile.write(path, samples(), rate, **options)


def _coded(container: str, subtype: str | None = None, rate: int = RATE) -> bytes:
    return inputs._coded(container, subtype, rate)(second())


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _patched(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


def _flac_claiming(samples: int) -> bytes:
    """A FLAC file of eight channels whose header claims this number of samples."""
    file = io.BytesIO()
    soundfile.write(file, np.repeat(second()[:, None], 8, axis=1), RATE, format="FLAC")
    content = bytearray(file.getvalue())
    content[21] = content[21] & 0xF0 | samples >> 32
    content[22:26] = struct.pack(">I", samples & 0xFFFFFFFF)
    return bytes(content)


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.wav", inputs.ODD["pcm16.wav"].content(second()))
    return file.getvalue()


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, second())
    return file.getvalue()


def _wav(format_chunk: bytes | None = None, data: np.ndarray | None = None) -> bytes:
    data = second() if data is None else data
    return inputs._wav(inputs._format() if format_chunk is None else format_chunk, inputs._data(data))


_NOISE = np.random.default_rng(0)
BAD: dict[str, Write] = {
    # Not recordings
    "empty.wav": _bytes(lambda: b""),
    "text.wav": _bytes(lambda: b"no audio\n"),
    "page.wav": _bytes(lambda: b"<html><body>404 Not Found</body></html>"),
    "json.wav": _bytes(lambda: json.dumps(inputs.GENERATOR).encode()),
    "zeros.wav": _bytes(lambda: bytes(10_000)),
    "noise.wav": _bytes(lambda: _NOISE.bytes(10_000)),
    "archive.wav": _bytes(_zip),
    "compressed.wav": _bytes(lambda: gzip.compress(inputs.ODD["pcm16.wav"].content(second()))),
    "array.wav": _bytes(_npy),
    "noise_in_flac.flac": _bytes(lambda: b"fLaC" + _NOISE.bytes(10_000)),
    "noise_in_ogg.ogg": _bytes(lambda: b"OggS" + _NOISE.bytes(10_000)),
    "noise_in_mp3.mp3": _bytes(lambda: b"\xff\xfb\x90\x00" + _NOISE.bytes(10_000)),
    "link_to_nothing.wav": lambda path: os.symlink(path.with_name("nothing"), path),
    "link_to_itself.wav": lambda path: os.symlink(path.name, path),
    "pipe.wav": os.mkfifo,
    # WAV headers
    "riff_only.wav": _bytes(lambda: _wav()[:12]),
    "cut_after_30_bytes.wav": _bytes(lambda: _wav()[:30]),
    "header_only.wav": _bytes(lambda: _wav()[:44]),
    "no_format.wav": _bytes(lambda: _wav(b"")),
    "no_data.wav": _bytes(lambda: inputs._wav(inputs._format())),
    "no_channels.wav": _bytes(lambda: _wav(inputs._format(channels=0))),
    "65535_channels.wav": _bytes(lambda: _wav(inputs._format(channels=65535, frame=2, bytes_a_second=2 * RATE))),
    "rate_0.wav": _bytes(lambda: _wav(inputs._format(rate=0))),
    "rate_1.wav": _bytes(lambda: _wav(inputs._format(rate=1))),
    "0_bits.wav": _bytes(lambda: _wav(inputs._format(bits=0))),
    "unknown_coding.wav": _bytes(lambda: _wav(inputs._format(0x9999))),
    "a_large_chunk_before_data.wav": _bytes(
        lambda: inputs._wav(inputs._format(), inputs._chunk(b"LIST", bytes(8), 0xFFFFFFF0), inputs._data(second()))
    ),
    # Samples
    "no_samples.wav": _samples(lambda: second()[:0]),
    "one_sample.wav": _samples(lambda: second()[:1]),
    "255_samples.wav": _samples(lambda: second()[:255]),
    "nan.wav": _samples(lambda: np.where(np.arange(RATE) == 9, np.nan, second() / 32768), subtype="FLOAT"),
    "infinite.wav": _samples(lambda: np.where(np.arange(RATE) == 9, np.inf, second() / 32768), subtype="FLOAT"),
    "float_of_int16.wav": _samples(lambda: second().astype(np.float32), subtype="FLOAT"),
    # Damaged
    "flac_of_2_31_samples.flac": _bytes(lambda: _flac_claiming(2**31)),
    "half_a.flac": _bytes(lambda: _half(_coded("FLAC"))),
    "a_damaged.flac": _bytes(lambda: _patched(_coded("FLAC"), 12_000, bytes(300))),
    "half_a_header.ogg": _bytes(lambda: _coded("OGG")[:40]),
    "cut_in_the_header.caf": _bytes(lambda: _coded("CAF")[:60]),
}
