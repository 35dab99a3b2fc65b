import json

import pytest

from hifigan_jax.config import Config, load_config, model_differences, packaged_config, packaged_configs
from hifigan_jax.config.files import known_keys
from hifigan_jax.config.flat import ConfigError
from hifigan_jax.errors import UsageError

V1 = json.loads(packaged_config("config_v1").read_text(encoding="utf-8"))
# The keys that older runs' resolved configurations have in addition to V1's.
OLDER = {
    "generator": "hifigan",
    "discriminators": ["mpd", "msd"],
    "mpd_periods": [2, 3, 5, 7, 11],
    "discriminator_channel_mult": 1.0,
    "compute_dtype": "float32",
    "accumulation_steps": 1,
    "rematerialize": False,
    "weight_decay": 0.01,
    "loss_weights": {"adversarial": 1.0, "feature_matching": 2.0, "mel": 45.0},
    "adversarial_from_step": 0,
    "input_wavs_dir": "/LJSpeech-1.1/wavs",
    "input_training_file": None,
    "input_validation_file": None,
    "input_mels_dir": "/ft_dataset",
    "fine_tuning": False,
    "checkpoint_path": "cp_hifigan",
    "training_epochs": 3100,
    "max_steps": None,
    "stdout_interval": 5,
    "summary_interval": 100,
    "validation_interval": 1000,
    "checkpoint_interval": 5000,
    "keep_checkpoints": 3,
}


def problems(content):
    with pytest.raises(ConfigError) as caught:
        Config.from_flat(content)
    return [problem.text for problem in caught.value.problems]


def test_every_key_goes_to_its_section():
    config = Config.from_flat(V1 | OLDER | {"discriminator_channel_mult": 0.5})
    assert config.generator.upsample_rates == (8, 8, 2, 2)
    assert (config.mel.hop_size, config.mel.fmax) == (256, 8000)
    assert config.discriminators["mpd"].mpd_periods == (2, 3, 5, 7, 11)
    assert [section.discriminator_channel_mult for section in config.discriminators.values()] == [0.5, 0.5]
    assert (config.losses.fmax_for_loss, config.losses.loss_weights["mel"]) == (None, 45)
    assert (config.optimization.learning_rate, config.optimization.segment_size) == (2e-4, 8192)
    assert config.data.input_wavs_dir == "/LJSpeech-1.1/wavs"
    assert config.run.checkpoint_interval == 5000


@pytest.mark.parametrize("name", sorted(path.stem for path in packaged_configs().glob("*.json")))
def test_flat_configurations_round_trip(name):
    config = load_config(packaged_config(name))
    assert Config.from_flat(config.flat()) == config
    assert Config.from_flat(json.loads(config.to_json())) == config
    assert config.flat().keys() <= known_keys()


def test_the_order_of_keys_has_no_effect():
    config = Config.from_flat(V1 | OLDER)
    backwards = Config.from_flat(dict(reversed((V1 | OLDER).items())))
    assert backwards == config
    assert model_differences(backwards, config, discriminators=True) == []


def test_the_order_of_discriminators_is_no_difference_between_models():
    configs = [Config.from_flat(V1 | {"discriminators": names}) for names in (["mpd", "msd"], ["msd", "mpd"])]
    assert model_differences(*configs, discriminators=True) == []


def test_differences_between_models_show_both_values():
    config = Config.from_flat(V1)
    assert model_differences(config, config.replace({"seed": 7, "learning_rate": 0.1, "fmax_for_loss": 5000})) == []
    other = config.replace({"upsample_initial_channel": 256, "fmin": 20, "mpd_periods": [2, 3], "discriminators": ["mpd"]})
    in_generator = ["upsample_initial_channel is 512, expected 256", "fmin is 0.0, expected 20.0"]
    assert model_differences(config, other) == in_generator
    assert model_differences(config, other, discriminators=True) == [
        "discriminators is ['mpd', 'msd'], expected ['mpd']",
        *in_generator,
        "mpd_periods is (2, 3, 5, 7, 11), expected (2, 3)",
    ]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("discriminator_periods", "mpd_periods"),
        ("sample_rate", "sampling_rate"),
        ("hop_length", "hop_size"),
        ("n_mel_channels", "num_mels"),
        ("SEGMENT_SIZE", "segment_size"),
        ("Sample_Rate", "sampling_rate"),
        ("generater", "generator"),
        ("upsample_rate", "upsample_rates"),
    ],
)
def test_the_message_for_an_unknown_key_suggests_a_known_one(key, meant):
    assert problems(V1 | {key: 1}) == [f"unknown key {key!r}; did you mean {meant!r}?"]


def test_all_names_of_other_projects_map_to_known_keys():
    from hifigan_jax.config.flat import COMMON
    from hifigan_jax.models.registry import DISCRIMINATORS, GENERATORS

    sections = [*COMMON.values(), *GENERATORS.values(), *DISCRIMINATORS.values()]
    foreign = {name: ours for section in sections for name, ours in section.ALSO_CALLED.items()}
    assert foreign.keys().isdisjoint(known_keys())
    assert set(foreign.values()) <= known_keys()
    assert all(name == name.lower() for name in foreign)


def test_default_values_of_unused_discriminators_are_ignored():
    config = Config.from_flat(V1 | OLDER | {"discriminators": ["msd"]})
    assert [*config.discriminators] == ["msd"]
    assert "mpd_periods" not in config.flat()


def test_other_values_of_unused_discriminators_are_rejected():
    assert problems(V1 | OLDER | {"discriminators": ["msd"], "mpd_periods": [2, 3]}) == [
        "key 'mpd_periods' belongs to the discriminator 'mpd', which this configuration does not use: remove it"
    ]


def test_a_discriminator_cannot_be_listed_twice():
    assert problems(V1 | {"discriminators": ["mpd", "msd", "mpd"]}) == ["discriminators: 'mpd' is listed twice: remove one"]


def test_problems_of_single_keys_come_first_and_each_only_once():
    content = V1 | {"win_size": 2048, "discriminator_channel_mult": 17, "sed": 1}
    unknown, value, together = problems(content)
    assert unknown == "unknown key 'sed'; did you mean 'seed'?"
    assert value == "discriminator_channel_mult: input should be less than or equal to 16, not 17"
    assert together == "win_size 2048 is larger than n_fft 1024: lower win_size or raise n_fft"


def test_a_replaced_value_is_validated():
    config = Config.from_flat(V1)
    assert config.replace({"mpd_periods": [2, 3]}).discriminators["mpd"].mpd_periods == (2, 3)
    assert config.replace({"mpd_periods": [2, 3]}).mel == config.mel
    for changes, problem in (
        ({"hop_size": 128}, "the product of upsample_rates is 256, but hop_size is 128"),
        ({"hop_sise": 128}, "unknown key 'hop_sise'; did you mean 'hop_size'?"),
        ({"seed": "7"}, "seed: "),
    ):
        with pytest.raises(UsageError, match=problem):
            config.replace(changes)
