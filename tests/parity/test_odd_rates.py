"""The reference's generator where a kernel size minus its rate is odd: it emits one sample more per upsampling layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import filled

from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.models.generator import Conditions
from hifigan_jax.models.hifigan.torch_names import generator_params
from hifigan_jax.training.setup import generator_of

RATES = {"upsample_rates": [11, 5, 5], "upsample_kernel_sizes": [22, 10, 10], "hop_size": 275, "segment_size": 8250}
DELAY = (1 * 5 + 1) * 5 + 1  # one sample at the start of each layer's output, in samples of the audio


@pytest.mark.parity
def test_the_audio_is_the_reference_s_without_its_first_samples(rng):
    """Away from the edges of the audio, where the reference's longer activations are padded elsewhere."""
    pytest.importorskip("torch")
    import peer

    config = load_config(packaged_config("config_v3"), RATES | {"upsample_initial_channel": 32})
    generator, frames = generator_of(config), 40
    mel = rng.normal(-4, 2, (1, frames, 80))
    weights = filled({name: value.shape for name, value in peer.generator(config).state_dict().items()})
    weights = {name: 1.5 * value if name.endswith("weight_g") else value for name, value in weights.items()}
    with jax.enable_x64(True):
        ours = np.asarray(jax.jit(generator.apply)({"params": generator_params(weights)}, Conditions(jnp.asarray(mel))))[0]
    theirs = peer.audio(config, weights, mel)[0]
    assert theirs.size == ours.size + DELAY == frames * 275 + DELAY
    inside = slice(275 * generator.receptive_field, -275 * generator.receptive_field)
    assert np.sqrt(np.mean(ours**2)) > 0.05
    np.testing.assert_allclose(ours[inside], theirs[DELAY:][inside], atol=1e-12)
