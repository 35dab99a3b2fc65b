"""Models of the Hugging Face Hub, with huggingface_hub against a stand-in for the Hub on this machine."""

import json
import logging
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from hub_server import Hub, Repository

from hifigan_jax import checkpoint
from hifigan_jax.cli import main
from hifigan_jax.convert import convert
from hifigan_jax.errors import CheckpointError, DiskError, UsageError
from hifigan_jax.loading import load_generator
from hifigan_jax.publish import publish
from hifigan_jax.weights import hub

huggingface_hub = pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's upload

SAFE, CONFIG, STEP = "model.safetensors", "config.json", "g_00000007"


@pytest.fixture(scope="module")
def model(shared_tiny_config, tiny_leaves, tmp_path_factory):
    """A checkpoint, and the content of its files in every format by name."""
    folder = tmp_path_factory.mktemp("model")
    ours = checkpoint.write(folder / "ours", {"generator": tiny_leaves}, shared_tiny_config, step=8)
    convert(ours, folder / SAFE)
    convert(ours, folder / "theirs")
    paths = [folder / SAFE, folder / "theirs" / STEP, folder / "theirs" / CONFIG]
    return ours, {path.name: path.read_bytes() for path in paths}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The Hub for huggingface_hub in this test, with an empty cache, without a token."""
    constants = pytest.importorskip("huggingface_hub.constants")
    with Hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        addresses = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", addresses)
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        yield server


@pytest.fixture
def log_in(monkeypatch):
    return lambda token=Hub.TOKEN: monkeypatch.setenv("HF_TOKEN", token)


def refusal(function, *arguments, kind=CheckpointError):
    with pytest.raises(kind) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_same_generator(source, other):
    one, two = load_generator(source), load_generator(other)
    assert (one.config.generator, one.config.mel) == (two.config.generator, two.config.mel)
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)


@pytest.mark.parametrize("names", [(SAFE,), (SAFE, CONFIG), (STEP, CONFIG)], ids=str)
def test_a_repository_is_loaded(names, server, model):
    server.repositories["o/n"] = Repository({name: model[1][name] for name in names} | {"README.md": b"# n"})
    assert_same_generator("hf://o/n", model[0])
    assert not any("README" in request for request in server.requests)


def test_a_revision_and_a_file_are_loaded(server, model):
    repository = server.repositories["o/n"] = Repository({SAFE: b"other"})
    files = {"v1/g.pth": model[1][STEP], "v1/config.json": model[1][CONFIG], "config.json": b"not this one"}
    sha = repository.commit(files, "a branch", "feature/x")
    assert_same_generator("hf://o/n@feature%2Fx/v1/g.pth", model[0])
    assert_same_generator(f"hf://o/n@{sha}/v1/g.pth", model[0])
    repository.revisions["refs/pr/3"] = sha
    assert hub.fetch("hf://o/n@refs/pr/3/v1/g.pth").read_bytes() == model[1][STEP]


def test_a_file_is_downloaded_once(server, model):
    server.repositories["o/n"] = Repository({SAFE: model[1][SAFE]})
    path = hub.fetch("hf://o/n")
    first = [request for request in server.requests if "/objects/" in request]
    assert hub.fetch("hf://o/n") == path
    assert [request for request in server.requests if "/objects/" in request] == first
    assert hub.snapshot_of(path).name == server.repositories["o/n"].sha("main")


def test_a_newer_commit_is_loaded_with_its_own_configuration(server, model):
    repository = server.repositories["o/n"] = Repository({STEP: b"old", CONFIG: b"old"})
    hub.fetch("hf://o/n")
    repository.commit({STEP: b"new", CONFIG: b"newer"}, "a commit")
    path = hub.fetch("hf://o/n")
    assert (path.read_bytes(), (path.parent / CONFIG).read_bytes()) == (b"new", b"newer")


@pytest.mark.parametrize("reason", ["offline", "no connection", "503"])
def test_without_the_hub_the_cache_is_read(reason, server, model, monkeypatch, caplog):
    server.repositories["o/n"] = Repository({SAFE: model[1][SAFE], CONFIG: model[1][CONFIG]})
    path = hub.fetch("hf://o/n")
    if reason == "offline":
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    elif reason == "503":
        server.status = 503
    else:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with caplog.at_level(logging.INFO, "hifigan_jax"):
        assert hub.fetch("hf://o/n") == path
    assert "hf://o/n: not connected to the Hub" in caplog.text
    assert hub.fetch(f"hf://o/n@{hub.snapshot_of(path).name}/{SAFE}") == path
    for source in ("hf://o/n@other", f"hf://o/n/{STEP}", "hf://o/other"):
        assert "the Hub cannot be reached, and its cache" in refusal(hub.fetch, source)


@pytest.mark.parametrize("name", [SAFE, STEP])
def test_a_damaged_file_in_the_cache_is_downloaded_again(name, server, model, monkeypatch):
    server.repositories["o/n"] = Repository({name: model[1][name], CONFIG: model[1][CONFIG]})
    path = hub.fetch("hf://o/n")
    damaged = bytearray(model[1][name])
    damaged[-1] ^= 1
    path.resolve().write_bytes(damaged)
    assert hub.fetch("hf://o/n").read_bytes() == model[1][name]
    path.resolve().write_bytes(damaged)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "is damaged (its checksum differs): connect to the Hub" in refusal(hub.fetch, "hf://o/n")


@pytest.mark.parametrize("name", [SAFE, CONFIG])
def test_a_damaged_download_is_refused(name, server, model):
    server.repositories["o/n"] = Repository({SAFE: model[1][SAFE], CONFIG: model[1][CONFIG]})
    large = len(model[1][SAFE])
    server.damage = lambda content: content[:-1] + b"?" if (len(content) == large) == (name == SAFE) else content
    assert refusal(hub.fetch, "hf://o/n") == f"hf://o/n: {name} arrives damaged (its checksum differs): try again later"
    server.damage = lambda content: content
    assert hub.fetch("hf://o/n").read_bytes() == model[1][SAFE]


def test_a_shortened_download_is_refused(server, model):
    server.repositories["o/n"] = Repository({SAFE: model[1][SAFE]})
    server.damage = lambda content: content[:-100]
    assert refusal(hub.fetch, "hf://o/n").startswith("hf://o/n: not transferred completely (")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf://o/none", "hf://o/none: no such repository, or a private one: check the name, or run `hf auth login`"),
        ("hf://o/secret", "hf://o/secret: no such repository, or a private one"),
        ("hf://o/gated", "hf://o/gated: access is restricted: request it at http://127.0.0.1:"),
        ("hf://o/n@v9", "hf://o/n@v9: has no revision 'v9'"),
        ("hf://o/n/x.pth", "hf://o/n: has no file 'x.pth'"),
        ("hf://o/empty", "hf://o/empty: contains no generator: no .safetensors, g_* or .pth, .pt file"),
        ("hf://o/two", "hf://o/two: contains several models (a.pth, b.pth): name one, as in hf://o/two/a.pth"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(source, message, server, model, capfd):
    server.repositories |= {
        "o/n": Repository({SAFE: model[1][SAFE]}),
        "o/secret": Repository({SAFE: model[1][SAFE]}, private=True),
        "o/gated": Repository({SAFE: model[1][SAFE]}, gated=True),
        "o/empty": Repository({"README.md": b"# nothing"}),
        "o/two": Repository({"a.pth": b"", "b.pth": b"", "netD.pt": b""}),
    }
    assert main(["convert", source, "/dev/null/new"]) == 4
    printed = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert printed[0].startswith(f"error: {message}")


@pytest.mark.parametrize("status", [403, 418, 429])
def test_an_answer_that_refuses_is_one_line(status, server):
    server.status = status
    message = refusal(hub.fetch, "hf://o/n")
    assert message.startswith("hf://o/n: no permission (403)" if status == 403 else "hf://o/n: the Hub refuses this (")


def test_a_message_about_a_file_names_the_repository(server, model):
    repository = server.repositories["o/n"] = Repository({"v/g.pth": model[1][STEP], "v/config.json": b"[1]"})
    assert refusal(load_generator, "hf://o/n", kind=UsageError).startswith("hf://o/n/v/config.json: not a configuration")
    other = json.loads(model[1][CONFIG]) | {"upsample_initial_channel": 32}
    repository.commit({"v/config.json": json.dumps(other).encode()}, "another configuration")
    assert refusal(load_generator, "hf://o/n@main").startswith("hf://o/n@main/v/g.pth: the weights do not match")


@pytest.mark.parametrize(
    "source", ["hf://n", "hf://o/n/", "hf://o/n@", "hf://o/n/../x", "hf://o/n/a//b", "hf://o/n x", "hf://o/--n"]
)
def test_a_malformed_address_is_a_usage_error(source, server):
    assert refusal(load_generator, source, kind=UsageError).startswith(source)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["a.safetensors", "model.safetensors", "g.pth"], "model.safetensors"),
        (["g_02500000", "x/a.safetensors"], "x/a.safetensors"),
        (["do_02500000", "g_00005000", "g_02500000", "g.pth"], "g_02500000"),
        (["x/g_00000001", "x/g_100000000"], "x/g_100000000"),
        (["bigvgan_discriminator.pt", "generator.PT", "config.json"], "generator.PT"),
        (["netD.pt", "netG.pt"], "netG.pt"),
        (["x/g_00000001", "y/g_00000002"], "contains several models (x/g_00000001, y/g_00000002)"),
        (["a.safetensors", "b.safetensors", "g_00000001"], "contains several models (a.safetensors, b.safetensors)"),
        (["a.bin", "x/b.ckpt"], "contains several models (a.bin, x/b.ckpt)"),
        (["do_00000001", "config.json"], "contains no generator"),
    ],
)
def test_the_file_of_a_repository(names, chosen):
    if chosen in names:
        assert hub.choose(names, "hf://o/n") == chosen
    else:
        assert chosen in refusal(hub.choose, names, "hf://o/n")


def test_the_configuration_of_a_file():
    assert hub.config_of("x/g.pth", ["config.json", "x/config.json", "x/other.json"]) == "x/config.json"
    assert hub.config_of("x/g.pth", ["config.json", "x/v1.json"]) == "x/v1.json"
    assert hub.config_of("g.pth", ["x/config.json", "a.json", "b.json"]) is None


def test_a_generator_is_published_and_loaded(server, model, log_in, monkeypatch, capsys):
    log_in()
    private = {"input_wavs_dir": "/home/me/wavs", "checkpoint_path": "/home/me/cp"}
    config = load_generator(model[0]).config.replace(private)
    monkeypatch.setattr("hifigan_jax.publish.load_generator", lambda *_: load_generator(model[0])._replace(config=config))
    assert main(["convert", str(model[0]), "hf://me/voice", "--license", "cc-by-4.0", "--private"]) == 0
    repository = server.repositories["me/voice"]
    assert capsys.readouterr().out == f"{server.endpoint}/me/voice/commit/{repository.sha('main')}\n"
    assert repository.private
    assert repository.messages[1:] == ["Upload the generator after 8 steps"]
    assert set(repository.files()) == {SAFE, CONFIG, "README.md", ".gitattributes"}
    assert not any(b"/home" in content for content in repository.files().values())
    assert_same_generator("hf://me/voice", model[0])
    card = repository.files()["README.md"].decode()
    assert card.startswith("---\nlicense: cc-by-4.0\nlibrary_name: hifigan-jax\npipeline_tag: audio-to-audio\ntags:\n- vocoder\n")
    parameters = sum(leaf.size for leaf in jax.tree.leaves(load_generator(model[0]).params))
    for line in (
        'vocoder = Vocoder.from_pretrained("hf://me/voice")',
        f"| Parameters | {parameters:,} |",
        "| Training steps | 8 |",
        "| Sampling rate | 22,050 Hz |",
        "| Frequencies | 0 to 8000 Hz |",
        "| FFT, window, hop | 1024, 1024, 256 samples |",
        "| Mel convention | hifigan: logarithm to base e of at least 1e-05 |",
    ):
        assert line in card


def test_a_second_publication_keeps_the_model_card(server, model, log_in, tmp_path):
    log_in()
    publish(model[0], "hf://me/voice")
    repository = server.repositories["me/voice"]
    assert not repository.private
    assert b"license" not in repository.files()["README.md"]
    repository.commit({"README.md": b"my own words"}, "a better card")
    (tmp_path / STEP).write_bytes(model[1][STEP])
    (tmp_path / CONFIG).write_bytes(model[1][CONFIG])
    before = dict(repository.files())
    publish(tmp_path / STEP, "hf://me/voice", message="again")
    assert repository.messages[-1] == "again"
    assert repository.files()["README.md"] == b"my own words"
    assert repository.files()[CONFIG] == before[CONFIG]
    assert_same_generator("hf://me/voice", model[0])


def test_a_generator_is_published_on_a_branch(server, model, log_in):
    log_in()
    repository = server.repositories["me/voice"] = Repository({SAFE: b"old"})
    repository.commit({}, "a branch", "v2")
    publish(model[0], "hf://me/voice@v2")
    assert repository.files("main") == {SAFE: b"old"}
    assert_same_generator("hf://me/voice@v2", model[0])
    assert 'from_pretrained("hf://me/voice@v2")' in repository.files("v2")["README.md"].decode()


@pytest.mark.parametrize(
    ("token", "target", "private", "kind", "message"),
    [
        (None, "hf://me/voice", False, CheckpointError, "no permission (401): run `hf auth login` or set HF_TOKEN with a token"),
        ("reader", "hf://me/voice", False, CheckpointError, "no permission (403)"),
        (Hub.TOKEN, "hf://you/voice", False, CheckpointError, "no permission (403)"),
        (Hub.TOKEN, "hf://me/public", True, UsageError, "exists and is public: make it private in its settings"),
        (Hub.TOKEN, "hf://me/public@none", False, CheckpointError, "has no revision 'none'"),
        (Hub.TOKEN, "hf://me/voice/g.safetensors", False, UsageError, "name a repository without a file: hf://me/voice"),
    ],
)
def test_what_cannot_be_published_is_one_line(token, target, private, kind, message, server, model, log_in):
    server.repositories["me/public"] = Repository()
    if token:
        log_in(token)
    before = dict(server.repositories["me/public"].files())
    with pytest.raises(kind) as caught:
        publish(model[0], target, private=private)
    assert str(caught.value).startswith(f"{target}: {message}")
    assert "\n" not in str(caught.value)
    assert server.repositories["me/public"].files() == before


def test_flags_of_the_hub_need_a_repository(capfd, tmp_path):
    assert main(["convert", "universal_v1", str(tmp_path / "new"), "--private", "--license", "mit"]) == 2
    assert "--license, --private: only for a target hf://OWNER/NAME" in capfd.readouterr().err
    assert main(["convert", "universal_v1", "hf://o/n", "--license", "MIT\nx: y"]) == 2


def test_without_huggingface_hub_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    message = "huggingface_hub is not installed: pip install 'hifigan-jax[hub]'"
    assert refusal(load_generator, "hf://o/n", kind=UsageError) == message


def test_a_cache_that_cannot_be_written_is_a_disk_error(server, model, tmp_path, monkeypatch):
    server.repositories["o/n"] = Repository({SAFE: model[1][SAFE]})
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "file"))
    message = refusal(hub.fetch, "hf://o/n", kind=DiskError)
    assert message.startswith(f"{tmp_path}/file")
    assert message.endswith("cannot be written: Not a directory")


@pytest.mark.slow
def test_a_new_process_finds_the_hub_by_its_environment_and_then_needs_none(server, model, tmp_path):
    server.repositories["o/n"] = Repository({SAFE: model[1][SAFE]})
    program = "from hifigan_jax import Vocoder; print(Vocoder.from_pretrained('hf://o/n').sampling_rate)"
    environment = os.environ | {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    for extra in ({}, {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}):
        command = [sys.executable, "-c", program]
        made = subprocess.run(command, env=environment | extra, stdout=subprocess.PIPE, text=True, check=True)
        assert json.loads(made.stdout) == 22050
