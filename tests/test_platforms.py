"""Programs are lowered for their target platform, whatever the host's platform; in these tests, the host is a CPU."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.data import Batch
from hifigan_jax.models import convolution_xla
from hifigan_jax.models.convolution import conv1d
from hifigan_jax.models.generator import Conditions
from hifigan_jax.training.setup import first_state, generator_of, mesh_over, train_step

pytestmark = pytest.mark.smoke

accelerators = pytest.mark.parametrize("platform", ["cuda", "tpu"])


def lowered(traced, platform):
    return traced.lower(lowering_platforms=(platform,)).as_text()


def convolutions(text):
    return text.count("stablehlo.convolution")


def grouped_convolutions(text):
    return len(re.findall(r"(?:feature|batch)_group_count = (?!1 )", text))


def imprecise_products(text):
    """Convolutions and matrix products that an accelerator may compute with fewer bits than float32 has."""
    products = [line for line in text.splitlines() if "stablehlo.convolution" in line or "stablehlo.dot_general" in line]
    assert products
    return [line for line in products if line.count("HIGHEST") != 2]


def generator_layers(config):
    """The number of convolutions: the first and the last; for each rate, the upsampling and those of residual blocks."""
    blocks = sum(map(len, config.generator.resblock_dilation_sizes)) * (2 if config.generator.resblock == "1" else 1)
    return 2 + len(config.generator.upsample_rates) * (1 + blocks)


@pytest.fixture(scope="module")
def synthesis():
    """V1 at half its width, traced, and its number of layers."""
    config = load_config(packaged_config("config_v1"), {"upsample_initial_channel": 256})
    generator, mel = generator_of(config), Conditions(jnp.zeros((1, 32, 80)))
    variables = jax.eval_shape(generator.init, jax.random.key(0), mel)
    return jax.jit(generator.apply).trace(variables, mel), generator_layers(config)


@pytest.fixture(scope="module")
def training():
    """V3's training step at an eighth of its width, with one period, traced, and its number of convolutions by definition."""
    narrow = {"upsample_initial_channel": 32, "discriminator_channel_mult": 0.125, "mpd_periods": [2]}
    config = load_config(packaged_config("config_v3"), {"segment_size": 2048, "batch_size": 2, **narrow})
    audio = jax.ShapeDtypeStruct((2, 2048), jnp.float32)
    step = train_step(config, 1, mesh_over(config, jax.devices()[:1]))
    traced = step.trace(jax.eval_shape(lambda: first_state(config)), Batch(audio, None))
    generator, discriminator, parts = generator_layers(config), 6 + 3 * 8, 1 + 3
    # The discriminators' update: forward on real and fake together, backward to the kernels and to all inputs except the audio.
    # The generator's update: forward on real, forward on fake, and backward to the inputs.
    updates = 3 * discriminator - parts + 3 * discriminator
    return traced, 3 * generator - 1 + updates  # the mel needs no gradient


@accelerators
def test_accelerators_synthesize_with_one_plain_convolution_per_layer(synthesis, platform):
    traced, layers = synthesis
    text = lowered(traced, platform)
    assert convolutions(text) == layers == 78
    assert "stablehlo.dot_general" not in text
    assert "stablehlo.case" not in text


def test_cpus_synthesize_long_kernels_over_tiles(synthesis):
    """The 12 layers of 7 or 11 taps with 128 channels take 8 convolutions each."""
    traced, layers = synthesis
    assert convolutions(lowered(traced, "cpu")) == layers + 12 * 7


@accelerators
def test_accelerators_train_with_plain_convolutions(training, platform):
    traced, count = training
    text = lowered(traced, platform)
    assert convolutions(text) == count
    assert grouped_convolutions(text) == 3 * 5 * 6  # MSD's, in all passes
    assert "optimization_barrier" not in text
    assert "stablehlo.case" not in text


@accelerators
def test_products_have_the_full_precision_of_float32(synthesis, training, platform):
    for traced, _ in (synthesis, training):
        assert imprecise_products(lowered(traced, platform)) == []


def test_cpus_train_without_grouped_convolutions(training):
    traced, count = training
    text = lowered(traced, "cpu")
    assert convolutions(text) == count - 3 * 5 * 6
    assert grouped_convolutions(text) == 0
    assert "stablehlo.case" not in text


def test_a_program_for_all_platforms_has_plain_convolutions_and_the_same_gradients(normal):
    x, kernel = normal(1, 40, 8), normal(11, 2, 16)

    def gradients(convolution):
        def loss(x, kernel):
            return jnp.sum(jnp.tanh(convolution(x, kernel, padding=5, groups=4)))

        return jax.jit(jax.grad(loss, argnums=(0, 1)))

    exported = jax.export.export(gradients(conv1d), platforms=("cpu", "cuda", "tpu"))(x, kernel)
    assert grouped_convolutions(exported.mlir_module()) > 0  # none of them in programs for CPUs alone
    by_xla = gradients(functools.partial(convolution_xla.conv1d, stride=1, dilation=1))
    jax.tree.map(np.testing.assert_array_equal, exported.call(x, kernel), by_xla(x, kernel))
