"""Mels or recordings -> audio, in fixed-size windows that share batches: exact, few compilations, bounded memory."""

import dataclasses
import functools
import itertools
import math
from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from hifigan_jax.config import Config, Mel
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.loading import load_generator
from hifigan_jax.mel import LogMel, log_mel_of_padded, reflect_pad
from hifigan_jax.mel_file import pad_with_silence
from hifigan_jax.models.edges import Edges
from hifigan_jax.models.generator import Conditions
from hifigan_jax.models.layers import fold_norms
from hifigan_jax.platforms import platform
from hifigan_jax.synthesis.packing import Span, pack
from hifigan_jax.synthesis.streaming import Streamer

_USUAL_CONTEXT = 16  # frames; generators that look further have longer windows
_LONGEST_SINGLE = 1024  # a lone utterance up to this many frames gets a window of its own size, rounded up to
_SINGLE_STEP = 8  # or, for longer ones, a 16th of itself at most: every size is a program
_IN_FLIGHT = 2  # batches that the device works on while the host prepares the next


class MelUtterance(NamedTuple):
    """A log-mel [F, M] to be synthesized, of which the audio of the first `wanted` frames is wanted."""

    mel: np.ndarray
    wanted: int

    @property
    def frames(self) -> int:
        """Mel frames."""
        return self.mel.shape[0]

    @staticmethod
    def empty_row(size: int, settings: Mel) -> np.ndarray:
        """A window [size, M]."""
        return np.zeros((size, settings.num_mels), np.float32)

    def place(self, span: Span, row: np.ndarray, settings: Mel) -> None:
        """Puts the span's mel in its place."""
        row[span.offset : span.offset + span.stop - span.start] = self.mel[span.start : span.stop]


class AudioUtterance(NamedTuple):
    """A recording, already reflected at its ends, to be turned into a mel on the device and resynthesized."""

    padded: np.ndarray
    frames: int

    @property
    def wanted(self) -> int:
        """Frames whose audio is wanted: all."""
        return self.frames

    @staticmethod
    def empty_row(size: int, settings: Mel) -> np.ndarray:
        """The samples [T] that the mel of a window depends on."""
        return np.zeros((size - 1) * settings.hop_size + settings.n_fft, np.float32)

    def place(self, span: Span, row: np.ndarray, settings: Mel) -> None:
        """Puts the samples that the span's mel depends on in their place."""
        at, start = span.offset * settings.hop_size, span.start * settings.hop_size
        size = (span.stop - span.start - 1) * settings.hop_size + settings.n_fft
        row[at : at + size] = self.padded[start : start + size]


Utterance = MelUtterance | AudioUtterance


class Vocoder:
    """One trained generator with what turns mels into audio and back. Arrays in and out are numpy, float32.

    >>> vocoder = Vocoder.from_pretrained("universal_v1")
    >>> audio = vocoder.decode(mel)  # (80, F) -> (F * 256,)
    """

    def __init__(self, config: Config, params: Any, devices: Sequence[jax.Device] | None = None):
        """`params` with weight norm, as training has them; batches are split over `devices` (default: this host's)."""
        devices = jax.local_devices() if devices is None else devices
        mesh = jax.make_mesh((len(devices),), ("data",), (AxisType.Auto,), devices=devices)
        replicated, sharded = PartitionSpec(), PartitionSpec("data")
        self.config = config
        self.settings = config.mel
        self._generator = config.generator.build(config.mel, folded=True, compute_dtype=config.optimization.compute_dtype)
        self._devices = len(devices)
        self._platform = platform(devices[0].platform)
        self._replicated, self._sharded = NamedSharding(mesh, replicated), NamedSharding(mesh, sharded)
        self._fold = jax.jit(fold_norms)
        in_specs = (replicated, sharded, sharded)
        self._programs = {
            kind: jax.jit(jax.shard_map(program, mesh=mesh, in_specs=in_specs, out_specs=sharded))
            for kind, program in {MelUtterance: self._from_mel, AudioUtterance: self._from_audio}.items()
        }
        self._log_mel = LogMel(self.settings)
        self.update(params)

    @classmethod
    def from_pretrained(cls, source: str | Path, config: str | Path | None = None, compute_dtype: str = "float32") -> "Vocoder":
        """The vocoder that `source` names: a pretrained model (`universal_v1`, `ljspeech_v1`), a .pth file or a run's folder.

        `config` names a JSON where none lies beside the weights. Convolutions are computed in `compute_dtype`, whatever the model
        was trained in: "bfloat16" is faster on devices that have it, and less exact. Raises CheckpointError, one line.
        """
        generator = load_generator(source, config)
        return cls(generator.config.replace({"compute_dtype": compute_dtype}), generator.params)

    def update(self, params: Any) -> None:
        """Other weights of the same shapes; everything that is compiled stays."""
        self._params = self._fold(jax.device_put(params, self._replicated))

    @property
    def sampling_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.settings.sampling_rate

    @property
    def hop_size(self) -> int:
        """Samples of audio per mel frame."""
        return self.settings.hop_size

    @property
    def lookahead_frames(self) -> int:
        """How many frames must follow a frame in `stream` before its audio comes."""
        return self._streamer.lookahead_frames

    @property
    def lookahead_ms(self) -> float:
        """The same in milliseconds of audio."""
        return 1000 * self.lookahead_frames * self.hop_size / self.sampling_rate

    def mel(self, audio: np.ndarray) -> np.ndarray:
        """Natural-log mel (M, F) of audio (T,), or (B, M, F) of (B, T); F = T // hop_size.

        Raises DataError for audio too short to reflect its ends (384 samples or fewer in the reference's configurations).
        """
        audio = np.asarray(audio, np.float32)
        if audio.ndim == 2:
            return np.stack([self.mel(row) for row in audio])
        self.utterance_of_audio(audio)  # checks it
        return self._log_mel(audio).T

    def decode(self, mel: np.ndarray) -> np.ndarray:
        """Audio (F * hop_size,) of a natural-log mel (M, F), or (B, F * hop_size) of (B, M, F). Raises DataError for others."""
        mel = np.asarray(mel)
        if mel.ndim == 2:
            return self.decode(mel[None])[0]
        if mel.ndim != 3:
            bins = self.settings.num_mels
            raise DataError(f"a mel of shape {mel.shape}: expected ({bins}, F) or (B, {bins}, F)")
        utterances = ((i, self.utterance_of_mel(row.T)) for i, row in enumerate(mel))
        audio = dict(self.synthesize(utterances))
        return np.stack([audio[i] for i in range(len(mel))])

    def stream(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the audio of a natural-log mel that arrives in chunks (M, F_i), each piece as soon as it can be known.

        Together they are what `decode` gives for the whole mel, to float32's rounding. A frame's audio is known when
        `lookahead_frames` more have come, or none are to come. Raises DataError for what is no mel, once its turn comes.
        """
        if not hasattr(self._generator, "stages"):
            family = type(self._generator).__name__
            raise UsageError(f"{family} can't be streamed: use decode, or a generator of another family")
        return self._stream(chunks)

    def _stream(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        frames = samples = 0

        def mels():
            nonlocal frames
            for chunk in chunks:
                mel = self._checked(np.asarray(chunk).T)
                frames += len(mel)
                yield mel
            if 0 < frames < self._generator.shortest:
                missing = self._generator.shortest - frames
                yield np.full((missing, self.settings.num_mels), self.settings.convention.silence, np.float32)

        for audio in self._streamer(self._params, mels()):
            # Nothing comes before the shortest utterance's frames have come: the look-ahead is longer.
            audio = audio[: frames * self.hop_size - samples]
            samples += audio.size
            if audio.size:
                yield audio

    @functools.cached_property
    def _streamer(self) -> Streamer:
        return Streamer(self._generator, self.settings.num_mels, self._replicated, self._platform)

    def utterance_of_mel(self, mel: np.ndarray) -> MelUtterance:
        """Checks a mel [F, M] and makes it ready to be synthesized.

        One with fewer frames than the generator's padding needs is continued by silent frames, whose audio is cut off.
        """
        mel = self._checked(mel)
        frames = max(mel.shape[0], self._generator.shortest)
        return MelUtterance(pad_with_silence(mel, frames, self.settings.convention.silence), mel.shape[0])

    def _checked(self, mel: np.ndarray) -> np.ndarray:
        if mel.ndim != 2 or mel.shape[1] != self.settings.num_mels or mel.shape[0] == 0:
            raise DataError(f"a mel of {mel.shape[::-1]}: expected ({self.settings.num_mels}, F) with one frame or more")
        if mel.dtype.kind != "f" or not np.isfinite(mel).all():
            raise DataError("a mel must be finite floating-point numbers")
        return mel.astype(np.float32)

    def utterance_of_audio(self, audio: np.ndarray) -> Utterance:
        """Checks audio [T] at the model's sampling rate and makes it ready to be resynthesized."""
        shortest = max(self.settings.padding, self.hop_size - 1)
        if audio.ndim != 1 or audio.size <= shortest:
            raise DataError(f"audio of {audio.shape} samples: expected one channel of more than {shortest} samples")
        audio = audio.astype(np.float32)
        if audio.size // self.hop_size < self._generator.shortest:
            return self.utterance_of_mel(self._log_mel(audio))
        return AudioUtterance(reflect_pad(audio, self.settings), audio.size // self.hop_size)

    def synthesize(self, utterances: Iterable[tuple[Hashable, Utterance]]) -> Iterator[tuple[Hashable, np.ndarray]]:
        """Yields (key, audio [F * hop_size]) for each (key, utterance), in the order in which they are finished.

        An utterance's audio does not depend on the others' (beyond float32 rounding). At most a few batches are in memory.
        """
        utterances = iter(utterances)
        ahead = list(itertools.islice(utterances, 2))
        size = self._window_size(ahead[0][1].frames if len(ahead) == 1 else None)
        jobs, in_flight = {}, deque()
        batches, free = defaultdict(list), defaultdict(int)  # by kind: rows to be filled, and from where on the last one is free
        for key, utterance in itertools.chain(ahead, utterances):
            kind = type(utterance)
            spans, free[kind] = pack(utterance.frames, free[kind], size, **self._spacing)
            audio = np.zeros(utterance.frames * self.hop_size, np.float32)
            jobs[key] = _Job(audio, utterance.wanted * self.hop_size, len(spans))
            for span in spans:
                if span.offset == 0:
                    if len(batches[kind]) == self._rows(size):
                        in_flight.append(self._dispatch(kind, batches.pop(kind), size))
                    batches[kind].append(_Row([], kind.empty_row(size, self.settings), np.zeros(size, bool)))
                batches[kind][-1].add(key, utterance, span, self.settings)
                while len(in_flight) > _IN_FLIGHT:
                    yield from self._collect(in_flight.popleft(), jobs)
        in_flight.extend(self._dispatch(kind, rows, size) for kind, rows in batches.items())
        for batch in in_flight:
            yield from self._collect(batch, jobs)

    @functools.cached_property
    def _spacing(self) -> dict[str, int]:
        """How spans lie in a window, in frames: see `pack`."""
        context = self._generator.receptive_field
        beyond = -(-(self.settings.n_fft - self.hop_size) // self.hop_size)  # a span's samples reach beyond its frames
        step = self._generator.tile_frames if self._platform.aligned_spans else 1
        padded = 2 * (self._generator.shortest - 1)  # frames, at most, that a layer pads on both sides together
        return {"context": context, "gap": max(context, beyond, padded), "step": step}

    def _window_size(self, alone: int | None) -> int:
        """Frames of a window: those of an utterance that is alone, if it is not too long."""
        if alone is not None and alone <= _LONGEST_SINGLE:
            step = max(_SINGLE_STEP, 2 ** (alone.bit_length() - 5))
            return -(-alone // step) * step
        context, step = self._spacing["context"], self._spacing["step"]
        kept = self._platform.window_frames * -(-context // _USUAL_CONTEXT) - 2 * context
        return 2 * context + -(-kept // step) * step

    def _rows(self, size: int) -> int:
        """Rows per batch."""
        return max(self._platform.batch_frames // size, 1) * self._devices

    def _dispatch(self, kind: type, rows: list["_Row"], size: int):
        needed = self._devices * 2 ** math.ceil(math.log2(len(rows) / self._devices))
        missing = min(self._rows(size), max(needed, self._devices)) - len(rows)  # a last batch is filled up to a power of two
        batch = rows + [_Row([], np.zeros_like(rows[0].inputs), np.zeros_like(rows[0].inside))] * missing
        inputs, inside = (np.stack(arrays) for arrays in zip(*((row.inputs, row.inside) for row in batch), strict=True))
        inputs, inside = jax.device_put((inputs, inside), self._sharded)
        return self._programs[kind](self._params, inputs, inside), rows

    def _collect(self, batch, jobs: dict[Hashable, "_Job"]) -> Iterator[tuple[Hashable, np.ndarray]]:
        audio, rows = batch
        for samples, row in zip(np.asarray(audio), rows, strict=False):
            for key, span in row.spans:
                job = jobs[key]
                first, last = (span.offset + frame - span.start for frame in (span.valid_start, span.valid_stop))
                kept = samples[first * self.hop_size : last * self.hop_size]
                job.audio[span.valid_start * self.hop_size : span.valid_stop * self.hop_size] = kept
                job.missing -= 1
                if not job.missing:
                    yield key, jobs.pop(key).audio[: job.wanted]

    def _from_mel(self, params, mel, inside):
        return self._generator.apply({"params": params}, Conditions(mel), Edges(inside))

    def _from_audio(self, params, padded, inside):
        return self._from_mel(params, log_mel_of_padded(padded, self.settings), inside)


@dataclasses.dataclass
class _Job:
    audio: np.ndarray
    wanted: int  # samples
    missing: int  # spans


class _Row(NamedTuple):
    spans: list[tuple[Hashable, Span]]
    inputs: np.ndarray
    inside: np.ndarray  # frames

    def add(self, key: Hashable, utterance: Utterance, span: Span, settings: Mel) -> None:
        self.spans.append((key, span))
        utterance.place(span, self.inputs, settings)
        self.inside[span.offset : span.offset + span.stop - span.start] = True
