"""The files of a demo; test_demo_browser.py opens them."""

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from hifigan_jax import checkpoint
from hifigan_jax.audio import read_audio, write_wav
from hifigan_jax.cli import main
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.export.demo import runtime, write_demo
from hifigan_jax.loading import load_generator

pytest.importorskip("onnx")

PAGE = {"index.html", "demo.css", "demo.js", "player.js", "worker.js", "vocoder.onnx", "mel.onnx", "demo.json"}
HOSTILE = "</script><b>&\"'$x"


@pytest.fixture(scope="module")
def generator(shared_tiny_config, tiny_leaves, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    return load_generator(checkpoint.write(folder, {"generator": tiny_leaves}, shared_tiny_config))


@pytest.fixture
def package(tmp_path):
    """A folder like npm's package."""
    (tmp_path / "package" / "dist").mkdir(parents=True)
    for name in runtime.FILES:
        (tmp_path / "package" / "dist" / name).write_bytes(name.encode())
    (tmp_path / "package" / "dist" / "ort.all.js").write_bytes(b"not needed")
    return tmp_path / "package"


def files_in(site):
    return {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}


def settings_of(site):
    page = (site / "index.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'id="settings">(.*?)</script>', page)[1])


def test_a_site_has_the_page_the_graphs_and_only_the_needed_files_of_the_runtime(generator, package, tmp_path):
    write_demo(generator, tmp_path / "site", "a", runtime_folder=package)
    assert files_in(tmp_path / "site") == PAGE | {f"runtime/{name}" for name in runtime.FILES}
    settings = settings_of(tmp_path / "site")
    for file in settings["files"].values():
        name, _, version = file["url"].partition("?")
        digest = hashlib.sha384((tmp_path / "site" / name).read_bytes()).digest()
        assert version == digest.hex()[:8]
        assert file["integrity"] == "sha384-" + base64.b64encode(digest).decode()
    assert {key: settings[key] for key in ("rate", "hop", "bins", "shortest")} == dict(rate=22050, hop=256, bins=80, shortest=384)
    assert 10 ** (10 * settings["decibels"] / 20) == pytest.approx(np.exp(10))  # a difference of 10 in a natural-log mel
    assert list(tmp_path.glob(".*")) == []


def test_without_a_runtime_the_page_names_its_version_and_hashes(generator, tmp_path):
    write_demo(generator, tmp_path / "site", "a")
    assert files_in(tmp_path / "site") == PAGE
    files = settings_of(tmp_path / "site")["files"]
    for key, name in (("script", "ort.wasm.bundle.min.mjs"), ("wasm", "ort-wasm-simd-threaded.wasm")):
        assert files[key]["url"] == f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{runtime.VERSION}/dist/{name}"
        assert re.fullmatch(r"sha384-[\w+/]{64}", files[key]["integrity"])


def test_a_name_is_escaped(generator, tmp_path):
    write_demo(generator, tmp_path / "site", HOSTILE + "\n")
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "&lt;/script&gt;&lt;b&gt;&amp;&quot;" in page
    assert page.count("</script>") == 3


def test_half_precision_halves_the_graph(generator, tmp_path):
    sizes = {}
    for precision in ("float32", "float16"):
        write_demo(generator, tmp_path / precision, "a", precision)
        sizes[precision] = (tmp_path / precision / "vocoder.onnx").stat().st_size
    assert sizes["float16"] < 0.8 * sizes["float32"]  # the tiny one has many small constants


def test_a_sample_is_offered_at_the_model_s_rate(generator, tmp_path):
    write_wav(tmp_path / "a.wav", np.full(44100 * 40, 0.5, np.float32), 44100)
    write_demo(generator, tmp_path / "site", "a", sample=tmp_path / "a.wav")
    audio, rate = read_audio(tmp_path / "site" / "sample.wav")
    assert (audio.size, rate) == (30 * 22050, 22050)
    assert 'id="sample"' in (tmp_path / "site" / "index.html").read_text()


def test_an_earlier_demo_is_replaced_and_its_other_files_are_removed(generator, package, tmp_path):
    site = tmp_path / "site"
    site.mkdir()  # an empty folder is written to
    write_demo(generator, site, "first", runtime_folder=package)
    write_demo(generator, site, "second", runtime_folder=site / "runtime")
    assert (site / "runtime").is_dir()
    write_demo(generator, site, "third")
    assert files_in(site) == PAGE
    assert "third" in (site / "index.html").read_text()


@pytest.mark.parametrize("demo", [False, True])
def test_a_folder_with_other_files_is_refused_and_left_alone(demo, generator, tmp_path):
    if demo:
        write_demo(generator, tmp_path / "site", "a")
    (tmp_path / "site" / ".git").mkdir(parents=True)
    (tmp_path / "site" / ".git" / "HEAD").write_text("ref")
    before = files_in(tmp_path / "site")
    with pytest.raises(UsageError, match="contains '.git/HEAD', which is not of a demo: choose a new or empty folder"):
        write_demo(generator, tmp_path / "site", "b")
    assert files_in(tmp_path / "site") == before
    with pytest.raises(UsageError, match="HEAD: is a file: choose a new folder"):
        write_demo(generator, tmp_path / "site" / ".git" / "HEAD", "b")


def test_the_current_folder_is_refused(generator, tmp_path, monkeypatch):
    (tmp_path / "site" / "inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "site" / "inside")
    for site in (Path(), tmp_path / "site"):
        with pytest.raises(UsageError, match="is the current folder, or above it"):
            write_demo(generator, site, "a")


def test_after_a_failure_the_earlier_demo_is_there(generator, tmp_path):
    write_demo(generator, tmp_path / "site", "a")
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    with pytest.raises(DataError, match=r"bad\.wav"):
        write_demo(generator, tmp_path / "site", "b", sample=tmp_path / "bad.wav")
    with pytest.raises(UsageError, match=r"does not contain ort\.wasm.*: run `npm pack onnxruntime-web@"):
        write_demo(generator, tmp_path / "site", "b", runtime_folder=tmp_path)
    assert "<strong>a</strong>" in (tmp_path / "site" / "index.html").read_text()
    assert list(tmp_path.glob(".*")) == []


def test_the_program_refuses_other_folders_before_it_loads_a_model(tmp_path, capfd):
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["demo", "no_such_model", str(tmp_path)]) == 2
    assert "contains 'notes.txt'" in capfd.readouterr().err
    assert main(["demo", "no_such_model", str(tmp_path / "new")]) == 4
    assert main(["demo", "no_such_model", str(tmp_path / ("a" * 256))]) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
