"""MelGAN compared with stored outputs of the public PyTorch programs (see make_golden.py)."""

import json
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weights import filled

from hifigan_jax import checkpoint, run_checkpoints
from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.convert import convert
from hifigan_jax.errors import CheckpointError, UsageError
from hifigan_jax.loading import load_generator, paired_discriminator
from hifigan_jax.losses import GAN_LOSSES
from hifigan_jax.models.generator import Conditions
from hifigan_jax.models.layers import fold_norms
from hifigan_jax.models.melgan.discriminator import average_pool
from hifigan_jax.training.reference import state_shapes
from hifigan_jax.training.setup import discriminator_of, generator_of
from hifigan_jax.training.state import to_parts
from hifigan_jax.trees import named_leaves, shape_difference
from hifigan_jax.weights.torch_file import read_torch_file

GOLDEN = pathlib.Path(__file__).parent / "golden.npz"
MELS = {  # log10 and natural-log mels
    "neurips generator": np.random.RandomState(1).normal(-2, 1, (2, 80, 20)).astype(np.float32),
    "seungwonpark generator": np.random.RandomState(1).normal(-5, 2, (2, 80, 20)).astype(np.float32),
}
AUDIO = np.random.RandomState(2).normal(0, 0.3, (2, 8229)).astype(np.float32)  # a multiple of no stride
GENERATORS = ("neurips generator", "seungwonpark generator")
DISCRIMINATORS = ("neurips discriminator", "seungwonpark discriminator")


def weights_of(shapes: str) -> dict[str, np.ndarray]:
    """The weights of the comparison for a state_dict with these shapes, with outputs loud enough to show errors."""
    values = filled(json.loads(shapes))
    return {name: (value * 1.6 if name.endswith("weight_g") else value).astype(np.float32) for name, value in values.items()}


def excerpt(name: str, array: np.ndarray) -> np.ndarray:
    """400 values at positions that depend only on the name."""
    flat = np.asarray(array).ravel()
    return flat[np.random.RandomState(zlib.crc32(name.encode())).randint(0, flat.size, 400)]


@pytest.fixture(scope="module")
def config():
    return load_config(packaged_config("melgan"))


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def config_for(config, name):
    """The configuration for a program's weights: those of seungwonpark take natural-log mels."""
    return config.replace({"mel_convention": "hifigan"}) if name.startswith("seungwonpark") else config


@pytest.mark.smoke
@pytest.mark.parametrize("name", GENERATORS)
def test_the_generator_equals_the_public_programs(name, config, golden):
    config = config_for(config, name)
    params = config.generator.params_of(weights_of(str(golden[f"{name} shapes"])), config.mel)
    mel = jnp.asarray(MELS[name].transpose(0, 2, 1))
    audio = np.asarray(jax.jit(generator_of(config).apply)({"params": params}, Conditions(mel)))
    assert np.sqrt(np.mean(golden[name] ** 2)) >= 0.05
    np.testing.assert_allclose(excerpt(name, audio), golden[name], atol=1e-5)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_the_discriminators_equal_those_of_the_public_programs(name, config, golden):
    params = config.discriminators["melgan"].params_of(weights_of(str(golden[f"{name} shapes"])))
    discriminator = discriminator_of(config)
    (output,) = jax.jit(lambda params, audio: discriminator.apply({"params": params}, audio))(params, jnp.asarray(AUDIO))
    for scale in range(3):
        assert len(output.features[scale]) == 6  # all but the score
        for layer, ours in enumerate([*output.features[scale], output.scores[scale]]):
            key = f"{name} {scale} {layer}"
            theirs = golden[key]
            distance = np.linalg.norm(excerpt(key, ours) - theirs) / np.linalg.norm(theirs)
            assert distance < 1e-5, key


def test_there_are_4_27_million_parameters(config):
    generator = generator_of(config)
    params = jax.eval_shape(generator.init, jax.random.key(0), Conditions(jnp.zeros((1, 8, 80))))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 4_266_050  # with gains
    assert sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(fold_norms, params))) == 4_260_257


def test_names_round_trip_in_the_original_order(config, golden):
    for section, name in ((config.generator, GENERATORS[0]), (config.discriminators["melgan"], DISCRIMINATORS[0])):
        theirs = weights_of(str(golden[f"{name} shapes"]))
        params = section.params_of(theirs, config.mel) if name in GENERATORS else section.params_of(theirs)
        back = section.state_dict_of(params)
        assert list(back) == list(theirs)
        for tensor, value in theirs.items():
            np.testing.assert_array_equal(back[tensor], value)


def test_converted_discriminator_parameters_have_the_module_s_shapes(config, golden):
    params = config.discriminators["melgan"].params_of(weights_of(str(golden["neurips discriminator shapes"])))
    expected = jax.eval_shape(discriminator_of(config).init, jax.random.key(0), jnp.zeros((1, 8192)))["params"]
    assert shape_difference(params, expected) is None


def test_weights_for_natural_log_mels_are_rejected_for_other_conventions(config, golden):
    theirs = weights_of(str(golden["seungwonpark generator shapes"]))
    with pytest.raises(CheckpointError, match="natural-log mels"):
        config.generator.params_of(theirs, config.mel)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("model.1.bias"), "layer conv_pre is incomplete"),
        (lambda weights: [weights.pop(f"model.1.{leaf}") for leaf in ("bias", "weight_g", "weight_v")], "model.1 is missing"),
        (lambda weights: weights.update({"model.40.bias": np.zeros(3, np.float32)}), "no layer model.40"),
    ],
)
def test_state_dicts_that_do_not_match_the_configuration_are_rejected(change, message, config, golden):
    weights = weights_of(str(golden["neurips generator shapes"]))
    change(weights)
    with pytest.raises(CheckpointError, match=message):
        config.generator.params_of(weights, config.mel)


@pytest.mark.parametrize("length", [8, 9, 4097])
def test_average_pool_excludes_the_zeros_at_the_edges(length, normal):
    audio = np.asarray(normal(2, length))
    expected = [audio[:, max(2 * i - 1, 0) : 2 * i + 3].mean(axis=1) for i in range(length // 2)]
    np.testing.assert_allclose(average_pool(jnp.asarray(audio)), np.stack(expected, axis=1), atol=1e-6)


def test_hinge_losses_by_hand():
    real, fake = [jnp.asarray([2.0, 0.5])], [jnp.asarray([-2.0, 0.0])]
    loss = GAN_LOSSES["hinge"]
    assert loss.discriminator(real, fake) == pytest.approx((0 + 0.5) / 2 + (0 + 1) / 2)
    assert loss.generator(fake) == pytest.approx(1.0)


def test_both_networks_of_a_run_round_trip_through_the_original_s_files(config, tmp_path, rng):
    small = {"upsample_initial_channel": 16, "melgan_channels": 4, "melgan_scales": 2, "melgan_downsamplings": 2}
    config = config.replace(small)
    state = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), state_shapes(config))
    run_checkpoints.save(tmp_path / "run", 1, to_parts(state), config, {}, keep=1)
    written = convert(tmp_path / "run", tmp_path / "pair")
    assert sorted(path.name for path in written) == ["config.json", "netD.pt", "netG.pt"]
    bare = read_torch_file(tmp_path / "pair" / "netG.pt")
    assert "model.1.weight_v" in bare  # no envelope, as the original loads it
    found = load_generator(tmp_path / "pair" / "netG.pt")
    jax.tree.map(np.testing.assert_array_equal, found.params, state.generator.params)
    discriminator = paired_discriminator(tmp_path / "pair" / "netG.pt", found.config)
    jax.tree.map(np.testing.assert_array_equal, discriminator, state.discriminator.params)
    (tmp_path / "pair" / "netD.pt").rename(tmp_path / "pair" / "other.pt")
    assert paired_discriminator(tmp_path / "pair" / "netG.pt", found.config) is None


def test_a_hifigan_run_with_melgan_s_discriminator_cannot_be_converted_to_the_reference_s_files(tmp_path):
    config = load_config(packaged_config("config_v3"), {"discriminators": ["melgan"], "upsample_initial_channel": 16})
    generator = generator_of(config)
    shapes = jax.eval_shape(generator.init, jax.random.key(0), Conditions(jnp.zeros((1, 8, 80))))["params"]
    leaves = {name: np.ones(leaf.shape, leaf.dtype) for name, leaf in named_leaves(shapes).items()}
    step = checkpoint.write(tmp_path / "step", {"generator": leaves}, config)
    with pytest.raises(UsageError, match=r"do_\* files cannot contain melgan: convert only the generator"):
        convert(step, tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()
    assert convert(step, tmp_path / "alone.pth") == [tmp_path / "alone.pth"]
