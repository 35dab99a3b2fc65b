"""`Vocoder.generate`: the pure function behind `decode`, under JAX's transformations; and the array types that `decode` takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from hifigan_jax.benchmark import random_params
from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.errors import DataError
from hifigan_jax.synthesis import Vocoder

# Gains that make the audio loud (root mean square 0.07 and more) but do not saturate it, which would amplify rounding.
GAINS = {"config_v3": 2, "melgan": 1.7}


@pytest.fixture(scope="module", params=GAINS)
def vocoder(request):
    config, gain = load_config(packaged_config(request.param), {"upsample_initial_channel": 16}), GAINS[request.param]
    loud = jax.tree_util.tree_map_with_path(lambda path, leaf: leaf * (gain if path[-1].key == "g" else 1), random_params(config))
    return Vocoder(config, loud)


@pytest.fixture
def mel(rng):
    return rng.normal(-1, 1, (80, 12)).astype(np.float32)


def test_generate_equals_decode(vocoder, mel):
    audio = jax.jit(vocoder.generate)(vocoder.params, mel)
    assert audio.shape == (12 * vocoder.hop_size,)
    np.testing.assert_allclose(audio, vocoder.decode(mel), atol=1e-6)


def test_an_utterance_shorter_than_the_padding_equals_decode(vocoder, mel):
    np.testing.assert_allclose(vocoder.generate(vocoder.params, mel[:, :2]), vocoder.decode(mel[:, :2]), atol=1e-6)


def test_batches_vmap_and_shard_map_give_each_row_its_own_audio(vocoder, mel):
    batch = np.stack([mel, mel[:, ::-1]])
    expected = vocoder.decode(batch)
    mesh = jax.make_mesh((1,), ("data",), (AxisType.Auto,))
    by_device = jax.shard_map(
        vocoder.generate, mesh=mesh, in_specs=(PartitionSpec(), PartitionSpec("data")), out_specs=PartitionSpec("data")
    )
    for function in (vocoder.generate, jax.vmap(vocoder.generate, (None, 0)), by_device):
        np.testing.assert_allclose(jax.jit(function)(vocoder.params, batch), expected, atol=1e-6)


def test_the_gradient_through_the_vocoder_predicts_the_change_of_a_loss(vocoder, mel, rng, float64):
    params = jax.tree.map(lambda leaf: leaf.astype(np.float64), vocoder.params)

    @jax.jit
    def loss(mel):
        return jnp.sum(jnp.square(vocoder.generate(params, mel)))

    mel, direction = mel.astype(np.float64), rng.normal(size=mel.shape)
    gradient = jax.jit(jax.grad(loss))(mel)
    difference = (loss(mel + 1e-6 * direction) - loss(mel - 1e-6 * direction)) / 2e-6
    assert abs(difference) > 0.01
    np.testing.assert_allclose(np.sum(gradient * direction), difference, rtol=1e-3)


@pytest.mark.parametrize("convert", [jnp.asarray, lambda mel: np.asfortranarray(mel), lambda mel: mel.astype(np.float64)])
def test_decode_takes_jax_and_numpy_arrays(convert, vocoder, mel):
    np.testing.assert_array_equal(vocoder.decode(convert(mel)), vocoder.decode(mel))


def test_rows_of_different_lengths_are_refused(vocoder):
    for method in (vocoder.decode, vocoder.mel):
        with pytest.raises(DataError, match="rows of different lengths"):
            method([[1.0, 2.0], [3.0]])


def test_decode_takes_bfloat16_mels(vocoder, mel):
    rounded = jnp.asarray(mel, jnp.bfloat16)
    np.testing.assert_array_equal(vocoder.decode(rounded), vocoder.decode(np.asarray(rounded.astype(jnp.float32))))


def test_decode_takes_pytorch_tensors(vocoder, mel):
    torch = pytest.importorskip("torch")
    for tensor in (torch.tensor(mel), torch.tensor(mel, dtype=torch.float64), torch.tensor(mel).requires_grad_()):
        np.testing.assert_array_equal(vocoder.decode(tensor), vocoder.decode(mel))
    rounded = torch.tensor(mel).bfloat16()
    np.testing.assert_array_equal(vocoder.decode(rounded), vocoder.decode(rounded.float().numpy()))
