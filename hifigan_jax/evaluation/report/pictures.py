"""Pictures of a report as PNG files: waveforms, log-mels and differences of log-mels."""

import math
import struct
import zlib

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from hifigan_jax.evaluation.metric import Audio

LogMel = Float[np.ndarray, "F M"]
Palette = UInt8[np.ndarray, "C 3"]

COLUMNS = 480  # at most; longer recordings are averaged
WAVEFORM_ROWS = 64
MEL_RANGE = math.log(10) * 4  # 80 dB below the reference's maximum
DIFFERENCE_RANGE = math.log(10)  # 20 dB in each direction
LEVELS = 33  # odd, so that no difference has its own color; few, so that files are small

# Evenly spaced colors of matplotlib's magma and of ColorBrewer's RdBu.
_MAGMA = [(0, 0, 4), (28, 16, 68), (79, 18, 123), (129, 37, 129), (181, 54, 122), (229, 80, 100), (251, 135, 97)]
_MAGMA += [(254, 194, 135), (252, 253, 191)]
_BLUE_RED = [(33, 102, 172), (146, 197, 222), (247, 247, 247), (244, 165, 130), (178, 24, 43)]


def png(pixels: UInt8[np.ndarray, "H W"], palette: Palette) -> bytes:
    """A PNG file of indices into a palette."""
    height, width = pixels.shape
    rows = np.pad(pixels, ((0, 0), (1, 0)))  # each row starts with its filter, 0: none
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, content)
        for name, content in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),  # 8 bits, palette
            (b"PLTE", palette.tobytes()),
            (b"IDAT", zlib.compress(rows.tobytes(), 9)),
            (b"IEND", b""),
        )
    )


def waveform(audio: Audio, peak: float) -> bytes:
    """The range of the samples in each column. `peak` is the amplitude at the upper and lower edge."""
    starts = _edges(audio.size)[:-1]
    return png(_envelope(np.minimum.reduceat(audio, starts), np.maximum.reduceat(audio, starts), peak).astype(np.uint8), _INK)


def spectrogram(mel: LogMel, maximum: float) -> bytes:
    """A natural-log mel from `maximum` to MEL_RANGE below it, low frequencies at the bottom."""
    return png(_levels(_narrowed(mel), maximum - MEL_RANGE, maximum), MAGMA)


def difference(mel: LogMel, reference: Float[np.ndarray, "G M"]) -> bytes:
    """mel - reference over the frames that both have: red is more energy than the reference, blue less."""
    frames = min(len(mel), len(reference))
    return png(_levels(_narrowed(mel[:frames] - reference[:frames]), -DIFFERENCE_RANGE, DIFFERENCE_RANGE), BLUE_RED)


def _palette(colors: list[tuple[int, int, int]]) -> Palette:
    positions = np.linspace(0, len(colors) - 1, LEVELS)
    channels = [np.interp(positions, range(len(colors)), channel) for channel in zip(*colors, strict=True)]
    return np.rint(np.stack(channels, 1)).astype(np.uint8)


def _levels(mel: LogMel, low: float, high: float) -> UInt8[np.ndarray, "M F"]:
    levels = np.clip(np.rint((mel - low) / (high - low) * (LEVELS - 1)), 0, LEVELS - 1)
    return levels.astype(np.uint8).T[::-1]


def _narrowed(mel: LogMel) -> Float[np.ndarray, "C M"]:
    edges = _edges(len(mel))
    return np.add.reduceat(mel, edges[:-1]) / np.diff(edges)[:, None]


def _edges(size: int) -> Int[np.ndarray, " N"]:
    return np.linspace(0, size, min(size, COLUMNS) + 1).astype(int)


def _envelope(low: Float[np.ndarray, " C"], high: Float[np.ndarray, " C"], peak: float) -> Bool[np.ndarray, "H C"]:
    rows = np.linspace(peak, -peak, WAVEFORM_ROWS)[:, None]
    half = peak / (WAVEFORM_ROWS - 1)  # so that silence is a line
    return (rows >= low - half) & (rows <= high + half)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


MAGMA, BLUE_RED = _palette(_MAGMA), _palette(_BLUE_RED)
_INK = np.array([(255, 255, 255), (31, 90, 150)], np.uint8)
