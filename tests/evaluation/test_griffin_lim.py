import numpy as np
import pytest

from hifigan_jax.evaluation import griffin_lim
from hifigan_jax.evaluation.griffin_lim import invert_mel, resynthesize
from hifigan_jax.evaluation.spectra import log_mel, mel_settings
from hifigan_jax.filterbank import filterbank

SETTINGS = mel_settings(22050)


@pytest.fixture
def audio(speech):
    return speech[-64 * 256 :]


def test_inverted_mels_are_spectra_that_have_these_mels(audio):
    mel = np.exp(log_mel(audio, SETTINGS))
    spectrum = invert_mel(mel, SETTINGS)
    assert spectrum.shape == (64, 513)
    assert (spectrum >= 0).all()
    assert np.abs(spectrum @ filterbank(SETTINGS.convention).T - mel).mean() < 0.02 * mel.mean()


def test_the_result_has_the_length_and_nearly_the_mel_of_the_recording(audio):
    made = resynthesize(audio, SETTINGS)
    assert made.shape == audio.shape
    assert made.dtype == np.float32
    assert np.abs(log_mel(made, SETTINGS) - log_mel(audio, SETTINGS)).mean() < 0.25


def test_the_result_is_the_same_each_time(audio):
    np.testing.assert_array_equal(resynthesize(audio, SETTINGS), resynthesize(audio, SETTINGS))


def test_the_inverse_stft_inverts_the_stft(rng):
    padded = rng.normal(size=20 * 256 + 768)
    rebuilt = griffin_lim._inverse_stft(griffin_lim._stft(padded, SETTINGS), SETTINGS)
    np.testing.assert_allclose(rebuilt[100:-100], padded[100:-100], atol=1e-9)


def test_frames_are_added_where_they_overlap():
    frames = np.arange(8.0).reshape(2, 4)
    np.testing.assert_array_equal(griffin_lim._overlap_add(frames, 2), [0, 1, 2 + 4, 3 + 5, 6, 7])
