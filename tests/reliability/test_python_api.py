"""The Python interface with arrays from numpy, scipy.io.wavfile, librosa and torchaudio: correct, or one of our exceptions."""

import numpy as np
import pytest
from inputs import second
from programs import HifiganError

from hifigan_jax import Vocoder


@pytest.fixture(scope="module")
def right(vocoder):
    """The mel of one second of speech in [-1, 1]."""
    return vocoder.mel(second() / np.float32(32768))


SPEECH = {
    "float32": lambda s: (s / 32768).astype(np.float32),
    "float64": lambda s: s / 32768,
    "reversed_view": lambda s: (s / 32768)[::-1].copy()[::-1],
    "int16": lambda s: s,
    "int32": lambda s: s.astype(np.int32) << 16,
    "uint8": lambda s: ((s >> 8) + 128).astype(np.uint8),
    "float32_times_32768": lambda s: s.astype(np.float32),
}
TODAY = ("float32", "float64", "reversed_view")


@pytest.mark.parametrize("name", SPEECH)
def test_speech_at_any_scale_is_scaled_or_refused(name, vocoder, right):
    try:
        mel = vocoder.mel(SPEECH[name](second()))
    except HifiganError:
        assert name not in TODAY
        return
    expected = vocoder.mel((second() >> 8) / np.float32(128)) if name == "uint8" else right  # with the precision of 8 bits
    np.testing.assert_allclose(mel, expected, rtol=0, atol=1e-3)


def test_very_quiet_speech_keeps_its_level(vocoder, right):
    mel = vocoder.mel(second() / np.float32(32768) / 32768)
    assert np.isfinite(mel).all()
    assert mel.shape == right.shape
    assert mel.max() < right.max() - 9


@pytest.mark.parametrize(
    "audio",
    [second() > 0, np.where(np.arange(9000) == 9, np.nan, 0), np.where(np.arange(9000) == 9, np.inf, 0)],
    ids=["bool", "nan", "infinite"],
)
def test_invalid_audio_is_refused(audio, vocoder):
    with pytest.raises(HifiganError):
        vocoder.mel(audio)


def test_complex_audio_is_refused(vocoder):
    with pytest.raises(HifiganError):
        vocoder.mel(second().astype(complex) / 32768)


@pytest.mark.parametrize("audio", [np.zeros(384), np.zeros(0), np.zeros(())], ids=["384_samples", "none", "a_number"])
def test_audio_that_is_too_short_is_refused(audio, vocoder):
    with pytest.raises(HifiganError):
        vocoder.mel(audio)


@pytest.mark.parametrize(
    "mel",
    [
        np.zeros((80, 9), complex),
        np.full((80, 9), np.nan),
        np.zeros((80, 9), np.int32),
        np.zeros((80, 0)),
        np.zeros((9, 80)),
        np.zeros(80),
        np.zeros((0, 80, 9)),
    ],
    ids=["complex", "nan", "integers", "no_frames", "transposed", "one_frame_flat", "empty_batch"],
)
def test_an_invalid_mel_is_refused(mel, vocoder):
    with pytest.raises(HifiganError):
        vocoder.decode(mel)


def test_an_unknown_compute_dtype_is_refused(tiny):
    with pytest.raises(HifiganError, match="bfloat16"):
        Vocoder.from_pretrained(tiny, compute_dtype="bf16")


# --- messages -------------------------------------------------------------------------------------------------------------------


def test_a_message_that_quotes_a_long_text_keeps_its_start_and_its_end():
    text = str(HifiganError(f"list.txt: {'x' * 100_000}: no such file: remove it"))
    assert len(text) < 1500
    assert text.startswith("list.txt: xxx")
    assert text.endswith("xxx: no such file: remove it")
    usual = "a" * 1400
    assert str(HifiganError(usual)) == usual
