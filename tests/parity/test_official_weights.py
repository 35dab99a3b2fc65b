"""The weights of the reference's authors on mels of real speech, compared with the reference in torch."""

import importlib.util
import os
from pathlib import Path

import cases
import numpy as np
import pytest

from hifigan_jax.loading import load_generator
from hifigan_jax.mel import LogMel
from hifigan_jax.synthesis import Vocoder
from hifigan_jax.weights.pretrained import PRETRAINED

pytestmark = pytest.mark.parity

# The official V2 weights are not on PyPI: set this variable to the folder that contains them.
ELSEWHERE = Path(os.environ.get("HIFIGAN_JAX_TEST_WEIGHTS", Path(__file__).parents[3] / "shared" / "weights"))


def official(name: str) -> Path:
    if name in PRETRAINED:
        package, _, file = PRETRAINED[name].member.partition("/")
        found = importlib.util.find_spec(package)
        path = Path(found.submodule_search_locations[0]) / file if found else Path("missing")
    else:
        path = next(iter(sorted(ELSEWHERE.glob(f"*{name}*.pth"))), Path("missing"))
    if not path.is_file():
        pytest.skip(f"the weights of {name} are not in {'an installed package' if name in PRETRAINED else '../shared/weights'}")
    return path


@pytest.mark.parametrize(("name", "config"), [("universal_v1", "v1"), ("ljspeech_v1", "v1"), ("v2", "v2")])
def test_official_weights_give_the_audio_of_torch(name, config, tmp_path):
    torch = pytest.importorskip("torch")
    import peer

    path = official(name)
    settings = cases.CONFIGS[config]
    vocoder = Vocoder.from_pretrained(path, config=_saved(settings, tmp_path))
    state_dict = torch.load(path, map_location="cpu", weights_only=True)["generator"]
    log_mel = LogMel(settings.mel)
    for clip in (0, 4):
        mel = log_mel(cases.speech(clip, 5 * settings.mel.sampling_rate))
        theirs = peer.audio(settings, {key: value.numpy() for key, value in state_dict.items()}, mel[None])[0]
        ours = vocoder.decode(mel.T)
        assert np.abs(theirs).max() > 0.1  # not silent
        assert np.abs(ours - theirs).max() <= 1e-4
        steps = np.abs(as_int16(ours) - as_int16(theirs))
        assert (steps <= 1).mean() >= 0.999


def as_int16(audio):
    return np.clip(audio * 32768, -32768, 32767).astype(np.int16).astype(int)


def _saved(config, folder):
    path = folder / "config.json"
    path.write_text(config.to_json())
    return path


@pytest.mark.parametrize("name", ["universal_v1", "v2"])
def test_a_file_without_a_configuration_is_recognized_by_its_shapes(name, tmp_path):
    pytest.importorskip("torch")
    alone = tmp_path / "generator.pth"
    alone.symlink_to(official(name))
    config = load_generator(alone).config
    assert config.generator.upsample_initial_channel == {"universal_v1": 512, "v2": 128}[name]
