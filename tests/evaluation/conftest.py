import pathlib

import numpy as np
import pytest
import soundfile

SAMPLES = pathlib.Path(__file__).parent.parent.parent / "samples"
RATE = 22050


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """Two seconds of a sample recording at RATE, float32."""
    return soundfile.read(SAMPLES / "librivox_sonnet1_05.flac", dtype="float32")[0][: 2 * RATE]


@pytest.fixture(scope="session")
def speech_16k(speech) -> np.ndarray:
    from hifigan_jax.audio import resample

    return resample(speech, RATE, 16000)


@pytest.fixture
def noise(rng):
    """noise(like, rms): white noise, float32."""
    return lambda like, rms: rng.normal(0, rms, like.size).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    """write(folder, name, audio, rate): an audio file below the test's folder, 32-bit float if it is a WAV file."""

    def write(folder, name, audio, rate=RATE):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, audio, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
        return path

    return write
