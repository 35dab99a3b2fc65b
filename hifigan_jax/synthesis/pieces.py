"""Recordings of any length in bounded memory: they are synthesized in pieces.

Each piece includes as many frames before and after it as the generator sees, and the audio of these is dropped. The result is
that of the recording at once, up to float32 rounding.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from hifigan_jax.config import Mel
from hifigan_jax.mel import pad_audio
from hifigan_jax.synthesis.utterances import AudioUtterance

SECONDS = 30  # of a piece


class Piece(NamedTuple):
    """A part of a recording; the samples [start, stop) of its audio belong to the result."""

    utterance: AudioUtterance
    start: int
    stop: int
    is_last: bool


def pieces(blocks: Iterable[np.ndarray], settings: Mel, context: int) -> Iterator[Piece]:
    """The pieces of a recording that arrives in blocks [T] of any length; `context` is the frames that the generator sees."""
    hop, pad, n_fft = settings.hop_size, settings.padding[0], settings.n_fft
    size = max(SECONDS * settings.sampling_rate // hop, 1)
    padded = np.zeros(0, np.float32)  # from frame `first` on, with the padding at the start of the recording
    first = start = length = 0

    def piece(stop: int, total: int | None = None) -> Piece:
        """The frames [start, stop); `total` is the length of the recording, known at its end."""
        begin, end = max(start - context, 0), stop + context if total is None else total
        samples = padded[(begin - first) * hop : (end - first - 1) * hop + n_fft]
        utterance = AudioUtterance(samples, end - begin)
        return Piece(utterance, (start - begin) * hop, (stop - begin) * hop, total is not None)

    is_started = False
    for block in blocks:
        padded, length = np.concatenate([padded, block]), length + block.size
        if not is_started:
            if padded.size <= max(settings.padding):
                continue
            padded, is_started = pad_audio(padded, settings)[: pad + padded.size], True
        while first + (padded.size - n_fft) // hop + 1 > start + size + context:
            yield piece(start + size)
            start += size
            dropped = max(start - context, 0) - first
            padded, first = padded[dropped * hop :], first + dropped
    padded = pad_audio(padded, settings)[pad:]
    yield piece(length // hop, length // hop)
