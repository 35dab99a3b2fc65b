"""Synthesis of whole utterances, packed into fixed-size windows: exact, with few compilations and bounded memory."""

import functools
import itertools
from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from hifigan_jax import mel_guard
from hifigan_jax.audio import as_samples
from hifigan_jax.config import Config, Mel
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.filterbank import silence
from hifigan_jax.loading import load_generator
from hifigan_jax.mel import LogMel, log_mel_of_padded, pad_audio
from hifigan_jax.mel_conversion import Conversion, conversion
from hifigan_jax.mel_file import pad_with_silence
from hifigan_jax.models.edges import Edges
from hifigan_jax.models.generator import Conditions
from hifigan_jax.models.layers import fold_norms
from hifigan_jax.platforms import platform
from hifigan_jax.synthesis.batches import BatchRunner
from hifigan_jax.synthesis.packing import pack
from hifigan_jax.synthesis.pieces import Piece, pieces
from hifigan_jax.synthesis.streaming import Streamer
from hifigan_jax.synthesis.utterances import AudioUtterance, MelUtterance, Utterance
from hifigan_jax.synthesis.windows import Job, Row, Windows, windows_for

_IN_FLIGHT = 2  # batches queued on the device while the host prepares the next


class Vocoder:
    """A trained generator: log-mels to audio, and audio to log-mels.

    Takes NumPy, JAX and PyTorch CPU arrays and returns float32 NumPy arrays.

    >>> vocoder = Vocoder.from_pretrained("universal_v1")
    >>> audio = vocoder.decode(mel)  # (80, F) -> (F * 256,)
    """

    def __init__(self, config: Config, params: Any, devices: Sequence[jax.Device] | None = None, few_programs: bool = False):
        """Takes `params` with weight norm (v, g), as in training. Batches are sharded over `devices` (default: this host's).

        With `few_programs`, at most eight programs are compiled for mels, and eight for recordings, of all lengths together;
        utterances are padded more.
        """
        devices = jax.local_devices() if devices is None else devices
        mesh = jax.make_mesh((len(devices),), ("data",), (AxisType.Auto,), devices=devices)
        replicated, sharded = PartitionSpec(), PartitionSpec("data")
        self.config = config
        self.settings = config.mel
        self._generator = config.generator.build(config.mel, folded=True, compute_dtype=config.optimization.compute_dtype)
        self._devices, self._few_programs = len(devices), few_programs
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
    def from_pretrained(
        cls,
        source: str | Path,
        config: str | Path | None = None,
        compute_dtype: str = "float32",
        few_programs: bool = False,
    ) -> "Vocoder":
        """Loads a pretrained model (`universal_v1`, `ljspeech_v1`), a .pth or .safetensors file, a run, or hf://OWNER/NAME.

        `config` is the path of the JSON configuration, needed only if there is none next to the weights. `compute_dtype` is the
        dtype of convolutions: "bfloat16" is less exact, and faster on devices that support it. With `few_programs`, `decode`
        compiles eight programs at most, and pads more. Raises CheckpointError, also for a `config` that contradicts the weights'
        own.
        """
        generator = load_generator(source, config)
        return cls(generator.config.replace({"compute_dtype": compute_dtype}), generator.params, few_programs=few_programs)

    def update(self, params: Any) -> None:
        """Replaces the weights with `params` with weight norm, of the same shapes, without compiling anything again."""
        self._params = self._fold(jax.device_put(params, self._replicated))

    @property
    def params(self) -> Any:
        """The generator's parameters with weight norm merged into the kernels, as `generate` takes them."""
        return self._params

    @property
    def sampling_rate(self) -> int:
        """Sampling rate of the audio in Hz."""
        return self.settings.sampling_rate

    @property
    def hop_size(self) -> int:
        """Samples of audio per mel frame."""
        return self.settings.hop_size

    @property
    def lookahead_frames(self) -> int:
        """Number of later frames that `stream` needs before it can return a frame's audio."""
        return self._streamer.lookahead_frames

    @property
    def lookahead_ms(self) -> float:
        """`lookahead_frames` in milliseconds."""
        return 1000 * self.lookahead_frames * self.hop_size / self.sampling_rate

    def mel(self, audio: ArrayLike) -> np.ndarray:
        """Log-mel (M, F) of audio (T,), or (B, M, F) of (B, T); F = T // hop_size, or one more in a centered convention.

        Audio is floating-point in [-1, 1], or integer samples as in audio files. Raises DataError for other numbers, and if it is
        too short to pad by reflection (384 samples or fewer in the reference's configurations).
        """
        audio = as_samples(_as_numpy(audio))
        if audio.ndim == 2 and len(audio):
            return np.stack([self.mel(row) for row in audio])
        self.utterance_of_audio(audio)  # checks it
        return self._log_mel(audio).T

    def decode(
        self,
        mel: ArrayLike,
        convention: str | Path | Mel | None = None,
        statistics: str | Path | None = None,
        force: bool = False,
    ) -> np.ndarray:
        """Audio (F * hop_size,) of a log-mel (M, F), or (B, F * hop_size) of (B, M, F).

        `convention` (a name from CONVENTIONS, a mel section, or a JSON file with one) and `statistics` (a file with mean and
        standard deviation) describe mels that are not as the model takes them. These are converted; if their frames are centered
        elsewhere, the audio is cut to the samples that the mel was computed from. Raises DataError if the shape differs, if a
        value is not a finite floating-point number or, without `force`, if the values cannot be of the convention
        (mel_guard.py); UsageError for mels that cannot be converted.
        """
        mel = _as_numpy(mel)
        if mel.ndim == 2:
            return self.decode(mel[None], convention, statistics, force)[0]
        if mel.ndim != 3 or not len(mel):
            bins = self.settings.num_mels
            raise DataError(f"a mel of shape {mel.shape}: expected ({bins}, F) or (B, {bins}, F)")
        converted = self.conversion(convention, statistics)
        utterances = ((i, self.utterance_of_mel(row.T, converted, force)) for i, row in enumerate(mel))
        audio = dict(self.synthesize(utterances))
        return np.stack([audio[i] for i in range(len(mel))])

    def generate(self, params: Any, mel: Float[Array | np.ndarray, "*B M F"]) -> Float[Array, "*B T"]:
        """Audio (F * hop_size,) of a log-mel (M, F), or (B, F * hop_size) of (B, M, F), as a pure function.

        For use under `jit`, `grad`, `vmap` and `shard_map`, with `params` as the property of that name returns them. Computes the
        utterance at once, on the device of its arguments; checks no values. Each number of frames compiles a program of its own.
        """
        x = jnp.swapaxes(jnp.asarray(mel), -1, -2)
        frames = x.shape[-2]
        missing = max(self._generator.shortest - frames, 0)
        if missing:
            padding = jnp.asarray(silence(self.settings.convention), x.dtype)
            x = jnp.concatenate([x, jnp.broadcast_to(padding, (*x.shape[:-2], missing, x.shape[-1]))], axis=-2)
        audio = self._generator.apply({"params": params}, Conditions(x if x.ndim == 3 else x[None]))
        return (audio if x.ndim == 3 else audio[0])[..., : frames * self.hop_size]

    def stream(self, chunks: Iterable[ArrayLike]) -> Iterator[np.ndarray]:
        """Yields the audio of a log-mel that arrives in chunks (M, F_i), with as little delay as exact output allows.

        The audio of a frame follows once `lookahead_frames` later frames have arrived, or once `chunks` ends. Concatenated, the
        arrays equal `decode` of the complete mel up to float32 rounding. Raises DataError for an invalid chunk when it arrives.
        """
        if not hasattr(self._generator, "stages"):
            family = type(self._generator).__name__
            raise UsageError(f"{family} cannot be streamed: use decode, or a generator of another family")
        return self._stream(chunks)

    def _stream(self, chunks: Iterable[ArrayLike]) -> Iterator[np.ndarray]:
        frames = samples = 0

        def mels():
            nonlocal frames
            for chunk in chunks:
                mel = self._checked(_as_numpy(chunk).T)
                frames += len(mel)
                yield mel
            if 0 < frames < self._generator.shortest:
                missing = self._generator.shortest - frames
                yield np.tile(silence(self.settings.convention).astype(np.float32), (missing, 1))

        for audio in self._streamer(self._params, mels()):
            # The lookahead is longer than the shortest utterance, so no audio precedes the silence appended above.
            audio = audio[: frames * self.hop_size - samples]
            samples += audio.size
            if audio.size:
                yield audio

    @functools.cached_property
    def _streamer(self) -> Streamer:
        return Streamer(self._generator, self.settings.num_mels, self._replicated, self._platform)

    def conversion(self, convention: str | Path | Mel | None = None, statistics: str | Path | None = None) -> Conversion:
        """The conversion of mels of a convention, as in `decode`, for `utterance_of_mel`. Raises UsageError."""
        return conversion(self.settings, convention, statistics)

    def utterance_of_mel(self, mel: ArrayLike, converted: Conversion | None = None, force: bool = False) -> MelUtterance:
        """Checks a mel [F, M], converts it, and prepares it for `synthesize`.

        If it has fewer frames than the generator's padding needs, silent frames are appended and their audio is cut off. Raises
        DataError as `decode` does.
        """
        converted = self.conversion() if converted is None else converted
        mel = self._checked(_as_numpy(mel))
        if not force:
            mel_guard.check(mel, converted.source)
        return self._utterance(converted.for_synthesis(mel), converted.kept(mel.shape[0]))

    def _utterance(self, mel: np.ndarray, kept: slice) -> MelUtterance:
        frames = max(mel.shape[0], self._generator.shortest)
        return MelUtterance(pad_with_silence(mel, frames, silence(self.settings.convention)), kept)

    def _checked(self, mel: np.ndarray) -> np.ndarray:
        if mel.ndim != 2 or mel.shape[1] != self.settings.num_mels or mel.shape[0] == 0:
            sizes = " and ".join(map(str, mel.shape[::-1]))
            hint = "; it looks transposed" if mel.shape[:1] == (self.settings.num_mels,) and mel.ndim == 2 else ""
            expected = f"{self.settings.num_mels} bins and one frame or more"
            raise DataError(f"a mel of {sizes} (bins, frames): expected {expected}{hint}")
        with np.errstate(over="ignore"):  # values out of float32's range become infinite
            values = mel.astype(np.float32) if mel.dtype.kind == "f" else mel
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            raise DataError("a mel must consist of finite floating-point numbers")
        return values

    def utterance_of_audio(self, audio: ArrayLike) -> Utterance:
        """Checks audio [T] at the model's sampling rate and prepares it for `synthesize`."""
        audio, shortest = _as_numpy(audio), self.settings.convention.shortest_recording - 1
        if audio.ndim != 1 or audio.size <= shortest:
            raise DataError(f"audio of shape {audio.shape}: expected one channel with more than {shortest} samples")
        audio = as_samples(audio)
        if audio.size // self.hop_size < self._generator.shortest:
            mel = self._log_mel(audio)[: audio.size // self.hop_size]
            return self._utterance(mel, slice(0, mel.shape[0] * self.hop_size))
        return AudioUtterance(pad_audio(audio, self.settings), audio.size // self.hop_size)

    def pieces(self, blocks: Iterable[np.ndarray]) -> Iterator[Piece]:
        """The pieces, for `synthesize`, of a recording of any length that arrives in blocks [T] at the model's sampling rate."""
        return pieces(map(as_samples, blocks), self.settings, self._windows.context)

    def synthesize(self, utterances: Iterable[tuple[Hashable, Utterance]]) -> Iterator[tuple[Hashable, np.ndarray]]:
        """Yields (key, audio [F * hop_size]) for each (key, utterance), in the order in which they finish.

        The audio does not depend on the other utterances, beyond float32 rounding. Only a few batches are in memory at a time.
        """
        utterances = iter(utterances)
        ahead = list(itertools.islice(utterances, 2))
        size = self._windows.size(ahead[0][1].frames if len(ahead) == 1 else None)
        jobs, in_flight = {}, deque()
        batches, free = defaultdict(list), defaultdict(int)  # by kind: the next batch's rows, and its first free frame
        for key, utterance in itertools.chain(ahead, utterances):
            kind = type(utterance)
            spans, free[kind] = pack(utterance.frames, free[kind], size, **self._windows.spacing)
            audio = np.zeros(utterance.frames * self.hop_size, np.float32)
            jobs[key] = Job(audio, utterance.kept, len(spans))
            for span in spans:
                if span.offset == 0:
                    if len(batches[kind]) == self._windows.rows(size):
                        in_flight.append(self._dispatch(kind, batches.pop(kind), size))
                    batches[kind].append(Row([], kind.empty_row(size, self.settings), np.zeros(size, bool)))
                batches[kind][-1].add(key, utterance, span, self.settings)
                while len(in_flight) > _IN_FLIGHT:
                    yield from self._collect(in_flight.popleft(), jobs)
        in_flight.extend(self._dispatch(kind, rows, size) for kind, rows in batches.items())
        for batch in in_flight:
            yield from self._collect(batch, jobs)

    @functools.cached_property
    def _windows(self) -> Windows:
        return windows_for(self._generator, self.settings, self._platform, self._devices, self._few_programs)

    @functools.cached_property
    def _batches(self) -> BatchRunner:
        return BatchRunner(self._sharded, self._devices, self.settings, self._windows.spacing)

    def _dispatch(self, kind: type, rows: list[Row], size: int):
        missing = self._windows.padded_rows(len(rows), size) - len(rows)
        batch = rows + [Row([], np.zeros_like(rows[0].inputs), np.zeros_like(rows[0].frame_mask))] * missing
        inputs, masks = (np.stack(arrays) for arrays in zip(*((row.inputs, row.frame_mask) for row in batch), strict=True))
        return self._batches.start(self._programs[kind], self._params, kind, inputs, masks), rows

    def _collect(self, batch, jobs: dict[Hashable, Job]) -> Iterator[tuple[Hashable, np.ndarray]]:
        started, rows = batch
        audio = self._batches.finish(self._programs[started.kind], self._params, started)
        for samples, row in zip(audio, rows, strict=False):
            for key, span in row.spans:
                job = jobs[key]
                first, last = (span.offset + frame - span.start for frame in (span.valid_start, span.valid_stop))
                kept = samples[first * self.hop_size : last * self.hop_size]
                job.audio[span.valid_start * self.hop_size : span.valid_stop * self.hop_size] = kept
                job.missing -= 1
                if not job.missing:
                    yield key, jobs.pop(key).audio[job.kept]

    def _from_mel(self, params, mel, frame_mask):
        return self._generator.apply({"params": params}, Conditions(mel), Edges(frame_mask))

    def _from_audio(self, params, padded, frame_mask):
        return self._from_mel(params, log_mel_of_padded(padded, self.settings), frame_mask)


def _as_numpy(values: ArrayLike) -> np.ndarray:
    """A NumPy, JAX or PyTorch array as NumPy; bfloat16, which NumPy lacks, becomes float32. Raises DataError."""
    if hasattr(values, "detach"):  # PyTorch
        values = values.detach().float() if values.is_floating_point() else values.detach()
    try:
        array = np.asarray(values)
    except ValueError:
        raise DataError("rows of different lengths: an array is expected") from None
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
