"""The files of a demo."""

import json
import math
import os
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from hifigan_jax import __version__, audio, web
from hifigan_jax.config import Mel
from hifigan_jax.errors import UsageError
from hifigan_jax.export.demo.runtime import SIZE, PageFile, copied, linked
from hifigan_jax.export.onnx import Precision, export_mel_onnx, export_onnx
from hifigan_jax.files import atomic_folder
from hifigan_jax.generator_file import Generator

SECONDS = 30  # the longest recording
CHUNK = 128  # frames that the page computes at once
MARK = "demo.json"  # lists the files of a demo


def write_demo(
    generator: Generator,
    site: Path,
    name: str,
    precision: Precision = "float32",
    runtime_folder: Path | None = None,
    sample: Path | None = None,
) -> None:
    """Writes the page, both graphs and, with `runtime_folder`, ONNX Runtime Web as the folder `site`, atomically.

    `name` is the model's name on the page. The page offers the recording `sample`. Raises UsageError if `site` contains anything
    but an earlier demo, or the family cannot be exported; DataError for `sample`; DiskError.
    """
    refuse_other_files(site)
    with atomic_folder(site) as folder:
        settings = _settings(generator)
        export_onnx(generator, folder / "vocoder.onnx", precision)
        export_mel_onnx(generator.config.mel, folder / "mel.onnx")
        script, wasm = linked() if runtime_folder is None else copied(runtime_folder, folder)
        graphs = {name: PageFile.of(folder, f"{name}.onnx") for name in ("mel", "vocoder")}
        files = {"script": script, "wasm": wasm, **graphs}
        size = sum((folder / f"{name}.onnx").stat().st_size for name in graphs) + SIZE
        settings |= {"files": {key: file._asdict() for key, file in files.items()}, "megabytes": math.ceil(size / 1e6)}
        if sample is not None:
            settings["sample"] = "sample.wav"
            audio.write_wav(folder / "sample.wav", _sample(sample, generator.config.mel), generator.config.mel.sampling_rate)
        _write_page(folder, settings, name, generator.config.mel)


def refuse_other_files(site: Path) -> None:
    """Raises UsageError if `site` exists and is neither empty nor a demo, so that nothing else is ever replaced."""
    if not os.path.exists(site):  # Path.exists raises an error for a name that is too long
        return
    if not site.is_dir():
        raise UsageError(f"{site}: is a file: choose a new folder")
    if Path.cwd().is_relative_to(site.resolve()):
        raise UsageError(f"{site}: is the current folder, or above it, and would be replaced: choose a folder inside it")
    known = _files_of_demo(site)
    files = (path.relative_to(site).as_posix() for path in site.rglob("*") if not path.is_dir() or path.is_symlink())
    if other := next((file for file in files if file not in known), None):
        raise UsageError(f"{site}: contains {other!r}, which is not of a demo: choose a new or empty folder")


def _files_of_demo(site: Path) -> set[str]:
    """The files that an earlier demo in this folder consists of; none if there is none."""
    try:
        return {MARK, *json.loads((site / MARK).read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _settings(generator: Generator) -> dict[str, Any]:
    """What the page's scripts need to know about the model."""
    mel = generator.config.mel
    module = generator.config.generator.build(mel)
    return {
        "rate": mel.sampling_rate,
        "hop": mel.hop_size,
        "bins": mel.num_mels,
        "shortest": max(*mel.padding, mel.hop_size - 1),  # samples; a recording needs more
        "context": module.receptive_field,  # frames
        "chunk": CHUNK,
        "seconds": SECONDS,
        "decibels": 20 * math.log10(math.e) if mel.convention.log_base == "e" else 20,  # of a mel's unit
    }


def _packaged(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _sample(path: Path, mel: Mel) -> Any:
    return audio.read_audio_at(path, mel.sampling_rate)[: SECONDS * mel.sampling_rate]


def _write_page(folder: Path, settings: dict[str, Any], name: str, mel: Mel) -> None:
    contents = {file: _packaged(file) for file in ("demo.js", "worker.js", "demo.css")} | {"player.js": web.player()}
    for file, content in contents.items():
        (folder / file).write_text(content, encoding="utf-8")
    address = {file: PageFile.of(folder, file).url for file in contents}
    settings |= {"worker": address["worker.js"]}
    shown = name if name.isprintable() else repr(name)
    texts = {
        "title": "Vocoder demo",
        "style": address["demo.css"],
        "player": address["player.js"],
        "script": address["demo.js"],
        "name": escape(shown),
        "seconds": str(SECONDS),
        "bins": str(mel.num_mels),
        "low": f"{mel.fmin:,.0f}",
        "high": f"{mel.sampling_rate / 2 if mel.fmax is None else mel.fmax:,.0f}",
        "version": escape(f"hifigan_jax {__version__}"),
        "sample": '<button type="button" id="sample">Use a sample</button>' if "sample" in settings else "",
        "settings": json.dumps(settings).replace("<", "\\u003c"),  # ends no script element
    }
    page = Template(_packaged("page.html")).substitute(texts)
    (folder / "index.html").write_text(page, encoding="utf-8")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    mark = {"made_by": f"hifigan_jax {__version__}", "files": files}
    (folder / MARK).write_text(json.dumps(mark, indent=1), encoding="utf-8")
