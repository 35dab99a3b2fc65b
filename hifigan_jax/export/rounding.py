"""What float16 kernels change in a generator's audio, measured on a test sound."""

import math
from typing import NamedTuple

import jax
import numpy as np

from hifigan_jax.config import Mel
from hifigan_jax.export.onnx import as_float16
from hifigan_jax.generator_file import Generator
from hifigan_jax.synthesis import Vocoder


class Difference(NamedTuple):
    """How two signals differ: at most, root mean square, and the ratio of the first one's power to the difference's, in dB."""

    largest: float
    rms: float
    ratio: float

    def __str__(self) -> str:
        return f"{self.largest:.1e} at most, {self.rms:.1e} root mean square, {self.ratio:.0f} dB below the audio"


def float16_error(generator: Generator) -> Difference:
    """The difference between the audio of the generator with float32 and with float16 kernels, for `vowel`."""
    vocoder = Vocoder(generator.config, generator.params)
    mel = vocoder.mel(vowel(generator.config.mel))
    generate = jax.jit(vocoder.generate)
    exact, rounded = (np.asarray(generate(params, mel), np.float64) for params in (vocoder.params, _rounded(vocoder.params)))
    error = np.mean((exact - rounded) ** 2)
    ratio = 10 * math.log10(np.mean(exact**2) / error) if error and exact.any() else math.inf
    return Difference(float(np.abs(exact - rounded).max()), math.sqrt(error), ratio)


def vowel(settings: Mel) -> np.ndarray:
    """A second of a voice-like sound: harmonics that fall by 6 dB per octave, from 100 to 200 Hz, fading in and out."""
    time = np.arange(settings.sampling_rate) / settings.sampling_rate
    phase = 2 * np.pi * (100 * time + 50 * time**2)
    harmonics = range(1, settings.sampling_rate // 400 + 1)  # below half the sampling rate
    sound = sum(np.sin(k * phase) / k for k in harmonics) * np.sin(np.pi * time)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def _rounded(params):
    def rounded(path, leaf):
        return as_float16(np.asarray(leaf)).astype(np.float32) if path[-1].key == "kernel" else leaf

    return jax.tree_util.tree_map_with_path(rounded, params)
