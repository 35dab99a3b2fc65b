"""Mels of speech in the right and in the wrong convention. benchmarks/mel_conventions.py does the same with many recordings."""

import functools
import pathlib

import numpy as np
import pytest
import soundfile
import soxr

from hifigan_jax.config import Mel
from hifigan_jax.conventions import CONVENTIONS
from hifigan_jax.errors import DataError
from hifigan_jax.filterbank import analysis_window, compress, filterbank, silence
from hifigan_jax.mel_conversion import expand
from hifigan_jax.mel_guard import bounds, check, likely

SAMPLES = pathlib.Path(__file__).parent.parent / "samples"
# One row of each kind of values, for 80 bins.
KINDS = ["hifigan", "comospeech-zero", "matcha-tts", "nemo-log1p", "parallelwavegan", "wavernn"]


@functools.cache
def speech(rate):
    audio, recorded = soundfile.read(SAMPLES / "librivox_sonnet1_01.flac", dtype="float32")
    return soxr.resample(audio, recorded, rate)[: 4 * rate]


@functools.cache
def mel_of(name):
    return mel_with(Mel(mel_convention=name).convention)


def mel_with(c):
    padded = np.pad(speech(c.sampling_rate), c.edges, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, c.n_fft)[:: c.hop_size]
    power = np.abs(np.fft.rfft(frames * analysis_window(c))) ** 2
    spectrum = np.sqrt(np.maximum(power, c.energy_floor) + c.epsilon) ** c.power
    return compress(spectrum @ filterbank(c).T, c).astype(np.float32)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_mel_of_the_right_convention_passes(name):
    check(mel_of(name), CONVENTIONS[name])
    assert name in likely(mel_of(name), CONVENTIONS)


@pytest.mark.parametrize("expected", KINDS)
@pytest.mark.parametrize("name", KINDS)
def test_a_mel_of_another_kind_is_refused_with_its_name(name, expected):
    if name == expected:
        return
    with pytest.raises(DataError) as caught:
        check(mel_of(name), CONVENTIONS[expected])
    assert f"it looks like {name}" in str(caught.value) or f", {name}" in str(caught.value)
    assert "--force" in str(caught.value)


@pytest.mark.parametrize("name", ["hifigan", "parallelwavegan", "matcha-tts"])
def test_a_mel_without_its_logarithm_is_refused(name):
    c = CONVENTIONS[name]
    with pytest.raises(DataError, match="without the logarithm"):
        check(expand(mel_of(name), c).astype(np.float32), c)


def test_level_does_not_matter():
    for gain in (0.03, 0.3):
        check(np.maximum(mel_of("hifigan") + np.log(gain), silence(CONVENTIONS["hifigan"])), CONVENTIONS["hifigan"])


@pytest.mark.parametrize("content", ["silence", "noise", "tone", "half_silent", "random"])
def test_what_is_not_speech_passes(content, rng):
    c = CONVENTIONS["hifigan"]
    mel = {
        "silence": np.tile(silence(c), (100, 1)),
        "noise": np.log(rng.rayleigh(0.3, (100, 80))),
        "tone": np.log(1e-4 + np.eye(80)[np.full(100, 30)]),
        "half_silent": np.concatenate([np.tile(silence(c), (200, 1)), mel_of("hifigan")[:150]]),
        "random": rng.normal(-5, 2, (100, 80)),
    }[content]
    check(mel.astype(np.float32), c)


def test_short_mels_are_checked_for_their_range_only():
    check(mel_of("parallelwavegan")[:55], CONVENTIONS["hifigan"])
    with pytest.raises(DataError, match="values from .* are outside the convention's range, -11.51 to 2.97: "):
        check(np.full((3, 80), -40, np.float32), CONVENTIONS["hifigan"])


def test_a_few_outliers_pass():
    mel = mel_of("hifigan").copy()
    mel[5, :10] = 9
    check(mel, CONVENTIONS["hifigan"])


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("name", KINDS)
def test_full_scale_audio_is_within_the_bounds(name, power, rng):
    c = CONVENTIONS[name]._replace(power=power)
    time = np.arange(c.n_fft)
    tones = [np.sign(np.sin(2 * np.pi * f * time)) for f in (0.0123, 0.1, 0.31)]
    signals = [*tones, np.sign(rng.normal(size=c.n_fft)), np.ones(c.n_fft)]
    mel = compress(np.abs(np.fft.rfft(np.array(signals) * analysis_window(c))) ** power @ filterbank(c).T, c)
    lowest, highest = bounds(c)
    assert lowest <= mel.min()
    assert mel.max() <= highest


def test_mels_of_power_are_recognized():
    """They have twice the logarithms of mels of magnitudes."""
    c = CONVENTIONS["hifigan"]._replace(power=2, floor=1e-10)
    mel = mel_with(c)
    check(mel, c, {"power": c, **CONVENTIONS})
    assert likely(mel, {"power": c}) == ["power"]
    with pytest.raises(DataError, match="looks like power: "):
        check(mel, CONVENTIONS["hifigan"], {"power": c, **CONVENTIONS})


def test_a_few_huge_values_cause_no_warning():
    mel = mel_of("hifigan").copy()
    mel[5:7, :3] = 1e30
    check(mel, CONVENTIONS["hifigan"])
