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

from hifigan_jax.config import Config
from hifigan_jax.errors import DataError
from hifigan_jax.generator_source import load_generator
from hifigan_jax.mel import LogMel, MelSettings, input_mel, log_mel_of_padded, reflect_pad
from hifigan_jax.models import build_generator
from hifigan_jax.models.layers import fold_norms
from hifigan_jax.streaming import Streamer
from hifigan_jax.windows import Piece, lay

WINDOW, CPU_WINDOW = 512, 384  # frames, more for generators that look further than usual; on CPUs longer ones leave the cache
_USUAL_CONTEXT = 16  # frames
_LONGEST_SINGLE = 1024  # a lone utterance up to this many frames gets a window of its own size, rounded up to
_SINGLE_STEP = 8  # or, for longer ones, a 16th of itself at most: every size is a program
_IN_FLIGHT = 2  # batches that the device works on while the host prepares the next


class MelUtterance(NamedTuple):
    """A log-mel [F, M] to be spoken."""

    mel: np.ndarray

    @property
    def frames(self) -> int:
        """Mel frames."""
        return self.mel.shape[0]

    @staticmethod
    def empty_row(size: int, settings: MelSettings) -> np.ndarray:
        """A window [size, M]."""
        return np.zeros((size, settings.num_mels), np.float32)

    def lay(self, piece: Piece, row: np.ndarray, settings: MelSettings) -> None:
        """Puts the piece's mel in its place."""
        row[piece.at : piece.at + piece.stop - piece.start] = self.mel[piece.start : piece.stop]


class AudioUtterance(NamedTuple):
    """A recording, already reflected at its ends, to be turned into a mel on the device and spoken again."""

    padded: np.ndarray
    frames: int

    @staticmethod
    def empty_row(size: int, settings: MelSettings) -> np.ndarray:
        """The samples [T] that the mel of a window depends on."""
        return np.zeros((size - 1) * settings.hop_size + settings.n_fft, np.float32)

    def lay(self, piece: Piece, row: np.ndarray, settings: MelSettings) -> None:
        """Puts the samples that the piece's mel depends on in their place."""
        at, start = piece.at * settings.hop_size, piece.start * settings.hop_size
        size = (piece.stop - piece.start - 1) * settings.hop_size + settings.n_fft
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
        whole, split = PartitionSpec(), PartitionSpec("data")
        self.config = config
        self.settings = input_mel(config)
        self._generator = build_generator(config, folded=True)
        self._devices = len(devices)
        self._whole, self._split = NamedSharding(mesh, whole), NamedSharding(mesh, split)
        self._fold = jax.jit(fold_norms)
        self._programs = {
            kind: jax.jit(jax.shard_map(program, mesh=mesh, in_specs=(whole, split, split), out_specs=split))
            for kind, program in {MelUtterance: self._from_mel, AudioUtterance: self._from_audio}.items()
        }
        self._log_mel = LogMel(self.settings)
        self.update(params)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, config: str | Path | None = None, compute_dtype: str = "float32"
    ) -> "Vocoder":
        """The vocoder that `source` names: a pretrained model (`universal_v1`, `ljspeech_v1`), a .pth file or a run's folder.

        `config` names a JSON where none lies beside the weights. Convolutions are computed in `compute_dtype`, whatever the model
        was trained in: "bfloat16" is faster on devices that have it, and less exact. Raises CheckpointError, one line.
        """
        generator = load_generator(source, config)
        return cls(generator.config.model_copy(update={"compute_dtype": compute_dtype}), generator.params)

    def update(self, params: Any) -> None:
        """Other weights of the same shapes; everything that is compiled stays."""
        self._params = self._fold(jax.device_put(params, self._whole))

    @property
    def sampling_rate(self) -> int:
        """Of the audio, in Hz."""
        return self.config.sampling_rate

    @property
    def hop_size(self) -> int:
        """Samples of audio per mel frame."""
        return self.config.hop_size

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
            raise DataError(f"a mel of shape {mel.shape}: expected ({self.config.num_mels}, F) or (B, {self.config.num_mels}, F)")
        utterances = ((i, self.utterance_of_mel(row.T)) for i, row in enumerate(mel))
        audio = dict(self.synthesize(utterances))
        return np.stack([audio[i] for i in range(len(mel))])

    def stream(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the audio of a natural-log mel that arrives in chunks (M, F_i), each piece as soon as it can be known.

        Together they are what `decode` gives for the whole mel, to float32's rounding. A frame's audio is known when
        `lookahead_frames` more have come, or none are to come. Raises DataError for what is no mel, once its turn comes.
        """
        mels = (self.utterance_of_mel(np.asarray(chunk).T).mel for chunk in chunks)
        return self._streamer(self._params, mels)

    @functools.cached_property
    def _streamer(self) -> Streamer:
        return Streamer(self._generator, self._whole)

    def utterance_of_mel(self, mel: np.ndarray) -> MelUtterance:
        """Checks a mel [F, M] and makes it ready to be synthesized."""
        if mel.ndim != 2 or mel.shape[1] != self.config.num_mels or mel.shape[0] == 0:
            raise DataError(f"a mel of {mel.shape[::-1]}: expected ({self.config.num_mels}, F) with one frame or more")
        if mel.dtype.kind != "f" or not np.isfinite(mel).all():
            raise DataError("a mel must be finite floating-point numbers")
        return MelUtterance(mel.astype(np.float32))

    def utterance_of_audio(self, audio: np.ndarray) -> AudioUtterance:
        """Checks audio [T] at the model's sampling rate and makes it ready to be synthesized anew."""
        shortest = max(self.settings.padding, self.hop_size - 1)
        if audio.ndim != 1 or audio.size <= shortest:
            raise DataError(f"audio of {audio.shape} samples: expected one channel of more than {shortest} samples")
        return AudioUtterance(reflect_pad(audio.astype(np.float32), self.settings), audio.size // self.hop_size)

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
            pieces, free[kind] = lay(utterance.frames, free[kind], size, **self._spacing)
            jobs[key] = _Job(np.zeros(utterance.frames * self.hop_size, np.float32), len(pieces))
            for piece in pieces:
                if piece.at == 0:
                    if len(batches[kind]) == self._rows(size):
                        in_flight.append(self._dispatch(kind, batches.pop(kind), size))
                    batches[kind].append(_Row([], kind.empty_row(size, self.settings), np.zeros(size, bool)))
                batches[kind][-1].add(key, utterance, piece, self.settings)
                while len(in_flight) > _IN_FLIGHT:
                    yield from self._collect(in_flight.popleft(), jobs)
        in_flight.extend(self._dispatch(kind, rows, size) for kind, rows in batches.items())
        for batch in in_flight:
            yield from self._collect(batch, jobs)

    @functools.cached_property
    def _spacing(self) -> dict[str, int]:
        """How pieces lie in a window, in frames: see `lay`."""
        context = self._generator.context_frames
        beyond = -(-(self.settings.n_fft - self.hop_size) // self.hop_size)  # a piece's samples reach beyond its frames
        step = self._generator.tile_frames if jax.default_backend() == "cpu" else 1
        return {"context": context, "gap": max(context, beyond), "step": step}

    def _window_size(self, alone: int | None) -> int:
        """Frames of a window: those of an utterance that is alone, if it is not too long."""
        if alone is not None and alone <= _LONGEST_SINGLE:
            step = max(_SINGLE_STEP, 2 ** (alone.bit_length() - 5))
            return -(-alone // step) * step
        context, step = self._spacing["context"], self._spacing["step"]
        size = CPU_WINDOW if jax.default_backend() == "cpu" else WINDOW
        kept = size * -(-context // _USUAL_CONTEXT) - 2 * context
        return 2 * context + -(-kept // step) * step

    def _rows(self, size: int) -> int:
        """Rows per batch: one a device on CPU, where a larger batch only leaves the cache; about 8,000 frames elsewhere."""
        per_device = 1 if jax.default_backend() == "cpu" else max(8192 // size, 1)
        return per_device * self._devices

    def _dispatch(self, kind: type, rows: list["_Row"], size: int):
        needed = self._devices * 2 ** math.ceil(math.log2(len(rows) / self._devices))
        missing = min(self._rows(size), max(needed, self._devices)) - len(rows)  # a last batch is filled up to a power of two
        batch = rows + [_Row([], np.zeros_like(rows[0].inputs), np.zeros_like(rows[0].exists))] * missing
        inputs, exists = (np.stack(arrays) for arrays in zip(*((row.inputs, row.exists) for row in batch), strict=True))
        inputs, exists = jax.device_put((inputs, exists), self._split)
        return self._programs[kind](self._params, inputs, exists), rows

    def _collect(self, batch, jobs: dict[Hashable, "_Job"]) -> Iterator[tuple[Hashable, np.ndarray]]:
        audio, rows = batch
        for samples, row in zip(np.asarray(audio), rows, strict=False):
            for key, piece in row.pieces:
                job = jobs[key]
                first, last = (piece.at + frame - piece.start for frame in (piece.keep_from, piece.keep_to))
                kept = samples[first * self.hop_size : last * self.hop_size]
                job.audio[piece.keep_from * self.hop_size : piece.keep_to * self.hop_size] = kept
                job.missing -= 1
                if not job.missing:
                    yield key, jobs.pop(key).audio

    def _from_mel(self, params, mel, exists):
        return self._generator.apply({"params": params}, mel, exists)

    def _from_audio(self, params, padded, exists):
        return self._from_mel(params, log_mel_of_padded(padded, self.settings), exists)


@dataclasses.dataclass
class _Job:
    audio: np.ndarray
    missing: int  # pieces


class _Row(NamedTuple):
    pieces: list[tuple[Hashable, Piece]]
    inputs: np.ndarray
    exists: np.ndarray  # frames

    def add(self, key: Hashable, utterance: Utterance, piece: Piece, settings: MelSettings) -> None:
        self.pieces.append((key, piece))
        utterance.lay(piece, self.inputs, settings)
        self.exists[piece.at : piece.at + piece.stop - piece.start] = True

