"""Batches for which memory does not suffice."""

import jax
import numpy as np
import pytest
from flax import traverse_util

from hifigan_jax import faults
from hifigan_jax.errors import OutOfMemory
from hifigan_jax.platforms import PLATFORMS
from hifigan_jax.runtime import explaining_memory, is_out_of_memory
from hifigan_jax.synthesis import Vocoder


@pytest.fixture
def fault(monkeypatch):
    """fault(value): what HIFIGAN_JAX_FAULT requests from now on."""
    faults._visits.clear()
    yield lambda value: (faults._visits.clear(), monkeypatch.setenv(faults.VARIABLE, value))
    faults._visits.clear()


@pytest.fixture
def vocoder(shared_tiny_config, tiny_leaves, shared_programs):
    """make(platform): a vocoder with the sizes of batches of this platform."""

    def make(platform="cpu"):
        vocoder = Vocoder(shared_tiny_config, traverse_util.unflatten_dict(tiny_leaves, sep="/"))
        vocoder._platform = PLATFORMS[platform]
        return vocoder

    return make


def utterances(vocoder, rng):
    """Mels and recordings, shorter and longer than a window, in one batch and in several."""
    mels = [rng.normal(-5, 2, (frames, 80)).astype(np.float32) for frames in (30, 700, 61, 12)]
    audios = [(0.1 * rng.normal(size=samples)).astype(np.float32) for samples in (30_000, 150_000, 9_000)]
    made = [*map(vocoder.utterance_of_mel, mels), *map(vocoder.utterance_of_audio, audios)]
    return list(enumerate(made))


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("visits", ["1", "1-3", "2-6"])
def test_a_batch_in_parts_has_the_same_audio(vocoder, rng, fault, platform, visits, caplog):
    inputs = utterances(vocoder(platform), rng)
    expected = dict(vocoder(platform).synthesize(inputs))
    assert min(np.sqrt(np.mean(audio**2)) for audio in expected.values()) > 1e-3
    fault(f"out_of_memory.synthesis:{visits}")
    found = dict(vocoder(platform).synthesize(inputs))
    assert "memory does not suffice for a batch of" in caplog.text
    assert found.keys() == expected.keys()
    for key, audio in expected.items():
        np.testing.assert_allclose(found[key], audio, atol=1e-5 * np.abs(audio).max())


def test_a_size_that_was_too_large_is_not_tried_again(vocoder, rng, fault, caplog):
    made = vocoder()
    inputs = utterances(made, rng)
    fault("out_of_memory.synthesis:1")
    dict(made.synthesize(inputs))
    dict(made.synthesize(inputs))
    assert caplog.text.count("memory does not suffice for a batch of 1 windows of 384 frames: it is halved") == 1


def test_memory_that_does_not_suffice_for_anything_is_one_line(vocoder, rng, fault):
    made = vocoder()
    fault("out_of_memory.synthesis:1-")
    with pytest.raises(OutOfMemory, match="memory does not suffice for a window of .* frames"):
        dict(made.synthesize(utterances(made, rng)))


def test_another_error_is_raised_as_it_is(vocoder, rng, monkeypatch):
    made = vocoder()
    made._programs = dict.fromkeys(made._programs, lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        dict(made.synthesize(utterances(made, rng)))


def test_errors_of_jax_and_numpy_are_recognized():
    for allocate in (lambda: np.ones(2**55, np.int8), lambda: jax.device_put(np.broadcast_to(np.int8(0), 2**50))):
        with pytest.raises(Exception, match="allocat") as caught:
            allocate()
        assert is_out_of_memory(caught.value)
        with pytest.raises(OutOfMemory, match="memory does not suffice: buy some"), explaining_memory("buy some"):
            allocate()
    assert not is_out_of_memory(ValueError("Out of memory"))
    with pytest.raises(ZeroDivisionError), explaining_memory("buy some"):
        1 / 0  # noqa: B018
