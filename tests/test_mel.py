import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal

from hifigan_jax import mel as mels
from hifigan_jax.config import Mel, load_config, packaged_config
from hifigan_jax.filterbank import filterbank
from hifigan_jax.mel import LogMel, pad_audio


def settings_of(*values):
    keys = ("sampling_rate", "n_fft", "win_size", "hop_size", "num_mels", "fmin", "fmax")
    return Mel(**dict(zip(keys, values, strict=True)))


REFERENCE = settings_of(22050, 1024, 1024, 256, 80, 0.0, 8000.0)
SETTINGS = {
    "reference": REFERENCE,
    "full_band": REFERENCE.replace(fmax=None),
    "16_khz": settings_of(16000, 1024, 800, 200, 40, 50.0, 7600.0),
    "24_khz": settings_of(24000, 2048, 1200, 300, 100, 0.0, None),
    "48_khz": settings_of(48000, 4096, 4096, 512, 128, 20.0, 24000.0),
    "below_the_knee": settings_of(8000, 512, 512, 128, 20, 100.0, 900.0),
    "odd_window": settings_of(16000, 512, 401, 160, 20, 0.0, 8000.0),
}
SMALL = settings_of(8000, 64, 48, 16, 8, 0.0, None)

log_mel = jax.jit(mels.log_mel, static_argnames="settings")
log_mel_of_padded = jax.jit(mels.log_mel_of_padded, static_argnames="settings")

every_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())


def by_definition(audio, s):
    """Log-mel of one utterance [T] in float64, frame by frame, with scipy's window and librosa's filterbank."""
    padded = np.pad(np.asarray(audio, np.float64), (s.n_fft - s.hop_size) // 2, mode="reflect")
    left = (s.n_fft - s.win_size) // 2
    window = np.pad(scipy.signal.get_window("hann", s.win_size), (left, s.n_fft - s.win_size - left))
    frames = [padded[start : start + s.n_fft] for start in range(0, padded.size - s.n_fft + 1, s.hop_size)]
    magnitudes = np.sqrt(np.abs(np.fft.rfft(np.array(frames) * window)) ** 2 + 1e-9)
    return np.log(np.maximum(magnitudes @ librosa_filterbank(s).T, 1e-5))


def librosa_filterbank(s):
    return librosa.filters.mel(sr=s.sampling_rate, n_fft=s.n_fft, n_mels=s.num_mels, fmin=s.fmin, fmax=s.fmax, dtype=np.float64)


@every_setting
def test_the_filterbank_equals_librosa_s(settings):
    ours = filterbank(settings.convention)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, librosa_filterbank(settings), rtol=0, atol=1e-12)


@every_setting
def test_log_mel_equals_its_definition(settings, float64, rng):
    audio = 0.3 * rng.normal(size=(2, 9 * settings.hop_size + 17))
    mel = log_mel(jnp.asarray(audio), settings)
    assert mel.dtype == jnp.float64
    for row, one in zip(mel, audio, strict=True):
        np.testing.assert_allclose(row, by_definition(one, settings), rtol=0, atol=1e-9)


def test_float32_is_precise_enough(normal):
    audio = 0.3 * normal(1, 9 * 256)
    mel = log_mel(audio, REFERENCE)
    assert mel.dtype == jnp.float32
    np.testing.assert_allclose(mel[0], by_definition(audio[0], REFERENCE), atol=1e-4)


@pytest.mark.parametrize("settings", [REFERENCE, SETTINGS["24_khz"]])
def test_silence_is_the_logarithm_of_1e_5(settings):
    mel = log_mel(jnp.zeros((1, 5 * settings.hop_size + settings.n_fft)), settings)
    np.testing.assert_allclose(mel, -11.512925, rtol=1e-7)


def test_silence_has_finite_gradients():
    gradient = jax.jit(jax.grad(lambda audio: log_mel(audio, SMALL).sum()))(jnp.zeros((1, 200)))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("settings", [REFERENCE, SETTINGS["24_khz"], SMALL])
def test_there_is_one_frame_per_complete_hop(settings):
    hop, shortest = settings.hop_size, settings.padding[0] + 1
    for samples in (shortest, *range(hop * 40 - 2, hop * 40 + 3), 22050, 22051, 2**20 - 1):
        audio = jax.ShapeDtypeStruct((3, samples), jnp.float32)
        mel = jax.eval_shape(functools.partial(mels.log_mel, settings=settings), audio)
        assert mel.shape == (3, samples // hop, settings.num_mels)


def test_a_frame_is_centered_half_a_hop_into_its_samples():
    frame, hop = 10, REFERENCE.hop_size
    click = np.zeros((1, 20 * hop), np.float32)
    click[0, frame * hop + hop // 2] = 1
    # The click is equally far from the centers of both neighbors, and the window is symmetric.
    loudness = log_mel(jnp.asarray(click), REFERENCE).mean(axis=2)[0]
    assert loudness.argmax() == frame
    np.testing.assert_allclose(loudness[frame - 1], loudness[frame + 1], atol=1e-4)


@pytest.mark.parametrize("band", [12, 30, 50, 79])
def test_a_tone_is_in_its_band(band):
    frequency = librosa.mel_frequencies(n_mels=82, fmin=0, fmax=8000)[band + 1]
    tone = 0.5 * np.sin(2 * np.pi * frequency * np.arange(22050) / 22050)
    mel = log_mel(jnp.asarray(tone[None], jnp.float32), REFERENCE)[0, 5:-5]
    np.testing.assert_array_equal(mel.argmax(axis=1), band)


@pytest.mark.parametrize("settings", [REFERENCE, SETTINGS["odd_window"]])
def test_padding_on_the_host_changes_nothing(settings, normal):
    audio = normal(1, 7 * settings.hop_size + 5)
    padded = pad_audio(np.asarray(audio[0]), settings)
    assert padded.size == audio.shape[1] + sum(settings.padding)
    np.testing.assert_allclose(log_mel_of_padded(jnp.asarray(padded[None]), settings), log_mel(audio, settings), atol=1e-5)


@pytest.mark.parametrize("samples", [275 * 9 - 1, 275 * 9, 275 * 9 + 1])
def test_with_an_odd_hop_all_frames_of_the_reference_are_the_same(samples, normal):
    """The reference pads (n_fft - hop_size) // 2 samples on both sides, and has no last frame if the hop divides the length."""
    settings = REFERENCE.replace(hop_size=275)
    audio = np.asarray(normal(1, samples)[0])
    reference = log_mel_of_padded(jnp.asarray(np.pad(audio, (1024 - 275) // 2, mode="reflect")[None]), settings)[0]
    mel = LogMel(settings)(audio)
    assert len(mel) == samples // 275
    assert len(reference) == (samples - 1) // 275
    np.testing.assert_allclose(mel[: len(reference)], reference, atol=1e-5)


@pytest.mark.parametrize("samples", [25, 512 * 16, 512 * 16 + 15, 513 * 16, 1500 * 16 + 3])
def test_one_program_gives_the_mel_of_any_length(samples, normal):
    audio = normal(1, samples)
    mel = LogMel(SMALL)(np.asarray(audio[0]))
    assert mel.shape == (samples // 16, 8)
    assert mel.dtype == np.float32
    np.testing.assert_allclose(mel, log_mel(audio, SMALL)[0], atol=1e-5)


def test_all_lengths_share_one_compilation(normal):
    program = LogMel(SMALL)
    for samples in (25, 100, 600 * 16):
        program(np.asarray(normal(samples)))
    assert program._program._cache_size() == 1


def test_the_configuration_defines_both_mels():
    config = load_config(packaged_config("config_v1"))
    assert config.mel == REFERENCE
    assert config.loss_mel == REFERENCE.replace(fmax=None)
    config = load_config(packaged_config("config_v1"), {"fmax": None, "fmax_for_loss": 9000.0})
    assert (config.mel.fmax, config.loss_mel.fmax) == (None, 9000.0)
