"""One tiny generator for all tests in this folder, with its configurations."""

import inputs
import numpy as np
import pytest
from make_tiny import make_tiny

from hifigan_jax import Vocoder


@pytest.fixture(scope="module", autouse=True)
def shared(sharing):
    """All vocoders and runs here are the tiny generator's."""
    with sharing():
        yield


@pytest.fixture(scope="session")
def tensors() -> dict[str, np.ndarray]:
    """The tiny generator's state_dict."""
    return inputs.generator_tensors(inputs.GENERATOR)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The tiny generator as a file of the reference, next to its configuration. Read-only."""
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def vocoder(tiny, sharing) -> Vocoder:
    """The tiny generator."""
    with sharing():
        return Vocoder.from_pretrained(tiny)


@pytest.fixture(scope="session")
def mel() -> np.ndarray:
    """A mel of 24 frames."""
    return np.random.default_rng(1).normal(-5, 2, (80, 24)).astype(np.float32)


@pytest.fixture(scope="session")
def speech(vocoder, mel) -> np.ndarray:
    """The audio that the tiny generator synthesizes from the mel."""
    return vocoder.decode(mel)


@pytest.fixture(scope="session")
def quick(tmp_path_factory):
    """A configuration that trains the tiny generator, without paths. Read-only."""
    return inputs.write_json(tmp_path_factory.mktemp("quick") / "quick.json", inputs.TRAINING)
