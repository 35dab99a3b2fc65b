"""Utterances to be synthesized: a mel, or a recording whose mel the device computes."""

from typing import NamedTuple

import numpy as np

from hifigan_jax.config import Mel
from hifigan_jax.synthesis.packing import Span


class MelUtterance(NamedTuple):
    """A log-mel [F, M]. Of its audio, the samples `kept` are returned."""

    mel: np.ndarray
    kept: slice

    @property
    def frames(self) -> int:
        """Number of mel frames."""
        return self.mel.shape[0]

    @staticmethod
    def empty_row(size: int, settings: Mel) -> np.ndarray:
        """An empty window [size, M]."""
        return np.zeros((size, settings.num_mels), np.float32)

    @staticmethod
    def copy(mel: np.ndarray, span: Span, row: np.ndarray, settings: Mel) -> None:
        """Copies the span's frames of a mel or of another window into the window `row`."""
        row[span.offset : span.offset + span.stop - span.start] = mel[span.start : span.stop]

    def place(self, span: Span, row: np.ndarray, settings: Mel) -> None:
        """Copies the span's frames into the window `row`."""
        self.copy(self.mel, span, row, settings)


class AudioUtterance(NamedTuple):
    """A recording, already padded at both ends, to be resynthesized."""

    padded: np.ndarray
    frames: int

    @property
    def kept(self) -> slice:
        """Samples of the audio that are returned: all of them."""
        return slice(None)

    @staticmethod
    def empty_row(size: int, settings: Mel) -> np.ndarray:
        """The samples [T] that the mel of an empty window of `size` frames is computed from."""
        return np.zeros((size - 1) * settings.hop_size + settings.n_fft, np.float32)

    @staticmethod
    def copy(padded: np.ndarray, span: Span, row: np.ndarray, settings: Mel) -> None:
        """Copies the samples that the span's mel frames are computed from, of a recording or of another window, into `row`."""
        offset, start = span.offset * settings.hop_size, span.start * settings.hop_size
        size = (span.stop - span.start - 1) * settings.hop_size + settings.n_fft
        row[offset : offset + size] = padded[start : start + size]

    def place(self, span: Span, row: np.ndarray, settings: Mel) -> None:
        """Copies the samples that the span's mel frames are computed from into `row`."""
        self.copy(self.padded, span, row, settings)


Utterance = MelUtterance | AudioUtterance
