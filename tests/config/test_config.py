import json
import logging
import os
import subprocess
import sys

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hifigan_jax.config import INPUT_PATHS, Mel, load_config, packaged_config, save_config
from hifigan_jax.errors import DiskError, UsageError
from hifigan_jax.models.hifigan.config import HiFiGANConfig

pytestmark = pytest.mark.smoke

V1 = json.loads(packaged_config("config_v1").read_text(encoding="utf-8"))
V3 = json.loads(packaged_config("config_v3").read_text(encoding="utf-8"))
KEYS = list(load_config(packaged_config("config_v1")).flat())  # all keys of V1's sections
REQUIRED = [key for section in (HiFiGANConfig, Mel) for key, field in section.model_fields.items() if field.is_required()]


@pytest.fixture
def write(tmp_path):
    """A function that writes a configuration, V1 with changes or any text, and returns its path."""

    def write(content):
        path = tmp_path / "c.json"
        path.write_text(content if isinstance(content, str) else json.dumps(V1 | content), encoding="utf-8")
        return path

    return write


def error_message(path, overrides=None):
    with pytest.raises(UsageError) as caught:
        load_config(path, overrides)
    message = str(caught.value)
    assert message.startswith((f"{path}: ", "--"))
    return message


@pytest.mark.parametrize("name", ["config_v1", "config_v2", "config_v3", "quickstart"])
def test_the_packaged_configurations_load(name):
    stored = json.loads(packaged_config(name).read_text(encoding="utf-8"))
    resolved = load_config(packaged_config(name)).flat()
    for key in (stored.keys() & resolved.keys()) - set(INPUT_PATHS):
        assert resolved[key] == stored[key]


def test_defaults_are_those_of_the_reference(write):
    config = load_config(write({}))
    assert config.losses.loss_weights == {"adversarial": 1, "feature_matching": 2, "mel": 45}
    assert config.optimization.weight_decay == 0.01
    assert [*config.discriminators] == ["mpd", "msd"]
    assert (config.run.stdout_interval, config.run.summary_interval) == (5, 100)
    assert (config.run.validation_interval, config.run.checkpoint_interval) == (1000, 5000)


def test_a_configuration_is_immutable(write):
    config = load_config(write({}))
    with pytest.raises(pydantic.ValidationError):
        config.optimization.seed = 2


def test_a_flag_overrides_the_json_and_the_json_overrides_the_default(write):
    assert load_config(write({})).run.keep_checkpoints == 3
    assert load_config(write({"keep_checkpoints": 4})).run.keep_checkpoints == 4
    assert load_config(write({"keep_checkpoints": 4}), {"keep_checkpoints": 5}).run.keep_checkpoints == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"segment_sise": 8192}, ["unknown key 'segment_sise'", "did you mean 'segment_size'?"]),
        ({"zzz": 1}, ["unknown key 'zzz'"]),
        ({"a\nb": 1}, ["unknown key 'a\\nb'"]),
        ({"seed": 1.5}, ["seed: ", "integer", "not 1.5"]),
        ({"seed": True}, ["seed: ", "integer", "not True"]),
        ({"seed": "1"}, ["seed: ", "integer", "not '1'"]),
        ({"seed": -1}, ["seed: ", "greater than or equal to 0", "not -1"]),
        ({"seed": 10**12}, ["seed: ", "less than or equal to 2147483647"]),
        ({"fine_tuning": 1}, ["fine_tuning: ", "boolean", "not 1"]),
        ({"fine_tuning": "False"}, ["fine_tuning: ", "boolean", "not 'False'"]),
        ({"input_wavs_dir": 5}, ["input_wavs_dir: ", "string", "not 5"]),
        ({"resblock": 1}, ["resblock: ", "'1' or '2'", "not 1"]),
        ({"generator": "hifi"}, ["generator: ", "'hifigan'", "not 'hifi'"]),
        ({"discriminators": ["mpd", "mrd"]}, ["discriminators.1: ", "'mpd' or 'msd'", "not 'mrd'"]),
        ({"discriminators": []}, ["discriminators: ", "at least 1 item"]),
        ({"mpd_periods": []}, ["mpd_periods: ", "at least 1 item"]),
        ({"mpd_periods": [2, 0]}, ["mpd_periods.1: ", "greater than or equal to 1", "not 0"]),
        ({"upsample_rates": [8, 8, 2, 0]}, ["upsample_rates.3: ", "greater than or equal to 1", "not 0"]),
        ({"resblock_dilation_sizes": [1, 3, 5]}, ["resblock_dilation_sizes.0: ", "not 1"]),
        ({"learning_rate": 0}, ["learning_rate: ", "greater than 0", "not 0"]),
        ({"lr_decay": 1.1}, ["lr_decay: ", "less than or equal to 1", "not 1.1"]),
        ({"adam_b1": 1}, ["adam_b1: ", "less than 1", "not 1"]),
        ({"discriminator_channel_mult": 17}, ["discriminator_channel_mult: ", "less than or equal to 16"]),
        ({"loss_weights": {"mels": 45}}, ["loss_weights: unknown loss 'mels'", "did you mean 'mel'?"]),
        ({"loss_weights": {"mel": -1}}, ["loss_weights.mel: ", "greater than or equal to 0", "not -1"]),
        ({"loss_weights": {"mel": 1e30}}, ["loss_weights.mel: ", "less than"]),
        ({"loss_weights": {"a\nb": "x"}}, ["loss_weights", "not 'x'"]),
        ({"sed": 1, "upsample_rats": 2}, ["unknown key 'sed'", "(and 1 more)"]),
    ],
)
def test_the_message_for_an_invalid_value_names_the_file_and_the_key(write, content, words):
    path = write(content)
    message = error_message(path)
    assert message.startswith(f"{path}: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize("key", REQUIRED)
def test_the_message_for_a_missing_key_names_it(write, key):
    path = write(json.dumps({name: value for name, value in V1.items() if name != key}))
    assert error_message(path) == f"{path}: key {key!r} is missing"


OPTIONAL = {"fmax", "fmax_for_loss", "input_training_file", "input_validation_file", "max_steps"}
OPTIONAL |= {"input_mels_convention", "input_mels_statistics"}


@pytest.mark.parametrize("key", KEYS)
def test_null_is_rejected_except_for_optional_keys(write, key):
    path = write({key: None})
    if key in OPTIONAL:
        assert load_config(path).flat()[key] is None
    else:
        assert f"{key}: " in error_message(path)


@pytest.mark.parametrize("value", [-1, 10**12, 1e30, 10**400, [[]], {"a": 1}])
@pytest.mark.parametrize("key", KEYS)
def test_negative_huge_and_misshapen_values_are_rejected(write, key, value):
    assert key in error_message(write({key: value}))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_must_be_finite(write, value):
    path = write(json.dumps(V1).replace("0.0002", value))
    assert error_message(path).startswith(f"{path}: learning_rate: input should be a finite number")


V3_RESBLOCKS = {key: V3[key] for key in ("resblock_kernel_sizes", "resblock_dilation_sizes")}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"hop_size": 128}, "the product of upsample_rates is 256, but hop_size is 128: make them equal"),
        ({"upsample_kernel_sizes": [16, 16, 4]}, "upsample_rates and upsample_kernel_sizes must have the same number of entries"),
        (
            {"upsample_kernel_sizes": [16, 6, 4, 4]},
            "upsample_kernel_sizes: kernel size 6 is smaller than its upsampling rate 8: increase it",
        ),
        ({"upsample_initial_channel": 24}, "upsample_initial_channel must be a multiple of 16"),
        (
            {"resblock_kernel_sizes": [3, 7]},
            "resblock_kernel_sizes and resblock_dilation_sizes must have the same number of entries",
        ),
        ({"resblock_kernel_sizes": [3, 4, 7]}, "resblock_kernel_sizes must be odd"),
        ({"resblock": "2"}, "resblock_dilation_sizes: resblock '2' needs 2 dilations per kernel size"),
        (V3_RESBLOCKS, "resblock_dilation_sizes: resblock '1' needs 3 dilations per kernel size"),
        ({"win_size": 1025}, "win_size 1025 is larger than n_fft 1024"),
        ({"n_fft": 254, "win_size": 254}, "hop_size 256 is larger than n_fft 254: lower hop_size or raise n_fft"),
        ({"fmax": 11026}, "fmax 11026 Hz is above half the sampling rate, 11025 Hz"),
        ({"fmax_for_loss": 12000}, "fmax_for_loss 12000 Hz is above half the sampling rate, 11025 Hz"),
        ({"fmin": 8000}, "fmin 8000 Hz must be below fmax, 8000 Hz: lower fmin"),
        ({"fmin": 7000, "fmax_for_loss": 6000}, "fmin 7000 Hz must be below fmax_for_loss, 6000 Hz: lower fmin"),
        ({"segment_size": 8191}, "segment_size 8191 must be a multiple of hop_size 256"),
        ({"segment_size": 256}, "segment_size 256 is too short for n_fft 1024: make it larger than 384, the mel's padding"),
        (
            {"loss_weights": {"mel": 0}, "adversarial_from_step": 9},
            "before adversarial_from_step 9 the generator would have no loss: give mel a weight in loss_weights",
        ),
        (
            {"loss_weights": {"adversarial": 0, "feature_matching": 0, "mel": 0}},
            "loss_weights are all 0: give at least one term a weight",
        ),
        ({"accumulation_steps": 3}, "batch_size 16 must be a multiple of accumulation_steps 3"),
        ({"mpd_periods": [2, 4097]}, "mpd_periods: period 4097 is longer than half of segment_size 8192"),
        ({"discriminator_channel_mult": 0.2}, "discriminator_channel_mult must be a multiple of 1/8"),
        ({"discriminators": ["mpd"], "discriminator_channel_mult": 0.03}, "discriminator_channel_mult must be at least 1/32"),
    ],
)
def test_conflicting_keys_are_rejected(write, changes, problem):
    path = write(changes)
    assert error_message(path).startswith(f"{path}: {problem}")


@pytest.mark.parametrize(
    "changes",
    [
        {"upsample_kernel_sizes": [8, 8, 2, 2]},
        {"segment_size": 512},
        {"n_fft": 256, "win_size": 256},
        {"fmax": 11025},
        {"mpd_periods": [1, 4096]},
        {"discriminator_channel_mult": 0.125},
        {"discriminators": ["mpd"], "discriminator_channel_mult": 0.03125},
        {"loss_weights": {"mel": 0}},
        {"num_gpus": 8, "num_freq": 3, "dist_config": "anything"},
    ],
)
def test_values_at_the_limits_are_accepted(write, changes):
    load_config(write(changes))


def test_setting_one_loss_weight_keeps_the_defaults_of_the_others(write):
    config = load_config(write({"loss_weights": {"mel": 15}}))
    assert config.losses.loss_weights == {"adversarial": 1, "feature_matching": 2, "mel": 15}


@pytest.mark.parametrize("flags", [{"max_steps": 0}, {"upsample_rates": [8, 0]}, {"loss_weights": {"mel": -1.0}}])
def test_the_message_for_an_invalid_flag_names_the_flag(write, flags):
    assert error_message(write({}), flags).startswith(f"--{next(iter(flags))}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a JSON file"),
        ("{", "not a JSON file"),
        ("<html>\n</html>", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("[1, 2]", "not a configuration"),
        ("null", "not a configuration"),
        ("\ufeff{}", "key 'resblock' is missing"),
    ],
)
def test_files_that_are_not_configurations_are_rejected(write, text, words):
    path = write(text)
    assert error_message(path).startswith(f"{path}: {words}")


def test_unreadable_files_are_rejected(tmp_path):
    assert error_message(tmp_path / "absent.json") == f"{tmp_path / 'absent.json'}: cannot be read: No such file or directory"
    assert error_message(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"
    (tmp_path / "latin.json").write_bytes(b'{"seed": "\xe9"}')
    assert error_message(tmp_path / "latin.json").startswith(f"{tmp_path / 'latin.json'}: not a JSON file")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*KEYS, "x\ny"]), JSON_VALUES, min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_random_values_load_or_are_rejected_in_one_line(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(V1 | changes), encoding="utf-8")
    try:
        load_config(path)
    except UsageError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017


def test_unknown_keys_of_other_programs_can_be_ignored(write, caplog):
    with caplog.at_level(logging.INFO):
        config = load_config(write({"foreign": 1, "batch_size": 7}), purpose="inference")
    assert config.optimization.batch_size == 7
    assert "ignored keys that are unknown or only used in training: foreign" in caplog.text


def test_ignoring_unknown_keys_hides_no_other_errors(write):
    with pytest.raises(UsageError, match="key 'resblock' is missing"):
        load_config(write('{"foreign": 1}'), purpose="inference")
    with pytest.raises(UsageError, match="unknown key 'segment_sise'"):
        load_config(write({}), {"segment_sise": 1}, purpose="inference")


def test_input_paths_in_a_json_are_relative_to_its_folder(write, tmp_path):
    config = load_config(write({"input_wavs_dir": "wavs", "input_mels_dir": "/mels"}), {"input_training_file": "list.txt"})
    assert config.data.input_wavs_dir == str(tmp_path / "wavs")
    assert config.data.input_mels_dir == "/mels"
    assert config.data.input_training_file == "list.txt"  # a flag is relative to the working folder


def test_a_mel_convention_may_be_a_name_or_a_path_relative_to_the_json(write, tmp_path):
    assert load_config(write({"input_mels_convention": "tacotron2"})).data.input_mels_convention == "tacotron2"
    config = load_config(write({"input_mels_convention": "mel.json"}))
    assert config.data.input_mels_convention == str(tmp_path / "mel.json")
    assert load_config(write({"input_mels_convention": "tacotron"})).data.input_mels_convention == "tacotron"


def test_the_checkpoint_path_is_relative_to_the_working_folder(write):
    assert load_config(write({"checkpoint_path": "run"})).run.checkpoint_path == "run"


def with_absolute_paths(config):
    paths = {key: getattr(config.data, key) for key in INPUT_PATHS}
    return config.replace({key: path and os.path.abspath(path) for key, path in paths.items()})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"input_wavs_dir": "wavs", "fmax": None, "max_steps": 7, "fine_tuning": True},
        {"checkpoint_path": "läufe/ö", "loss_weights": {"mel": 15.5}},
    ],
)
def test_a_saved_configuration_loads_unchanged(write, tmp_path, changes):
    config = load_config(write(changes), {"seed": 99, "input_training_file": "lists/training.txt"})
    (tmp_path / "run").mkdir()
    save_config(config, tmp_path / "run" / "config.json")
    assert with_absolute_paths(load_config(tmp_path / "run" / "config.json")) == with_absolute_paths(config)


def test_saving_replaces_a_file_and_leaves_no_temporary_files(write, tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")
    save_config(load_config(write({})), path)
    assert load_config(path).optimization.seed == 1234
    assert sorted(file.name for file in tmp_path.iterdir()) == ["c.json", "run.json"]


def test_a_failed_save_is_a_disk_error_and_leaves_no_files(write, tmp_path):
    config = load_config(write({}))
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "config.json", tmp_path / "taken"):
        with pytest.raises(DiskError, match="cannot be written") as caught:
            save_config(config, path)
        assert str(caught.value).startswith(str(path))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["c.json", "file", "taken"]


def test_a_configuration_is_rejected_without_importing_jax(write):
    path = write({"hop_size": 128})
    program = (
        "import sys, hifigan_jax.config as c\n"
        f"try: c.load_config({str(path)!r})\n"
        "except Exception as error: print(type(error).__name__, 'jax' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["UsageError", "False"]
