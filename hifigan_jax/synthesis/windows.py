"""The windows that utterances are packed into: their size, how many are a batch, and what a batch in progress consists of."""

import dataclasses
import math
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from hifigan_jax.config import Mel
from hifigan_jax.platforms import Platform
from hifigan_jax.synthesis.packing import Span
from hifigan_jax.synthesis.utterances import Utterance

_USUAL_CONTEXT = 16  # frames; a larger receptive field takes proportionally longer windows
# A single utterance of up to _LONGEST_SINGLE frames is not padded to a full window, but to a multiple of _SINGLE_STEP, or of a
# larger power of two, at most a 16th of its length. Each size compiles a program.
_LONGEST_SINGLE = 1024
_SINGLE_STEP = 8
# With few_programs, to the next of these sizes. Longer ones are packed into windows, in batches of one row per device or of all.
_FEW_SIZES = (32, 128, 256, 448, 704, _LONGEST_SINGLE)


class Windows(NamedTuple):
    """Sizes of windows in frames, and of batches in windows, for a generator on `devices` devices."""

    platform: Platform
    devices: int
    context: int  # frames on each side that the audio of a frame depends on
    gap: int  # frames between two utterances in a window
    step: int  # spans start at its multiples
    few_programs: bool

    @property
    def spacing(self) -> dict[str, int]:
        """The arguments of `pack` that depend on the generator and the device, in frames."""
        return {"context": self.context, "gap": self.gap, "step": self.step}

    def size(self, single: int | None) -> int:
        """Frames per window. `single` is the length of the only utterance, if there is only one."""
        if single is not None and single <= _LONGEST_SINGLE:
            if self.few_programs:
                return next(size for size in _FEW_SIZES if size >= single)
            step = max(_SINGLE_STEP, 2 ** (single.bit_length() - 5))
            return -(-single // step) * step
        kept = self.platform.window_frames * -(-self.context // _USUAL_CONTEXT) - 2 * self.context
        return 2 * self.context + -(-kept // self.step) * self.step

    def rows(self, size: int) -> int:
        """Windows of `size` frames per batch."""
        return max(self.platform.batch_frames // size, 1) * self.devices

    def padded_rows(self, count: int, size: int) -> int:
        """Windows of `size` frames in a batch that needs `count`: the last batch is padded to a power of two per device."""
        needed = self.devices * 2 ** math.ceil(math.log2(count / self.devices))
        if self.few_programs and needed > self.devices:
            needed = self.rows(size)
        return min(self.rows(size), max(needed, self.devices))


def windows_for(generator: Any, settings: Mel, platform: Platform, devices: int, few_programs: bool) -> Windows:
    """The windows of a generator."""
    context = generator.receptive_field
    overlap = -(-(settings.n_fft - settings.hop_size) // settings.hop_size)  # the last frame's samples extend into later frames
    padded = 2 * (generator.shortest - 1)  # the most frames that a layer pads on both sides together
    step = generator.tile_frames if platform.aligned_spans else 1
    return Windows(platform, devices, context, max(context, overlap, padded), step, few_programs)


@dataclasses.dataclass
class Job:
    """An utterance whose audio is being computed."""

    audio: np.ndarray
    kept: slice  # of the audio
    missing: int  # spans not yet computed


class Row(NamedTuple):
    """A window of a batch, and the spans of utterances in it."""

    spans: list[tuple[Hashable, Span]]
    inputs: np.ndarray
    frame_mask: np.ndarray  # [F], whether a frame belongs to an utterance

    def add(self, key: Hashable, utterance: Utterance, span: Span, settings: Mel) -> None:
        """Copies a span of an utterance into the window."""
        self.spans.append((key, span))
        utterance.place(span, self.inputs, settings)
        self.frame_mask[span.offset : span.offset + span.stop - span.start] = True
