"""Vocos' mel on real speech. torchaudio, which computes it, makes the filterbank in float32 arithmetic, ours is exact."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hifigan_jax import mel
from hifigan_jax.audio import resample
from hifigan_jax.config import Mel

pytestmark = pytest.mark.parity

SAMPLES = Path(__file__).parents[2] / "samples"
VOCOS = Mel(mel_convention="vocos")
BELOW_10_KHZ = slice(93)  # recordings of 22,050 Hz contain nothing in the last bins


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def speech():
    audio, rate = soundfile.read(SAMPLES / "librivox_sonnet1_02.flac", dtype="float32")
    speech = resample(audio, rate, VOCOS.sampling_rate)
    noise = np.random.default_rng(0).normal(0, 1e-4, speech.size)  # of a room; digital silence would measure only rounding
    return (speech + noise).astype(np.float32)


def filterbank(torch):
    """torchaudio.functional.melscale_fbanks(513, 0, 12000, 100, 24000, None, "htk"), [M, B]."""
    mels = torch.linspace(0.0, 2595 * math.log10(1 + 12000 / 700), 102)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    slopes = edges[None] - torch.linspace(0, 12000, 513)[:, None]
    widths = edges[1:] - edges[:-1]
    triangles = torch.min(-slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:])
    return torch.clamp(triangles, min=0).T.numpy()


def by_torch(torch, audio):
    """vocos/feature_extractors.py:28-49, [F, M]."""
    window, options = torch.hann_window(1024), {"center": True, "pad_mode": "reflect", "return_complex": True}
    spectrum = torch.stft(torch.from_numpy(audio), 1024, 256, 1024, window, **options).abs()
    return torch.log(torch.clip(torch.from_numpy(filterbank(torch)) @ spectrum, min=1e-7)).T.numpy()


def difference(torch, audio):
    return np.abs(mel.LogMel(VOCOS)(audio) - by_torch(torch, audio))[:, BELOW_10_KHZ].mean()


def test_the_filterbank_s_rounding_is_what_exceeds_2e_6(torch, speech, monkeypatch):
    assert 2e-6 < difference(torch, speech) < 4e-6
    monkeypatch.setattr(mel, "filterbank", lambda convention: filterbank(torch))
    assert difference(torch, speech) < 2e-6
