"""Mels or recordings -> audio, in fixed-size windows that share batches: exact, few compilations, bounded memory."""

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
from hifigan_jax.windows import Window, plan_windows

WINDOWS = (128, 512)  # frames; larger for generators that look further than usual
CPU_WINDOWS = (96, 384)  # longer ones leave the cache
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

    def row(self, window: Window, settings: MelSettings) -> np.ndarray:
        """The window's mel [size, M]; zeros beyond the end, where the generator masks."""
        mel = self.mel[window.start : window.start + window.size]
        return np.pad(mel, ((0, window.size - mel.shape[0]), (0, 0)))


class AudioUtterance(NamedTuple):
    """A recording, already reflected at its ends, to be turned into a mel on the device and spoken again."""

    padded: np.ndarray
    frames: int

    def row(self, window: Window, settings: MelSettings) -> np.ndarray:
        """The samples that the window's mel depends on."""
        start = window.start * settings.hop_size
        size = (window.size - 1) * settings.hop_size + settings.n_fft
        samples = self.padded[start : start + size]
        return np.pad(samples, (0, size - samples.size))


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
        was trained in: "bfloat16" is faster on many devices and less exact. Raises CheckpointError, one line.
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
        alone = ahead[0][1].frames if len(ahead) == 1 else None
        jobs, queues, in_flight = {}, defaultdict(list), deque()
        for key, utterance in itertools.chain(ahead, utterances):
            windows = self._plan(utterance.frames, alone)
            jobs[key] = _Job(np.zeros(utterance.frames * self.hop_size, np.float32), len(windows))
            for window in windows:
                queue = queues[type(utterance), window.size]
                queue.append((key, window, utterance.row(window, self.settings)))
                if len(queue) == self._rows(window.size):
                    in_flight.append(self._dispatch(type(utterance), queues.pop((type(utterance), window.size))))
                while len(in_flight) > _IN_FLIGHT:
                    yield from self._collect(in_flight.popleft(), jobs)
        in_flight.extend(self._dispatch(kind, rows) for (kind, _), rows in queues.items())
        for batch in in_flight:
            yield from self._collect(batch, jobs)

    def _plan(self, frames: int, alone: int | None) -> list[Window]:
        context = self._generator.context_frames
        windows, step = (CPU_WINDOWS, self._generator.tile_frames) if jax.default_backend() == "cpu" else (WINDOWS, 1)
        sizes = (size * -(-context // _USUAL_CONTEXT) - 2 * context for size in windows)
        sizes = tuple(2 * context + -(-size // step) * step for size in sizes)  # so that windows start at multiples of `step`
        if alone is not None and frames <= _LONGEST_SINGLE:
            step = max(_SINGLE_STEP, 2 ** (frames.bit_length() - 5))
            sizes = (*sizes, -(-frames // step) * step)
        return plan_windows(frames, context, sizes)

    def _rows(self, size: int) -> int:
        """Rows per batch: one a device on CPU, where a larger batch only leaves the cache; about 8,000 frames elsewhere."""
        per_device = 1 if jax.default_backend() == "cpu" else max(8192 // size, 1)
        return per_device * self._devices

    def _dispatch(self, kind: type, rows: list[tuple[Hashable, Window, np.ndarray]]):
        size = rows[0][1].size
        full, needed = self._rows(size), self._devices * 2 ** math.ceil(math.log2(len(rows) / self._devices))
        missing = min(full, max(needed, self._devices)) - len(rows)  # a last batch is filled up to a power of two
        inputs = np.stack([row for _, _, row in rows] + [np.zeros_like(rows[0][2])] * missing)
        lengths = np.array([window.length for _, window, _ in rows] + [0] * missing, np.int32)
        inputs, lengths = jax.device_put((inputs, lengths), self._split)
        return self._programs[kind](self._params, inputs, lengths), rows

    def _collect(self, batch, jobs: dict[Hashable, "_Job"]) -> Iterator[tuple[Hashable, np.ndarray]]:
        audio, rows = batch
        for samples, (key, window, _) in zip(np.asarray(audio), rows, strict=False):
            job = jobs[key]
            first, last = ((frame - window.start) * self.hop_size for frame in (window.keep_from, window.keep_to))
            job.audio[window.keep_from * self.hop_size : window.keep_to * self.hop_size] = samples[first:last]
            job.missing -= 1
            if not job.missing:
                yield key, jobs.pop(key).audio

    def _from_mel(self, params, mel, lengths):
        return self._generator.apply({"params": params}, mel, lengths)

    def _from_audio(self, params, padded, lengths):
        return self._from_mel(params, log_mel_of_padded(padded, self.settings), lengths)


class _Job:
    def __init__(self, audio: np.ndarray, missing: int):
        self.audio, self.missing = audio, missing

