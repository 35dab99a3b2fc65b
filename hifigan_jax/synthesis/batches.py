"""Batches of windows on the devices. One for which memory does not suffice is computed in parts, with the same result."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding

from hifigan_jax import faults
from hifigan_jax.config import Mel
from hifigan_jax.errors import OutOfMemory
from hifigan_jax.runtime import is_out_of_memory
from hifigan_jax.synthesis.packing import pack
from hifigan_jax.synthesis.utterances import Utterance

logger = logging.getLogger(__name__)


class Batch(NamedTuple):
    """A batch that the devices compute: windows [R, ...] of one kind of utterance, and which of their frames [R, F] are used.

    `audio` [R, T] is None if memory did not suffice.
    """

    kind: type[Utterance]
    windows: np.ndarray
    frame_mask: np.ndarray
    audio: jax.Array | None


class BatchRunner:
    """Runs programs (params, windows, frame mask) -> audio on batches; the rows of a batch are a multiple of the devices.

    A batch that needs too much memory is halved, and so are all others of its size from then on: first its rows; if each device
    has only one, its windows, into ones that overlap like those of a long utterance.
    """

    def __init__(self, sharding: NamedSharding, devices: int, settings: Mel, spacing: dict[str, int]):
        """`spacing` contains the arguments of `pack` that depend on the generator."""
        self._sharding, self._devices, self._settings, self._spacing = sharding, devices, settings, spacing
        self._too_large: set[tuple[int, ...]] = set()  # shapes of masks

    def start(self, program: Callable, params: Any, kind: type[Utterance], windows: np.ndarray, mask: np.ndarray) -> Batch:
        """The batch in progress."""
        if mask.shape in self._too_large:
            return Batch(kind, windows, mask, None)
        try:
            faults.no_memory("out_of_memory.synthesis")
            return Batch(kind, windows, mask, program(params, *jax.device_put((windows, mask), self._sharding)))
        except Exception as error:
            return self._without_memory(Batch(kind, windows, mask, None), error)

    def finish(self, program: Callable, params: Any, batch: Batch) -> np.ndarray:
        """The audio [R, T] of a batch. Raises OutOfMemory if memory does not suffice for the smallest one."""
        if batch.audio is not None:
            try:
                return np.asarray(batch.audio)
            except Exception as error:
                batch = self._without_memory(batch, error)
        rows = len(batch.windows)
        if rows == self._devices:
            return self._in_smaller_windows(program, params, batch)
        half = rows // self._devices // 2 * self._devices

        def audio(part: slice) -> np.ndarray:
            windows, mask = batch.windows[part], batch.frame_mask[part]
            return self.finish(program, params, self.start(program, params, batch.kind, windows, mask))

        return np.concatenate([audio(slice(half)), audio(slice(half, rows))])

    def _without_memory(self, batch: Batch, error: Exception) -> Batch:
        """The batch without its audio. Raises `error` if it has another reason."""
        if not is_out_of_memory(error):
            raise error
        if batch.frame_mask.shape not in self._too_large:
            rows, frames = batch.frame_mask.shape
            logger.warning("memory does not suffice for a batch of %d windows of %d frames: it is halved", rows, frames)
            self._too_large.add(batch.frame_mask.shape)
        return batch._replace(audio=None)

    def _in_smaller_windows(self, program: Callable, params: Any, batch: Batch) -> np.ndarray:
        rows, frames = batch.frame_mask.shape
        spans, _ = pack(frames, 0, self._half(frames), **self._spacing)
        hop = self._settings.hop_size
        audio = np.zeros((rows, frames * hop), np.float32)
        for span in spans:
            windows = np.stack([batch.kind.empty_row(self._half(frames), self._settings)] * rows)
            mask = np.zeros((rows, self._half(frames)), bool)
            mask[:, : span.stop - span.start] = batch.frame_mask[:, span.start : span.stop]
            for large, small in zip(batch.windows, windows, strict=True):
                batch.kind.copy(large, span, small, self._settings)
            found = self.finish(program, params, self.start(program, params, batch.kind, windows, mask))
            first, last = span.valid_start - span.start, span.valid_stop - span.start
            audio[:, span.valid_start * hop : span.valid_stop * hop] = found[:, first * hop : last * hop]
        return audio

    def _half(self, frames: int) -> int:
        """The frames of windows of which two replace one of `frames`. Raises OutOfMemory if they would not be smaller."""
        context, step = self._spacing["context"], self._spacing["step"]
        half = 2 * context + -(-(frames - 2 * context) // (2 * step)) * step
        if not 2 * context < half < frames:
            raise OutOfMemory(f"memory does not suffice for a window of {frames} frames: use a smaller model or another device")
        return half
