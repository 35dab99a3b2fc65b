import json

import pytest

from hifigan_jax.cli import train
from hifigan_jax.config import packaged_config
from hifigan_jax.errors import UsageError

V1 = str(packaged_config("config_v1"))


@pytest.fixture
def configuration(monkeypatch):
    """configuration(*flags): the configuration that `train.py --config config_v1.json` trains with these flags."""
    trained = []
    monkeypatch.setattr("hifigan_jax.training.loop.train", lambda config, finetune_from, stop: trained.append(config))

    def configuration(*flags):
        assert train.main(train.parser().parse_args(["--config", V1, *flags])) == 0
        return trained.pop()

    return configuration


def test_set_overrides_any_key(configuration):
    changes = {"seed": 7, "mpd_periods": [2, 3], "fmax": None, "fine_tuning": True, "learning_rate": 1e-3, "fmin": 20.0}
    flags = [part for key, value in changes.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    resolved = configuration(*flags).flat()
    assert {key: resolved[key] for key in changes} == changes


def test_text_needs_no_quotes(configuration):
    assert configuration("--set", "checkpoint_path=my=run").run.checkpoint_path == "my=run"
    assert configuration("--set", 'checkpoint_path="7"').run.checkpoint_path == "7"


def test_set_overrides_flags_which_override_the_json(configuration):
    assert configuration().optimization.seed == 1234
    assert configuration("--seed", "5").optimization.seed == 5
    assert configuration("--seed", "5", "--set", "seed=6", "--set", "seed=7").optimization.seed == 7


def test_a_loss_weight_leaves_the_others_as_they_are(configuration):
    losses = configuration("--set", 'loss_weights={"mel": 15}').losses
    assert losses.loss_weights == {"adversarial": 1, "feature_matching": 2, "mel": 15}


def test_paths_are_relative_to_the_working_folder(configuration):
    assert configuration("--set", "input_wavs_dir=wavs").data.input_wavs_dir == "wavs"


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("segment_sise=8192", "unknown key 'segment_sise'; did you mean 'segment_size'?"),
        ("hop_length=256", "unknown key 'hop_length'; did you mean 'hop_size'?"),
        ("seed=x", "seed: input should be a valid integer, not 'x'"),
        ("mpd_periods=[2, 0]", "mpd_periods.1: input should be greater than or equal to 1, not 0"),
        ('discriminators=["mpds"]', "discriminators.0: input should be 'mpd' or 'msd'"),
        ("generator=hifi", "generator: input should be 'hifigan'"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(configuration, setting, problem):
    with pytest.raises(UsageError) as caught:
        configuration("--set", setting)
    assert str(caught.value).startswith(f"--set {problem}")


@pytest.mark.parametrize("text", ["seed", "=7", ""])
def test_a_malformed_setting_is_refused(configuration, text, capsys):
    with pytest.raises(SystemExit, match="2"):
        configuration("--set", text)
    assert f"argument --set: should be KEY=VALUE, as in seed=7, not {text!r}" in capsys.readouterr().err
