"""An exported generator as the vocoder of a Matcha-TTS model in sherpa-onnx."""

import numpy as np
import pytest

from hifigan_jax.synthesis import Vocoder

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_sherpa_onnx_gives_the_audio_of_decode(precision, tiny_generator, tmp_path, rng):
    pytest.importorskip("onnx")
    pytest.importorskip("sherpa_onnx")
    import peers

    mel = rng.normal(-4, 2, (80, 60)).astype(np.float32)
    audio, rate = peers.in_sherpa(tiny_generator, mel, tmp_path, precision)
    assert rate == 22050
    expected = Vocoder(tiny_generator.config, tiny_generator.params).decode(mel, force=True)
    assert peers.rms(expected) >= 0.05
    np.testing.assert_allclose(audio, expected, atol=1e-4 if precision == "float32" else 1e-2)
