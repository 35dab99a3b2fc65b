"""The mel section: a convention by name, with overrides."""

import json

import pytest

from hifigan_jax.config import Mel, load_config, packaged_config
from hifigan_jax.conventions import CONVENTIONS
from hifigan_jax.errors import UsageError

SIZES = {"sampling_rate": 16000, "num_mels": 40, "n_fft": 512, "win_size": 512, "hop_size": 128, "fmin": 0.0, "fmax": None}


@pytest.fixture
def load(tmp_path):
    """load(keys): V1's configuration with these keys instead of its mel's."""

    def load(keys):
        content = json.loads(packaged_config("config_v1").read_text())
        kept = {key: value for key, value in content.items() if key not in Mel.model_fields}
        (tmp_path / "c.json").write_text(json.dumps(kept | keys))
        return load_config(tmp_path / "c.json")

    return load


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_name_is_enough(name):
    assert Mel(mel_convention=name).convention == CONVENTIONS[name]


def test_a_configuration_may_name_its_convention_alone(load):
    config = load({"mel_convention": "tacotron2"})
    assert config.mel.convention == CONVENTIONS["tacotron2"]
    assert config.flat()["sampling_rate"] == 22050
    assert config.loss_mel.convention == CONVENTIONS["tacotron2"]._replace(fmax=None)


def test_without_a_name_the_sizes_are_required(load):
    with pytest.raises(UsageError, match="key 'n_fft' is missing"):
        load({key: value for key, value in SIZES.items() if key != "n_fft"})


def test_given_sizes_have_priority_over_the_row_s(load):
    config = load(SIZES | {"mel_convention": "melgan", "hop_size": 256})
    assert (config.mel.sampling_rate, config.mel.num_mels, config.mel.fmax) == (16000, 40, None)
    assert config.mel.convention.log_base == "10"


def test_hifigan_by_name_or_by_default_is_the_same_section():
    packaged = load_config(packaged_config("config_v1")).mel
    assert Mel(mel_convention="hifigan") == packaged == Mel(**dict(packaged))


@pytest.mark.parametrize(("key", "value"), [("mel_floor", 1e-5), ("mel_centered", False), ("mel_mean", 0), ("mel_floor", None)])
def test_an_override_with_the_row_s_own_value_is_none(key, value):
    plain = Mel(mel_convention="hifigan")
    same = Mel(mel_convention="hifigan", **{key: value})
    assert same == plain
    assert hash(same) == hash(plain)
    assert same.model_dump() == plain.model_dump()
    assert key not in same.model_dump()


def test_overrides_are_saved_and_read_back(load):
    config = load({"mel_convention": "hifigan", "mel_centered": True, "mel_mean": [-5.0] * 80, "mel_std": 2.0})
    assert config.mel.convention == CONVENTIONS["hifigan"]._replace(centered=True, mean=(-5.0,) * 80, std=2.0)
    assert load(config.flat()).mel == config.mel
    assert config.flat()["mel_mean"] == [-5.0] * 80


def test_a_configuration_without_overrides_is_saved_as_before():
    flat = load_config(packaged_config("config_v1")).flat()
    assert {key for key in flat if key.startswith("mel_")} == {"mel_convention"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mel_mean": [0.0, 1.0]}, "mel_mean has 2 values, but num_mels is 80"),
        ({"mel_std": 0.0}, "mel_std: input should be between 1e-06 and 1e\\+06, not 0"),
        ({"mel_std": [1.0] * 79 + [1e-320]}, "mel_std"),
        ({"mel_mean": 1e300}, "mel_mean: input should be between -1e\\+06 and 1e\\+06, not 1e\\+300"),
        ({"mel_scale": "bark"}, "mel_scale.*'slaney' or 'htk'"),
        ({"mel_floor": 0.0}, "mel_floor: input should be between 1e-30 and 1e\\+06, not 0"),
        ({"mel_floor": 1e-320}, "mel_floor: input should be between 1e-30"),
        ({"mel_convention": "hifgan"}, "did you mean 'hifigan'"),
        ({"mel_convention": ["hifigan"]}, "mel_convention"),
        ({"mel_centred": True}, "did you mean 'mel_centered'"),
    ],
)
def test_wrong_values_are_named(load, keys, message):
    with pytest.raises(UsageError, match=message):
        load({"mel_convention": "hifigan"} | keys)


def test_an_odd_difference_of_n_fft_and_hop_size_is_padded_by_one_sample_more_at_the_end():
    assert Mel(mel_convention="wavernn").padding == (1024, 1024)
    assert Mel(mel_convention="wavernn", mel_centered=False).padding == (886, 887)
