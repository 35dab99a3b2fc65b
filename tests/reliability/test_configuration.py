"""Configurations of other projects: foreign names are explained; the encoding and unusual hop sizes are accepted."""

import json

import numpy as np
import pytest
from inputs import GENERATOR, TRAINING, generator_tensors, write_json
from programs import HifiganError, train

from hifigan_jax import Vocoder
from hifigan_jax.config import load_config, packaged_config, parse_config
from hifigan_jax.weights.torch_writer import write_torch_file

# --- foreign names --------------------------------------------------------------------------------------------------------------

FOREIGN = {
    "discriminator_periods": "mpd_periods",
    "sample_rate": "sampling_rate",
    "hop_length": "hop_size",
    "win_length": "win_size",
    "filter_length": "n_fft",
    "n_mel_channels": "num_mels",
    "checkpoint_dir": "checkpoint_path",
    "save_interval": "checkpoint_interval",
    "lambda_mel": "loss_weights",
    "lr": "learning_rate",
    "epochs": "training_epochs",
}
TYPING_ERRORS = {"upsample_rate": "upsample_rates", "learning_rates": "learning_rate", "Learning_Rate": "learning_rate"}
UPPERCASE = {"BATCH_SIZE": "batch_size", "SEED": "seed"}


@pytest.mark.parametrize(("key", "right"), (FOREIGN | TYPING_ERRORS | UPPERCASE).items())
def test_a_foreign_key_is_refused_with_its_name_here(key, right):
    with pytest.raises(HifiganError) as caught:
        parse_config(json.dumps(TRAINING | {key: 1}), "x.json")
    assert f"'{key}'" in str(caught.value)
    assert f"'{right}'" in str(caught.value)


def test_a_misspelled_generator_is_named_before_the_keys_of_its_family():
    content = json.loads(packaged_config("melgan").read_text())
    content = {"generater" if key == "generator" else key: value for key, value in content.items()}
    with pytest.raises(HifiganError, match="unknown key 'generater'; did you mean 'generator'"):
        parse_config(json.dumps(content), "x.json")


def test_a_key_given_twice_is_refused():
    text = json.dumps(TRAINING)
    with pytest.raises(HifiganError, match="hop_size"):
        parse_config(text[:-1] + ', "hop_size": 256}', "x.json")


# --- sizes ----------------------------------------------------------------------------------------------------------------------

FAMILIES = {name: json.loads(packaged_config(name).read_text()) for name in ("config_v1", "melgan", "istftnet")}
UNBOUNDED = {  # steps, epochs and numbers of files, which cost nothing in advance
    *("seed", "training_epochs", "max_steps", "adversarial_from_step", "keep_checkpoints", "max_skipped_steps", "max_rollbacks"),
    *("stdout_interval", "summary_interval", "validation_interval", "checkpoint_interval"),
}


def with_first_number(value, number):
    """`value` with `number` in place of its first number; None if it is not a number or a list of numbers."""
    if isinstance(value, list) and value and with_first_number(value[0], number) is not None:
        return [with_first_number(value[0], number), *value[1:]]
    return number if isinstance(value, int) and not isinstance(value, bool) else None


def numbers():
    for name, content in FAMILIES.items():
        for key, value in parse_config(json.dumps(content), "x.json").flat().items():
            if key not in UNBOUNDED and with_first_number(value, 10**9) is not None:
                yield pytest.param(name, key, id=f"{name}-{key}")


@pytest.mark.parametrize(("family", "key"), [*numbers()])
def test_a_billion_is_refused_with_the_largest_value(family, key):
    content = parse_config(json.dumps(FAMILIES[family]), "x.json").flat()
    with pytest.raises(HifiganError, match=rf"x.json: {key}[.0-9]*: .*less than or equal to \d+, not 1000000000"):
        parse_config(json.dumps(content | {key: with_first_number(content[key], 10**9)}), "x.json")


def test_a_generator_of_thousands_of_layers_is_refused():
    with pytest.raises(HifiganError, match="upsample_rates: .*at most 64 items"):
        parse_config(json.dumps(GENERATOR | {"upsample_rates": [1] * 1000, "upsample_kernel_sizes": [1] * 1000}), "x.json")


# --- encodings ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_json_may_begin_with_a_byte_order_mark(encoding, tmp_path):
    plain = load_config(write_json(tmp_path / "plain.json", TRAINING))
    assert load_config(write_json(tmp_path / "marked.json", TRAINING, encoding)) == plain


# --- hops -----------------------------------------------------------------------------------------------------------------------

ODD_HOPS = {
    "441_of_44100": {
        "upsample_rates": [7, 7, 3, 3],
        "upsample_kernel_sizes": [15, 15, 7, 7],
        "hop_size": 441,
        "n_fft": 2048,
        "win_size": 1764,
        "sampling_rate": 44100,
    },
    "275_of_22050": {"upsample_rates": [11, 5, 5], "upsample_kernel_sizes": [22, 10, 10], "hop_size": 275},
}


@pytest.mark.parametrize("name", ODD_HOPS)
def test_a_generator_with_an_odd_hop_size_synthesizes_mels(name, tmp_path, mel):
    config = GENERATOR | ODD_HOPS[name]
    write_json(tmp_path / "config.json", config)
    write_torch_file(tmp_path / "g.pth", {"generator": generator_tensors(config)})
    audio = Vocoder.from_pretrained(tmp_path / "g.pth").decode(mel)
    assert audio.shape == (mel.shape[1] * config["hop_size"],)
    assert np.abs(audio).max() > 0.01


# --- the program ----------------------------------------------------------------------------------------------------------------


def test_a_wrong_json_gives_one_line_that_names_the_key(tmp_path):
    path = write_json(tmp_path / "c.json", TRAINING | {"lr": 1e-4})
    outcome = train(config=path, checkpoint_path=tmp_path / "run")
    assert outcome.code == 2
    (line,) = outcome.messages
    assert line.startswith("error: ")
    assert "'lr'" in line
    assert not (tmp_path / "run").exists()
