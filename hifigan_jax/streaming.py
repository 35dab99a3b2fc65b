"""A mel that arrives in pieces -> its audio as soon as it can be known.

Every link of the generator's chain keeps the newest inputs that later outputs still depend on, so that nothing but a link's inner
edges is computed twice. Its outputs come `delay` samples late; delays add up along the chain, and at its end are the look-ahead.
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

STEPS = (1, 4, 8, 16, 64)  # frames that one call takes; fewer are filled up
_LONG_STEP = 32  # frames: from here on oneDNN's convolutions pay in float32; in bfloat16 they do for any
_FAR = 2**16  # frames: further away than any look-ahead, and in samples still an int32

Past = list[Float[Array, "1 _ _"]]  # what each link keeps


class Place(NamedTuple):
    """Where a step lies in its stream: how many frames it has, how many came before it, how many follow its start."""

    frames: int
    before: int
    left: int

    def inside(self, rate: int, start: int, length: int) -> Bool[Array, "1 T 1"]:
        """Which of the samples [start, start + length), counted from the step's first frame at this rate, the whole mel has."""
        samples = start + jnp.arange(length)
        return ((samples >= -self.before * rate) & (samples < self.left * rate))[None, :, None]


def empty_past(generator: nn.Module, mel: Float[Array, "1 F M"]) -> Past:
    """What a stream starts from: nothing but the zeros that every convolution pads with."""
    x, past = mel, []
    for link in generator.chain():
        past.append(jnp.zeros((1, link.behind, x.shape[2]), x.dtype))
        x = link.layer(x, None)
    return past


def step(
    generator: nn.Module, past: Past, mel: Float[Array, "1 F M"], place: Place
) -> tuple[Float[Array, " T"], Past]:
    """The audio [F * hop_size] that ends `delay` samples before the mel does, and what the next step needs.

    Frames beyond place.frames are there to fill the array; what comes of them is to be thrown away.
    """
    x, rate, late, kept = mel, 1, 0, []
    for link, older in zip(generator.chain(), past, strict=True):
        x = jnp.concatenate([older, x], axis=1)
        mask = place.inside(rate, -late - link.behind, x.shape[1])
        x = jnp.where(mask, x, 0)
        kept.append(jax.lax.dynamic_slice_in_dim(x, place.frames * rate, link.behind, axis=1))
        x = link.layer(x, mask)
        rate, late = rate * link.stride, late * link.stride + link.delay
        first = link.behind * link.stride - link.delay
        x = x[:, first : first + mel.shape[1] * rate]
    return jnp.tanh(x)[0, :, 0], kept


class Streamer:
    """Streams mels through one generator, with one program for each of STEPS; the first stream compiles them all."""

    def __init__(self, generator: nn.Module, whole: Sharding):
        """`whole` is where the parameters are."""
        self._hop_size, self._num_mels = generator.hop_size, generator.num_mels
        self._delay = 0  # samples by which the audio comes after its mel
        for link in generator.bind({}).chain():
            self._delay = self._delay * link.stride + link.delay
        self._empty: Past | None = None
        compiled = partial(jax.jit, out_shardings=whole)
        # Other backends may not know a CPU's option.
        leave_aside = generator.compute_dtype is None and jax.default_backend() == "cpu"
        small = runtime.without_onednn() if leave_aside else None
        self._empty_past = compiled(partial(_applied, generator, empty_past))
        self._long_step = compiled(partial(_applied, generator, step))
        self._small_step = compiled(partial(_applied, generator, step), compiler_options=small)

    @property
    def lookahead_frames(self) -> int:
        """How many frames must follow a frame before all of its audio is known."""
        return -(-self._delay // self._hop_size)

    def __call__(self, params: Any, mels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the audio, float32 [T_i], of mels [F_i, M] that follow each other."""
        past = self._start(params)
        for mel, place in self._steps(mels):
            audio, past = self._step(mel.shape[1])(params, past, mel, place)
            start = self._delay - place.before * self._hop_size  # of the stream, in this step's audio
            end = self._delay + place.left * self._hop_size
            audio = np.asarray(audio)[max(start, 0) : min(place.frames * self._hop_size, end)]
            if audio.size:
                yield audio

    def _start(self, params: Any) -> Past:
        if self._empty is None:
            self._empty = self._empty_past(params, np.zeros((1, 1, self._num_mels), np.float32))
            for size in STEPS:  # compiles
                self._step(size)(params, self._empty, np.zeros((1, size, self._num_mels), np.float32), Place(0, 0, 0))
        return self._empty

    def _step(self, size: int) -> Callable:
        return self._long_step if size >= _LONG_STEP else self._small_step

    def _steps(self, mels: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, Place]]:
        frames = 0
        for part in (part for mel in mels for part in _parts(mel)):
            yield _filled_up(part), Place(len(part), min(frames, _FAR), _FAR)
            frames += len(part)
        after = np.zeros((self.lookahead_frames if frames else 0, self._num_mels), np.float32)
        left = 0
        for part in _parts(after):
            yield _filled_up(part), Place(len(part), min(frames - left, _FAR), left)
            left -= len(part)


def _parts(mel: np.ndarray) -> Iterator[np.ndarray]:
    """The mel in stretches, each of which fills more than half of its step if it can."""
    while len(mel):
        size = max((size for size in STEPS if size < 2 * len(mel)), default=STEPS[0])
        yield mel[:size]
        mel = mel[size:]


def _filled_up(mel: np.ndarray) -> np.ndarray:
    """[F, M] -> [1, S, M] with the smallest of STEPS that holds it."""
    size = min(size for size in STEPS if size >= len(mel))
    return np.pad(mel, ((0, size - len(mel)), (0, 0)))[None]


def _applied(generator, method, params, *inputs):
    return generator.apply({"params": params}, *inputs, method=method)
