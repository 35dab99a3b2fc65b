"""Every row of CONVENTIONS against an independent computation of its definition, on speech."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile

from hifigan_jax import mel as mels
from hifigan_jax.config import Mel
from hifigan_jax.conventions import CONVENTIONS
from hifigan_jax.filterbank import filterbank, silence
from hifigan_jax.mel import LogMel

SAMPLES = pathlib.Path(__file__).parent.parent / "samples"
# One name for rows that differ only in their source.
DIFFERENT = {row.computation: name for name, row in reversed(CONVENTIONS.items())}.values()
QUICK = {"hifigan", "fastpitch", "espnet", "parallelwavegan-24k", "wavernn", "vocos"}
slow = pytest.mark.slow
every_row = pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else slow) for name in DIFFERENT])


@pytest.fixture(scope="module")
def speech():
    """About half a second of speech."""
    audio, _ = soundfile.read(SAMPLES / "librivox_sonnet1_02.flac", start=22050, frames=11111)
    return audio


def by_librosa(audio, c):
    """The mel [F, M] of audio by librosa, step by step, in float64."""
    audio = np.asarray(audio, np.float64)
    if not c.centered:
        audio = np.pad(audio, (c.n_fft - c.hop_size) // 2, mode="reflect" if c.padding == "reflect" else "constant")
    window = scipy.signal.get_window("hann", c.win_size, fftbins=c.window == "periodic")
    modes = {"reflect": "reflect", "zero": "constant"}
    sizes = {"n_fft": c.n_fft, "hop_length": c.hop_size, "win_length": c.win_size}
    spectrum = librosa.stft(audio, **sizes, window=window, center=c.centered, pad_mode=modes[c.padding], dtype=np.complex128)
    energy = np.maximum(np.abs(spectrum) ** 2, c.energy_floor) + c.epsilon
    filters = librosa.filters.mel(
        sr=c.sampling_rate,
        n_fft=c.n_fft,
        n_mels=c.num_mels,
        fmin=c.fmin,
        fmax=c.fmax,
        htk=c.scale == "htk",
        norm="slaney" if c.norm == "slaney" else None,
        dtype=np.float64,
    )
    mel = filters @ np.sqrt(energy) ** c.power
    mel = mel + c.floor if c.floor_mode == "add" else np.maximum(mel, c.floor)
    values = (np.log(mel) / (np.log(10) if c.log_base == "10" else 1) - c.mean) / c.std
    values = values if c.clip is None else np.clip(values, *c.clip)
    return (values if c.last_frame else values[:, :-1]).T


@functools.cache
def program(settings):
    return jax.jit(functools.partial(mels.log_mel, settings=settings))


@every_row
def test_log_mel_equals_librosa_s_in_float64(name, speech, float64):
    settings = Mel(mel_convention=name)
    mel = program(settings)(jnp.asarray(speech)[None])[0]
    expected = by_librosa(speech, settings.convention)
    assert mel.shape == expected.shape == (settings.frames(speech.size), settings.num_mels)
    np.testing.assert_allclose(mel, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["hifigan", "espnet", "wavernn", "comospeech-zero"])
def test_log_mel_is_exact_enough_in_float32(name, speech):
    settings = Mel(mel_convention=name)
    difference = np.abs(LogMel(settings)(speech.astype(np.float32)) - by_librosa(speech.astype(np.float32), settings.convention))
    assert difference.mean() < 2e-6


def test_squared_magnitudes_are_an_override(speech, float64):
    settings = Mel(mel_convention="hifigan", mel_power=2)
    mel = jax.jit(functools.partial(mels.log_mel, settings=settings))(jnp.asarray(speech)[None])[0]
    np.testing.assert_allclose(mel, by_librosa(speech, settings.convention), rtol=0, atol=1e-9)


@every_row
def test_silence_is_the_mel_of_zeros(name):
    settings = Mel(mel_convention=name)
    zeros = np.zeros(4 * settings.n_fft)
    np.testing.assert_allclose(by_librosa(zeros, settings.convention)[2], silence(settings.convention), rtol=1e-12)


def test_silence_of_the_reference_is_the_logarithm_of_1e_5():
    np.testing.assert_array_equal(np.float32(silence(CONVENTIONS["hifigan"])), np.full(80, np.log(1e-5), np.float32))
    np.testing.assert_allclose(silence(CONVENTIONS["melgan"]), -5)


def test_htk_filters_have_unit_height():
    """2595 log10(1 + f / 700) at both ends of 0 to 12 kHz and in the middle of the mels."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 12000 / 700), 102) / 2595) - 1)
    filters = filterbank(CONVENTIONS["vocos"])
    nearest = np.rint(edges[61] / (24000 / 1024)).astype(int)
    rising = (nearest * 24000 / 1024 - edges[60]) / (edges[61] - edges[60])
    falling = (edges[62] - nearest * 24000 / 1024) / (edges[62] - edges[61])
    assert filters[60, nearest] == pytest.approx(min(rising, falling))


@pytest.mark.parametrize(
    ("name", "samples", "frames"),
    [("hifigan", 2560, 10), ("hifigan", 2559, 9), ("tacotron2", 2560, 11), ("fastpitch", 2560, 10), ("nemo-hifigan", 2560, 10)],
)
def test_the_number_of_frames_follows_from_the_row(name, samples, frames):
    settings = Mel(mel_convention=name)
    assert settings.frames(samples) == frames == LogMel(settings)(np.zeros(samples, np.float32)).shape[0]


def test_a_generator_takes_one_frame_per_hop_of_any_convention(normal):
    audio = normal(1, 8 * 300)
    for name in ("hifigan", "tacotron2", "parallelwavegan-24k"):
        settings = Mel(mel_convention=name)
        mel = mels.generator_input(audio, settings)
        assert mel.shape[1] == 2400 // settings.hop_size
        np.testing.assert_array_equal(mel, mels.log_mel(audio, settings)[:, : mel.shape[1]])


@pytest.mark.parametrize("name", ["hifigan", "parallelwavegan-24k", "nemo-log1p", "vocos"])
def test_one_program_gives_the_mel_of_any_length(name, normal):
    settings = Mel(mel_convention=name)
    audio = normal(1, 515 * settings.hop_size + 7)
    mel = LogMel(settings)(np.asarray(audio[0]))
    assert mel.shape == (settings.frames(audio.size), settings.num_mels)
    np.testing.assert_allclose(mel, program(settings)(audio)[0], atol=1e-4)


def test_normalization_may_have_one_value_per_bin(normal):
    audio = normal(1, 3000)
    mean, std = tuple(np.linspace(-6, -4, 80).tolist()), tuple(np.linspace(1, 2, 80).tolist())
    settings = Mel(mel_convention="hifigan", mel_mean=mean, mel_std=std)
    raw = mels.log_mel(audio, Mel(mel_convention="hifigan"))
    np.testing.assert_allclose(
        mels.log_mel(audio, settings), (raw - jnp.asarray(mean)[None, None]) / jnp.asarray(std)[None, None], atol=1e-5
    )
