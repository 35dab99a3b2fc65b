"""Streaming synthesis: a log-mel that arrives in chunks, to audio with the least delay that exact output allows.

Each stage of the generator keeps the most recent inputs that its later outputs depend on, so that only the layers inside a stage
recompute samples at chunk borders. A stage's output is delayed by `latency` samples; the delays of all stages make the lookahead.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding
from jaxtyping import Array, Bool, Float

from hifigan_jax import runtime
from hifigan_jax.models.edges import FULL_ROWS, Edges
from hifigan_jax.models.generator import latency
from hifigan_jax.platforms import Platform

CHUNK_SIZES = (1, 4, 8, 16, 64)  # frames per call; shorter chunks are padded to the next size
_LONG_STEP = 32  # frames; from this size on, oneDNN's convolutions are faster in float32 (in bfloat16 they always are)
_FAR = 2**16  # frames; larger than any lookahead, and its number of samples still fits an int32

StreamState = list[Float[Array, "1 _ _"]]  # the recent inputs of each stage


class StreamPosition(NamedTuple):
    """The position of a step in its stream, in frames; `before` and `left` are clipped to `_FAR`."""

    frames: int  # in this step
    before: int  # before this step
    left: int  # from the start of this step to the end of the stream

    def mask(self, rate: int, start: int, length: int) -> Bool[Array, "1 T"]:
        """Whether each of the samples [start, start + length) lies in the utterance; 0 is the step's first, `rate` per frame."""
        samples = start + jnp.arange(length)
        return ((samples >= -self.before * rate) & (samples < self.left * rate))[None]


def initial_state(generator: nn.Module, mel: Float[Array, "1 F M"]) -> StreamState:
    """The state before the first frame: zeros."""
    x, state = mel, []
    for stage in generator.stages():
        state.append(jnp.zeros((1, stage.left_context, x.shape[2]), x.dtype))
        x = stage.layer(x, FULL_ROWS)
    return state


def step(
    generator: nn.Module, state: StreamState, mel: Float[Array, "1 F M"], position: StreamPosition
) -> tuple[Float[Array, " T"], StreamState]:
    """The audio [F * hop_size] that ends `latency` samples before the mel does, and the next step's state.

    Frames beyond `position.frames` are padding, and the caller discards the audio of these.
    """
    x, rate, delay, new_state = mel, 1, 0, []
    for stage, recent in zip(generator.stages(), state, strict=True):
        x = jnp.concatenate([recent, x], axis=1)
        edges = Edges(position.mask(rate, -delay - stage.left_context, x.shape[1]))
        x = edges.zero(x)
        new_state.append(jax.lax.dynamic_slice_in_dim(x, position.frames * rate, stage.left_context, axis=1))
        x = stage.layer(x, edges)
        rate, delay = rate * stage.stride, delay * stage.stride + stage.latency
        first = stage.left_context * stage.stride - stage.latency
        x = x[:, first : first + mel.shape[1] * rate]
    return x[0, :, 0], new_state


class Streamer:
    """Streams log-mels through a generator with one program per size in CHUNK_SIZES, all compiled by the first stream."""

    def __init__(self, generator: nn.Module, num_mels: int, replicated: Sharding, platform: Platform):
        """`replicated` is the sharding of the parameters, `platform` the row of PLATFORMS for their devices."""
        self._hop_size, self._num_mels, self._shortest = generator.hop_size, num_mels, generator.shortest
        self._latency = latency(generator.bind({}).stages())
        self._initial: StreamState | None = None
        compiled = partial(jax.jit, out_shardings=replicated)
        # Only on CPUs: other backends may reject the compiler option.
        without_onednn = generator.compute_dtype is None and platform.streams_without_onednn
        small = runtime.without_onednn() if without_onednn else None
        self._initial_state = compiled(partial(_applied, generator, initial_state))
        self._long_step = compiled(partial(_applied, generator, step))
        self._small_step = compiled(partial(_applied, generator, step), compiler_options=small)

    @property
    def lookahead_frames(self) -> int:
        """Number of later frames that the audio of a frame depends on."""
        return -(-self._latency // self._hop_size)

    def __call__(self, params: Any, mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the audio, float32 [T_i], of consecutive chunks [F_i, M] of a log-mel."""
        state = self._start(params)
        for mel, position in self._steps(mels):
            audio, state = self._step(mel.shape[1])(params, state, mel, position)
            start = self._latency - position.before * self._hop_size  # where the stream starts, relative to this step's audio
            end = self._latency + position.left * self._hop_size
            audio = np.asarray(audio)[max(start, 0) : min(position.frames * self._hop_size, end)]
            if audio.size:
                yield audio

    def _start(self, params: Any) -> StreamState:
        if self._initial is None:
            # The number of frames only has to be enough for the padding: the state consists of zeros.
            self._initial = self._initial_state(params, np.zeros((1, self._shortest, self._num_mels), np.float32))
            for size in CHUNK_SIZES:  # compiles each size before the first chunk
                self._step(size)(params, self._initial, np.zeros((1, size, self._num_mels), np.float32), StreamPosition(0, 0, 0))
        return self._initial

    def _step(self, size: int) -> Callable:
        return self._long_step if size >= _LONG_STEP else self._small_step

    def _steps(self, mels: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, StreamPosition]]:
        frames = 0
        for part in (part for mel in mels for part in _split(mel)):
            yield _padded(part), StreamPosition(len(part), min(frames, _FAR), _FAR)
            frames += len(part)
        after = np.zeros((self.lookahead_frames if frames else 0, self._num_mels), np.float32)
        left = 0
        for part in _split(after):
            yield _padded(part), StreamPosition(len(part), min(frames - left, _FAR), left)
            left -= len(part)


def _split(mel: np.ndarray) -> Iterator[np.ndarray]:
    """Splits a mel into parts that fill more than half of a chunk size each, if possible."""
    while len(mel):
        size = max((size for size in CHUNK_SIZES if size < 2 * len(mel)), default=CHUNK_SIZES[0])
        yield mel[:size]
        mel = mel[size:]


def _padded(mel: np.ndarray) -> np.ndarray:
    """[F, M] padded with zeros to [1, S, M], S the next of CHUNK_SIZES."""
    size = min(size for size in CHUNK_SIZES if size >= len(mel))
    return np.pad(mel, ((0, size - len(mel)), (0, 0)))[None]


def _applied(generator, method, params, *inputs):
    return generator.apply({"params": params}, *inputs, method=method)
