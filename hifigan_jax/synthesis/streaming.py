"""A mel that arrives in pieces -> its audio as soon as it can be known.

Every stage of the generator keeps the newest inputs that later outputs still depend on, so that nothing but a stage's inner edges
is computed twice. Its outputs come `latency` samples late; latencies add up along the stages to the look-ahead.
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

CHUNK_SIZES = (1, 4, 8, 16, 64)  # frames that one call takes; fewer are filled up
_LONG_STEP = 32  # frames: from here on oneDNN's convolutions pay in float32; in bfloat16 they do for any
_FAR = 2**16  # frames: further away than any look-ahead, and in samples still an int32

StreamState = list[Float[Array, "1 _ _"]]  # what each stage keeps


class StreamPosition(NamedTuple):
    """Where a step lies in its stream: how many frames it has, how many came before it, how many follow its start."""

    frames: int
    before: int
    left: int

    def inside(self, rate: int, start: int, length: int) -> Bool[Array, "1 T"]:
        """Which of the samples [start, start + length), counted from the step's first frame at this rate, the whole mel has."""
        samples = start + jnp.arange(length)
        return ((samples >= -self.before * rate) & (samples < self.left * rate))[None]


def initial_state(generator: nn.Module, mel: Float[Array, "1 F M"]) -> StreamState:
    """What a stream starts from: nothing inside of the utterance yet."""
    x, state = mel, []
    for stage in generator.stages():
        state.append(jnp.zeros((1, stage.left_context, x.shape[2]), x.dtype))
        x = stage.layer(x, FULL_ROWS)
    return state


def step(
    generator: nn.Module, state: StreamState, mel: Float[Array, "1 F M"], position: StreamPosition
) -> tuple[Float[Array, " T"], StreamState]:
    """The audio [F * hop_size] that ends `latency` samples before the mel does, and what the next step needs.

    Frames beyond position.frames are there to fill the array; what comes of them is to be discarded.
    """
    x, rate, late, kept = mel, 1, 0, []
    for stage, older in zip(generator.stages(), state, strict=True):
        x = jnp.concatenate([older, x], axis=1)
        edges = Edges(position.inside(rate, -late - stage.left_context, x.shape[1]))
        x = edges.zero(x)
        kept.append(jax.lax.dynamic_slice_in_dim(x, position.frames * rate, stage.left_context, axis=1))
        x = stage.layer(x, edges)
        rate, late = rate * stage.stride, late * stage.stride + stage.latency
        first = stage.left_context * stage.stride - stage.latency
        x = x[:, first : first + mel.shape[1] * rate]
    return x[0, :, 0], kept


class Streamer:
    """Streams mels through one generator, with one program for each of CHUNK_SIZES; the first stream compiles them all."""

    def __init__(self, generator: nn.Module, num_mels: int, replicated: Sharding, platform: Platform):
        """`replicated` is where the parameters are; `platform`, what is known of these devices."""
        self._hop_size, self._num_mels, self._shortest = generator.hop_size, num_mels, generator.shortest
        self._latency = latency(generator.bind({}).stages())
        self._initial: StreamState | None = None
        compiled = partial(jax.jit, out_shardings=replicated)
        # Other backends may not know a CPU's option.
        leave_aside = generator.compute_dtype is None and platform.streams_without_onednn
        small = runtime.without_onednn() if leave_aside else None
        self._initial_state = compiled(partial(_applied, generator, initial_state))
        self._long_step = compiled(partial(_applied, generator, step))
        self._small_step = compiled(partial(_applied, generator, step), compiler_options=small)

    @property
    def lookahead_frames(self) -> int:
        """How many frames must follow a frame before all of its audio is known."""
        return -(-self._latency // self._hop_size)

    def __call__(self, params: Any, mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the audio, float32 [T_i], of mels [F_i, M] that follow each other."""
        state = self._start(params)
        for mel, position in self._steps(mels):
            audio, state = self._step(mel.shape[1])(params, state, mel, position)
            start = self._latency - position.before * self._hop_size  # of the stream, in this step's audio
            end = self._latency + position.left * self._hop_size
            audio = np.asarray(audio)[max(start, 0) : min(position.frames * self._hop_size, end)]
            if audio.size:
                yield audio

    def _start(self, params: Any) -> StreamState:
        if self._initial is None:
            # As many frames as any padding needs; of the state, only shapes depend on them.
            self._initial = self._initial_state(params, np.zeros((1, self._shortest, self._num_mels), np.float32))
            for size in CHUNK_SIZES:  # compiles
                self._step(size)(params, self._initial, np.zeros((1, size, self._num_mels), np.float32), StreamPosition(0, 0, 0))
        return self._initial

    def _step(self, size: int) -> Callable:
        return self._long_step if size >= _LONG_STEP else self._small_step

    def _steps(self, mels: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, StreamPosition]]:
        frames = 0
        for part in (part for mel in mels for part in _parts(mel)):
            yield _filled_up(part), StreamPosition(len(part), min(frames, _FAR), _FAR)
            frames += len(part)
        after = np.zeros((self.lookahead_frames if frames else 0, self._num_mels), np.float32)
        left = 0
        for part in _parts(after):
            yield _filled_up(part), StreamPosition(len(part), min(frames - left, _FAR), left)
            left -= len(part)


def _parts(mel: np.ndarray) -> Iterator[np.ndarray]:
    """The mel in stretches, each of which fills more than half of its step if it can."""
    while len(mel):
        size = max((size for size in CHUNK_SIZES if size < 2 * len(mel)), default=CHUNK_SIZES[0])
        yield mel[:size]
        mel = mel[size:]


def _filled_up(mel: np.ndarray) -> np.ndarray:
    """[F, M] -> [1, S, M] with the smallest of CHUNK_SIZES that holds it."""
    size = min(size for size in CHUNK_SIZES if size >= len(mel))
    return np.pad(mel, ((0, size - len(mel)), (0, 0)))[None]


def _applied(generator, method, params, *inputs):
    return generator.apply({"params": params}, *inputs, method=method)
