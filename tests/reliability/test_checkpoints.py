"""Generators in the formats of other projects, and files next to them: equal tensors give equal audio."""

import itertools
import pickle
import shutil
import struct

import jax
import numpy as np
import pytest
from inputs import GENERATOR, generator_tensors, repacked, write_json
from programs import HifiganError

from hifigan_jax import Vocoder
from hifigan_jax.weights.torch_writer import write_torch_file

# --- envelopes and names --------------------------------------------------------------------------------------------------------


def without_norm(tensors):
    plain = {name: tensor for name, tensor in tensors.items() if name.endswith("bias")}
    for name, v in tensors.items():
        if name.endswith("weight_v"):
            layer = name.removesuffix("_v")
            plain[layer] = v * (tensors[f"{layer}_g"] / np.linalg.norm(v, axis=(1, 2), keepdims=True))
    return plain


def renamed(tensors, *changes):
    for old, new in changes:
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    return tensors


def prefixed(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


SPEECHT5 = {"mean": np.zeros(80, np.float32), "scale": np.ones(80, np.float32)}
PARAMETRIZED = (("weight_g", "parametrizations.weight.original0"), ("weight_v", "parametrizations.weight.original1"))

ENVELOPES = {
    "the_reference": lambda t: {"generator": t},
    "bare": lambda t: t,
    "ddp": lambda t: {"generator": prefixed("module.", t)},
    "parametrized": lambda t: {"generator": renamed(t, *PARAMETRIZED)},
    "norm_removed": lambda t: {"generator": without_norm(t)},
    "compiled": lambda t: {"generator": prefixed("_orig_mod.", t)},
    "generator_prefix": lambda t: prefixed("generator.", t),
    "state_dict": lambda t: {"state_dict": t},
    "model": lambda t: {"model": t},
    "model_g": lambda t: {"model_g": t},
    "generator_in_model": lambda t: {"generator": {"model": t}},
    "four_levels": lambda t: {"a": {"b": {"c": {"generator": t}}}},
    "lightning": lambda t: {"state_dict": prefixed("generator.", t), "epoch": 3, "pytorch-lightning_version": "2.4.0"},
    "speecht5": lambda t: renamed(t, ("ups.", "upsampler.")) | SPEECHT5,
    "conv_post_without_bias": lambda t: {"generator": {name: tensor for name, tensor in t.items() if name != "conv_post.bias"}},
}


@pytest.fixture
def saved(tmp_path):
    """saved(content): the path of a file with this content, next to the tiny generator's configuration."""

    def saved(content):
        write_json(tmp_path / "config.json", GENERATOR)
        write_torch_file(tmp_path / "g.pth", content)
        return tmp_path / "g.pth"

    return saved


@pytest.mark.parametrize("name", ENVELOPES)
def test_equal_tensors_give_equal_audio(name, saved, tensors, mel, speech):
    audio = Vocoder.from_pretrained(saved(ENVELOPES[name](tensors))).decode(mel)
    np.testing.assert_allclose(audio, speech, rtol=0, atol=1e-5 if name == "norm_removed" else 0)


PREFIXES = ("module.", "_orig_mod.", "generator.", "model.", "netG.", "vocoder.generator.", "_orig_mod.module.")
KEYS = ("generator", "model_g", "state_dict", "model", "model_state_dict", "netG", "ema", "params")


@pytest.mark.parametrize("key", [None, *KEYS])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_key_and_prefix_give_equal_tensors(key, prefix, saved, tensors):
    params = Vocoder.from_pretrained(saved(tensors)).params
    wrapped = prefixed(prefix, tensors)
    content = wrapped if key is None else {key: wrapped, "steps": 5, "optimizer": {"state": {0: {"step": 1}}, "lr": 2e-4}}
    jax.tree.map(np.testing.assert_array_equal, Vocoder.from_pretrained(saved(content)).params, params)


def test_a_generator_next_to_other_networks_is_found(saved, tensors):
    params = Vocoder.from_pretrained(saved(tensors)).params
    others = prefixed("discriminator.", {"convs.0.weight": np.ones((2, 1, 3), np.float32)}) | {"loss.fft": np.ones(3, np.float32)}
    content = {"state_dict": prefixed("generator.", tensors) | others}
    jax.tree.map(np.testing.assert_array_equal, Vocoder.from_pretrained(saved(content)).params, params)


def test_the_generator_is_preferred_to_its_average(saved, tensors):
    params = Vocoder.from_pretrained(saved(tensors)).params
    averaged = {name: tensor / 2 for name, tensor in tensors.items()}
    content = {"ema": averaged, "generator": tensors}
    jax.tree.map(np.testing.assert_array_equal, Vocoder.from_pretrained(saved(content)).params, params)


def test_two_generators_under_other_names_are_refused(saved, tensors):
    with pytest.raises(HifiganError, match=r"several generators, under current and average: save one"):
        Vocoder.from_pretrained(saved({"current": tensors, "average": tensors}))


def test_a_speecht5_generator_that_scales_its_mel_is_refused(saved, tensors):
    scaled = renamed(tensors, ("ups.", "upsampler.")) | SPEECHT5 | {"scale": np.full(80, 2, np.float32)}
    with pytest.raises(HifiganError, match="mean and scale"):
        Vocoder.from_pretrained(saved(scaled))


def test_half_precision_weights_give_the_audio_of_their_rounded_values(saved, tensors, mel):
    path = saved({"generator": tensors})

    def halved(name, content):
        if name == "data.pkl":
            return content.replace(b"FloatStorage", b"HalfStorage")
        return np.frombuffer(content, np.float32).astype(np.float16).tobytes() if name.startswith("data/") else content

    repacked(path, halved)
    audio = Vocoder.from_pretrained(path).decode(mel)
    rounded = {name: tensor.astype(np.float16).astype(np.float32) for name, tensor in tensors.items()}
    np.testing.assert_array_equal(audio, Vocoder.from_pretrained(saved({"generator": rounded})).decode(mel))


@pytest.mark.parametrize(
    ("module", "scalar"),
    [
        pytest.param(None, None, id="no_scalar"),
        *(
            pytest.param(*case, id=f"{type(case[1]).__name__}_of_{case[0]}")
            for case in itertools.product(("numpy._core", "numpy.core"), (np.float64(0.5), np.int64(3)))
        ),
    ],
)
def test_a_numpy_scalar_next_to_the_tensors_changes_nothing(module, scalar, saved, tensors, mel, speech):
    path = saved({"generator": tensors, "loss": 0.625})
    if scalar is not None:  # as torch.save does
        opcodes = pickle.dumps(scalar, protocol=2)[2:-1].replace(b"numpy._core", module.encode())
        repacked(path, lambda _, content: content.replace(b"G" + struct.pack(">d", 0.625), opcodes))
    np.testing.assert_array_equal(Vocoder.from_pretrained(path).decode(mel), speech)


# --- files next to the weights --------------------------------------------------------------------------------------------------


@pytest.fixture
def run_of_the_reference(tiny, tmp_path):
    """A folder with one step of the reference."""
    shutil.copy(tiny, tmp_path / "g_00005000")
    shutil.copy(tiny.with_name("config.json"), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "g_00004000",
        "g_00005000.part",
        "g_00005000.bak",
        "g_00005000~",
    ],
)
def test_a_stray_file_is_not_taken_for_a_newer_step(name, run_of_the_reference, mel, speech):
    if name.endswith(".part"):  # an incomplete copy
        (run_of_the_reference / name).write_bytes((run_of_the_reference / "g_00005000").read_bytes()[:999])
    else:  # other weights
        write_torch_file(run_of_the_reference / name, {"generator": generator_tensors(GENERATOR, seed=1)})
    np.testing.assert_array_equal(Vocoder.from_pretrained(run_of_the_reference).decode(mel), speech)


def test_an_unrelated_json_next_to_the_weights_changes_nothing(tiny, tmp_path, mel, speech):
    shutil.copy(tiny, tmp_path / "g.pth")
    write_json(tmp_path / "tiny.json", GENERATOR)
    write_json(tmp_path / "speakers.json", {"anna": 0, "bert": 1})
    np.testing.assert_array_equal(Vocoder.from_pretrained(tmp_path / "g.pth").decode(mel), speech)


@pytest.mark.parametrize("content", [None, {"anna": 0, "bert": 1}])
def test_config_json_takes_precedence_over_other_json_files(content, tiny, tmp_path, mel, speech):
    shutil.copy(tiny, tmp_path / "g.pth")
    write_json(tmp_path / "config.json", GENERATOR)
    write_json(tmp_path / "speakers.json", content or GENERATOR | {"upsample_initial_channel": 64})
    np.testing.assert_array_equal(Vocoder.from_pretrained(tmp_path / "g.pth").decode(mel), speech)


# --- keys that only training reads ----------------------------------------------------------------------------------------------

OF_TRAINING = [
    {"segment_size": 8000},
    {"segment_size": 256},
    {"batch_size": 0},
    {"batch_size": "16"},
    {"seed": None},
    {"learning_rate": "2e-4"},
    {"lr_decay": 1.01},
    {"adam_b1": 1},
    {"weight_decay": -1},
    {"num_workers": -1},
    {"training_epochs": 0},
    {"checkpoint_interval": 0},
    {"fmax_for_loss": 12000},
    {"mpd_periods": [2, 3, 5000]},
    {"discriminator_channel_mult": 0.01},
    {"discriminators": ["mrd"]},
    {"loss_weights": {"mrd": 1}},
]


@pytest.mark.parametrize(
    "keys",
    [{"lambda_adv": 1.0}, {"num_gpus": 4}, *OF_TRAINING],
    ids=lambda keys: ",".join(f"{key}={value}" for key, value in keys.items()),
)
def test_a_key_that_only_training_reads_does_not_stop_inference(keys, tiny, tmp_path, mel, speech):
    shutil.copy(tiny, tmp_path / "g.pth")
    write_json(tmp_path / "config.json", GENERATOR | keys)
    np.testing.assert_array_equal(Vocoder.from_pretrained(tmp_path / "g.pth").decode(mel), speech)
