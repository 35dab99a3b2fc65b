"""iSTFTNet compared with stored outputs of the public PyTorch program (see make_golden.py)."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from weights import filled

from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.models.generator import Conditions
from hifigan_jax.models.istftnet.generator import inverse_stft
from hifigan_jax.models.layers import fold_norms
from hifigan_jax.training.setup import generator_of

GOLDEN = pathlib.Path(__file__).parent / "golden.npz"
MEL = np.random.RandomState(1).normal(-5, 2, (2, 80, 20)).astype(np.float32)


def weights_of(shapes: str) -> dict[str, np.ndarray]:
    """The weights of the comparison for a state_dict with these shapes."""
    values = filled(json.loads(shapes))
    return {name: (value * 1.6 if name.endswith("weight_g") else value).astype(np.float32) for name, value in values.items()}


def excerpt(audio: np.ndarray) -> np.ndarray:
    """1,000 values at fixed random positions."""
    return np.asarray(audio).ravel()[np.random.RandomState(3).randint(0, audio.size, 1000)]


@pytest.fixture(scope="module")
def config():
    return load_config(packaged_config("istftnet"))


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.mark.smoke
def test_the_generator_equals_the_public_program(config, golden):
    params = config.generator.params_of(weights_of(str(golden["shapes"])), config.mel)
    mel = jnp.asarray(MEL.transpose(0, 2, 1))
    audio = np.asarray(jax.jit(generator_of(config).apply)({"params": params}, Conditions(mel)))
    assert np.sqrt(np.mean(golden["audio"] ** 2)) >= 0.05
    np.testing.assert_allclose(excerpt(audio), golden["audio"], atol=1e-5)
    np.testing.assert_allclose(audio[:, [0, 1, 2, 3, -4, -3, -2, -1]], golden["edges"], atol=1e-5)


def test_names_round_trip_in_the_original_order(config, golden):
    theirs = weights_of(str(golden["shapes"]))
    back = config.generator.state_dict_of(config.generator.params_of(theirs, config.mel))
    assert list(back) == list(theirs)
    for tensor, value in theirs.items():
        np.testing.assert_array_equal(back[tensor], value)


def test_parameter_counts_equal_those_of_the_public_program(config, golden):
    generator = generator_of(config)
    params = jax.eval_shape(generator.init, jax.random.key(0), Conditions(jnp.zeros((1, 8, 80))))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 13_262_244
    assert sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(fold_norms, params))) == 13_254_034


@pytest.mark.parametrize(("n_fft", "hop"), [(16, 4), (32, 8), (12, 6)])
def test_the_inverse_transform_inverts_the_transform(n_fft, hop, rng, float64):
    audio = rng.normal(size=40 * hop)
    window = scipy.signal.get_window("hann", n_fft)
    padded = np.pad(audio, n_fft // 2)
    frames = np.stack([padded[start : start + n_fft] * window for start in range(0, audio.size + 1, hop)])
    spectrum = np.fft.rfft(frames)[None]
    ours = inverse_stft(jnp.abs(spectrum), jnp.angle(spectrum), hop)[0]
    np.testing.assert_allclose(ours, audio, atol=1e-12)
