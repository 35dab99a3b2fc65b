"""A WAV file that is written in pieces."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hifigan_jax import audio


class PiecewiseOutput:
    """A WAV file written in pieces. It gets its name with the last one; if `close` is called before, nothing is left."""

    def __init__(self, target: Path, sampling_rate: int):
        self._target, self._rate, self._samples = target, sampling_rate, 0
        self._stack = contextlib.ExitStack()
        self._write: Callable[[np.ndarray], None] | None = None
        self._failed = False

    def add(self, samples: np.ndarray, is_last: bool) -> float | None:
        """Appends samples [T]; returns the seconds of the complete file after the last ones, else None.

        Raises as `write_wav` for the first piece that cannot be written; later ones are ignored.
        """
        if self._failed:
            return None
        try:
            if self._write is None:
                self._write = self._stack.enter_context(audio.wav_writer(self._target, self._rate))
            self._write(samples)
            if is_last:
                self._stack.close()
        except BaseException:
            self.close()
            raise
        self._samples += samples.size
        return self._samples / self._rate if is_last else None

    def close(self) -> None:
        """Deletes what has been written if the last piece has not."""
        self._failed = True
        with contextlib.suppress(_Incomplete), self._stack:
            raise _Incomplete


class _Incomplete(Exception):
    pass
