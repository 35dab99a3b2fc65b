"""ONNX files of full-size models, with random weights, and with the official ones on speech."""

from pathlib import Path

import jax
import numpy as np
import pytest
from test_official_weights import official

from hifigan_jax import audio
from hifigan_jax.benchmark import random_params
from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.generator_file import Generator
from hifigan_jax.loading import load_generator
from hifigan_jax.synthesis import Vocoder

pytestmark = pytest.mark.slow

SPEECH = Path(__file__).parents[2] / "samples" / "librivox_sonnet1_00.flac"


def exported(generator, folder):
    """A function from mels to the audio of the generator's ONNX file in ONNX Runtime."""
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from hifigan_jax.export.onnx import export_onnx

    export_onnx(generator, folder / "generator.onnx")
    session = onnxruntime.InferenceSession(folder / "generator.onnx", providers=["CPUExecutionProvider"])
    return lambda mel: session.run(["audio"], {"mel": mel})[0]


def loud(config, mel):
    """A vocoder with random weights, gains and biases whose audio of this mel has an rms of at least 0.05, and these weights."""
    draws = np.random.default_rng(1)
    ranges = {"g": (0.5, 1.5), "bias": (-0.3, 0.3), "v": (1, 1)}

    def drawn(path, leaf):
        low, high = ranges[path[-1].key]
        values = draws.uniform(low, high, leaf.shape)
        return (values if path[-1].key == "bias" else leaf * values).astype(np.float32)

    params = jax.tree_util.tree_map_with_path(drawn, random_params(config))
    vocoder = Vocoder(config, params)
    for gain in np.geomspace(1, 16, 17):
        scaled = jax.tree_util.tree_map_with_path(
            lambda path, leaf, gain=gain: leaf * np.float32(gain if path[-1].key == "g" else 1), params
        )
        vocoder.update(scaled)
        if np.sqrt(np.mean(np.square(vocoder.decode(mel, force=True)))) >= 0.06:
            return vocoder, Generator(config, scaled, __file__)
    raise AssertionError("no gain makes the audio loud enough")


@pytest.mark.parametrize("name", ["config_v1", "config_v2", "config_v3", "melgan", "istftnet"])
def test_any_number_of_frames_and_utterances_gives_the_audio_of_decode(name, tmp_path, rng):
    config = load_config(packaged_config(name))
    mels = rng.normal(-4, 2, (3, config.mel.num_mels, 2000)).astype(np.float32)
    vocoder, generator = loud(config, mels[0, :, :100])
    run = exported(generator, tmp_path)
    for frames in (1, 2, 13, 100, 2000):
        mel = mels[:, :, :frames]
        expected = vocoder.decode(mel, force=True)
        assert frames < 100 or np.sqrt(np.mean(np.square(expected))) >= 0.05
        np.testing.assert_allclose(run(mel), expected, atol=1e-5)
        np.testing.assert_allclose(run(mel[:1]), expected[:1], atol=1e-5)


@pytest.mark.parametrize("name", ["universal_v1", "v2"])
def test_official_weights_on_speech_give_the_audio_of_decode(name, tmp_path):
    generator = load_generator(official(name), packaged_config({"universal_v1": "config_v1", "v2": "config_v2"}[name]))
    vocoder = Vocoder(generator.config, generator.params)
    mel = vocoder.mel(audio.read_audio_at(SPEECH, vocoder.sampling_rate))
    expected, found = vocoder.decode(mel), exported(generator, tmp_path)(mel[None])[0]
    assert np.abs(expected).max() > 0.1
    assert np.abs(found - expected).max() <= 1e-4
    assert np.sqrt(np.mean(np.square(found - expected))) <= 2e-6
