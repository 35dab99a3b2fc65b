import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax import runtime
from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.models.generator import Conditions
from hifigan_jax.models.hifigan.generator import HiFiGAN
from hifigan_jax.synthesis import Vocoder
from hifigan_jax.synthesis.streaming import CHUNK_SIZES
from hifigan_jax.training.setup import generator_of

NARROW = {"upsample_initial_channel": 16, "upsample_kernel_sizes": [17, 16, 4]}  # one of them odd, one as wide as its stride
RESBLOCKS = {
    "1": {"resblock": "1", "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 3, 2], [1, 2, 1]]},
    "2": {"resblock": "2", "resblock_kernel_sizes": [3, 7], "resblock_dilation_sizes": [[1, 2], [2, 6]]},
}


def flag_is_known():
    environment = {}
    runtime.use_onednn(environment)
    return environment != {}


def started(config, seed):
    """Random weights, loud enough for every edge to be heard."""
    conditions = Conditions(jnp.zeros((1, 8, 80)))
    params = jax.jit(generator_of(config).init)(jax.random.key(seed), conditions)["params"]
    return jax.tree_util.tree_map_with_path(lambda path, leaf: leaf * (2 if path[-1].key == "g" else 1), params)


@pytest.fixture(scope="module", params=RESBLOCKS, ids="resblock {}".format)
def vocoder(request):
    config = load_config(packaged_config("config_v3"), NARROW | RESBLOCKS[request.param])
    return Vocoder(config, started(config, 0))


@pytest.fixture(scope="module")
def mel():
    return np.random.default_rng(0).normal(-5, 2, (80, 150)).astype(np.float32)


def chunked(mel, sizes):
    """`mel` cut into chunks of these sizes, the last of which is repeated."""
    start = 0
    while start < mel.shape[1]:
        size, *sizes = sizes if len(sizes) > 1 else sizes * 2
        yield mel[:, start : start + size]
        start += size


@pytest.mark.parametrize("frames", [1, 2, 5, 14, 150])
@pytest.mark.parametrize("sizes", [[1], [64], [150], [5, 1, 33, 17, 70, 3], [14, 4]], ids=str)
def test_a_stream_is_what_the_whole_mel_gives(sizes, frames, vocoder, mel):
    whole = vocoder.decode(mel[:, :frames])
    pieces = list(vocoder.stream(chunked(mel[:, :frames], sizes)))
    assert all(piece.dtype == np.float32 and piece.size for piece in pieces)
    assert np.abs(whole).max() > 0.1
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)


def test_an_empty_stream_is_silent(vocoder):
    assert list(vocoder.stream([])) == []


@pytest.mark.smoke
def test_a_frame_s_audio_comes_once_the_look_ahead_has_come(vocoder, mel):
    received, heard = 0, 0

    def arriving():
        nonlocal received
        for frame in mel.T:
            assert heard >= (received - vocoder.lookahead_frames) * vocoder.hop_size
            received += 1
            yield frame[:, None]

    for piece in vocoder.stream(arriving()):
        heard += piece.size
    assert heard == mel.shape[1] * vocoder.hop_size


def test_the_look_ahead_is_the_receptive_field(vocoder, mel):
    ahead = vocoder.lookahead_frames
    assert ahead <= vocoder._generator.receptive_field
    assert vocoder.lookahead_ms == pytest.approx(ahead * 256 / 22050 * 1000)
    audio = vocoder.decode(mel)
    for distance, heard in ((ahead, True), (ahead + 1, False)):
        changed = mel.copy()
        changed[:, 60 + distance] += 1
        frame = slice(60 * 256, 61 * 256)
        assert (np.abs(vocoder.decode(changed)[frame] - audio[frame]).max() > 1e-7) == heard


def test_streams_of_any_chunks_and_weights_share_their_programs(vocoder, mel):
    for sizes in ([1, 7, 64, 20], [150]):
        list(vocoder.stream(chunked(mel, sizes)))
    vocoder.update(started(vocoder.config, 1))
    list(vocoder.stream(chunked(mel, [150])))
    assert sum(vocoder._streamer._step(size)._cache_size() for size in (CHUNK_SIZES[0], CHUNK_SIZES[-1])) == len(CHUNK_SIZES)


@pytest.mark.smoke
@pytest.mark.skipif(not flag_is_known(), reason="XLA's CPU backend has no convolutions of oneDNN here")
def test_small_steps_in_float32_leave_onednn_aside():
    environment = os.environ | {"XLA_FLAGS": f"{runtime.ONEDNN_FLAG}=true"}
    done = subprocess.run([sys.executable, "-c", ONEDNN_BY_STEP], env=environment, capture_output=True, text=True, check=True)
    small, large = CHUNK_SIZES[0], CHUNK_SIZES[-1]
    assert json.loads(done.stdout) == {
        "float32": [[size, size == large] for size in CHUNK_SIZES],
        "bfloat16": [[small, True], [large, True]],
    }


ONEDNN_BY_STEP = """
import json, numpy as np
from hifigan_jax.benchmark import random_params
from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.synthesis.streaming import CHUNK_SIZES, StreamPosition
from hifigan_jax.synthesis import Vocoder

said = {}
for dtype, sizes in (("float32", CHUNK_SIZES), ("bfloat16", (CHUNK_SIZES[0], CHUNK_SIZES[-1]))):
    config = load_config(packaged_config("config_v3"), {"upsample_initial_channel": 64, "compute_dtype": dtype})
    vocoder = Vocoder(config, random_params(config))
    streamer = vocoder._streamer
    state = streamer._initial_state(vocoder._params, np.zeros((1, 1, 80), np.float32))
    said[dtype] = [
        (size, "onednn" in streamer._step(size).lower(
            vocoder._params, state, np.zeros((1, size, 80), np.float32), StreamPosition(0, 0, 0)
        ).compile().as_text())
        for size in sizes
    ]
print(json.dumps(said))
"""


@pytest.mark.parametrize(
    "chunk",
    [np.zeros((79, 5)), np.zeros((80, 0)), np.zeros(80), np.zeros((1, 80, 5)), np.zeros((80, 5), int), np.full((80, 5), np.nan)],
    ids=lambda chunk: f"{chunk.shape} {chunk.dtype}",
)
def test_what_is_no_mel_ends_a_stream_in_one_line(chunk, vocoder, mel):
    pieces = vocoder.stream([mel[:, :40], chunk])
    assert next(pieces).size
    with pytest.raises(DataError, match="^a mel "):
        list(pieces)


def test_a_generator_without_stages_is_not_streamed(vocoder, mel, monkeypatch):
    monkeypatch.delattr(HiFiGAN, "stages")
    with pytest.raises(UsageError, match=r"HiFiGAN cannot be streamed: use decode"):
        vocoder.stream([mel])
