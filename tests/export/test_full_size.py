"""ONNX files of full-size models, with random weights, and with the official ones on speech."""

from pathlib import Path

import numpy as np
import peers
import pytest
from test_official_weights import official

from hifigan_jax import audio
from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.loading import load_generator
from hifigan_jax.synthesis import Vocoder

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.slow

SPEECH = Path(__file__).parents[2] / "samples" / "librivox_sonnet1_00.flac"


@pytest.mark.parametrize("name", ["config_v1", "config_v2", "config_v3", "melgan", "istftnet"])
def test_any_number_of_frames_and_utterances_gives_the_audio_of_decode(name, tmp_path, rng):
    config = load_config(packaged_config(name))
    mels = rng.normal(-4, 2, (3, config.mel.num_mels, 2000)).astype(np.float32)
    vocoder, generator = peers.loud(config, mels[0, :, :100])
    run = peers.in_onnx_runtime(generator, tmp_path / "generator.onnx")
    for frames in (1, 2, 13, 100, 2000):
        mel = mels[:, :, :frames]
        expected = vocoder.decode(mel, force=True)
        assert frames < 100 or peers.rms(expected) >= 0.05
        np.testing.assert_allclose(run(mel), expected, atol=1e-5)
        np.testing.assert_allclose(run(mel[:1]), expected[:1], atol=1e-5)


@pytest.mark.parametrize("name", ["universal_v1", "v2"])
def test_official_weights_on_speech_give_the_audio_of_decode(name, tmp_path):
    generator = load_generator(official(name), packaged_config({"universal_v1": "config_v1", "v2": "config_v2"}[name]))
    vocoder = Vocoder(generator.config, generator.params)
    mel = vocoder.mel(audio.read_audio_at(SPEECH, vocoder.sampling_rate))
    expected, found = vocoder.decode(mel), peers.in_onnx_runtime(generator, tmp_path / "generator.onnx")(mel[None])[0]
    assert np.abs(expected).max() > 0.1
    assert np.abs(found - expected).max() <= 1e-4
    assert peers.rms(found - expected) <= 2e-6
