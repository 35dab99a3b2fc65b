"""Which kind of file a path is, by its content."""

import json
import os
import shlex
import stat
import zipfile
from pathlib import Path
from typing import Any

from hifigan_jax import audio
from hifigan_jax.config import packaged_config
from hifigan_jax.errors import CheckpointError, DataError, UsageError
from hifigan_jax.folders import files_below
from hifigan_jax.inspection.arrays import describe_mels, describe_npy, describe_npz, describe_statistics
from hifigan_jax.inspection.description import Description, Fact, command
from hifigan_jax.inspection.exports import describe_onnx, describe_stablehlo
from hifigan_jax.inspection.recordings import describe_recording, describe_recordings
from hifigan_jax.inspection.runs import describe_reference_run, describe_run, describe_step
from hifigan_jax.inspection.texts import describe_json, describe_results, describe_text
from hifigan_jax.inspection.weights import describe_weights
from hifigan_jax.manifest import FOLDER, NAME, is_step
from hifigan_jax.weights.hub import is_hub
from hifigan_jax.weights.pretrained import PRETRAINED, pretrained_file
from hifigan_jax.weights.reference_run import generator_files
from hifigan_jax.weights.safetensors_file import is_safetensors

_WEIGHTS = (".safetensors", ".pth", ".pt", ".tar", ".ckpt", ".bin")
_ZIP = (b"PK\3\4", b"PK\5\6")
_BINARY = bytes({*range(32)} - {*b"\t\n\v\f\r"})  # bytes that no text contains, whatever its first letters are
# The first bytes of audio files; MP3 files without a tag begin with a frame header.
_AUDIO = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"caff", b"ID3", b"\xff\xfb", b"\xff\xf3")


def describe(path: Path, input_wavs_dir: str | None = None, config: str | Path | None = None) -> Description:
    """The description of a file or a folder, or of a pretrained model by its name. Raises HifiganError, OSError."""
    if is_hub(path):
        raise UsageError(f"{path}: inspect describes files: name those in the cache of the Hub")
    if not os.path.lexists(path) and str(path) in PRETRAINED:
        return _describe_pretrained(str(path), config)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'no such file'}") from None
    if stat.S_ISDIR(mode):
        return _describe_folder(path, config)
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: not a file, but a named pipe, device or socket")
    return _describe_file(path, input_wavs_dir, config)


def _describe_pretrained(name: str, config: str | Path | None) -> Description:
    found = describe_weights(pretrained_file(name), config or packaged_config(PRETRAINED[name].config))
    return found._replace(command=command("infer", "--checkpoint_file", name, "--input_wavs_dir", "DIR"))


def _describe_file(path: Path, input_wavs_dir: str | None, config: str | Path | None) -> Description:
    with open(path, "rb") as file:
        start = file.read(512)
    suffix = path.suffix.lower()
    if not start:
        raise DataError(f"{path}: empty: copy or write it again")
    if start.startswith(b"\x93NUMPY") or suffix == ".npy":
        return describe_npy(path)
    if start.startswith(_ZIP) and (suffix == ".npz" or _is_npz(path)):
        return describe_npz(path)
    if path.name.startswith("events.out.tfevents."):
        size = path.stat().st_size
        return Description(
            "TensorBoard log",
            [Fact("size", size, f"{size:,} bytes")],
            command=shlex.join(["tensorboard", "--logdir", str(path.parent)]),
        )
    if suffix in (".h5", ".hdf5"):
        return describe_statistics(path)
    if suffix == ".onnx":
        return describe_onnx(path)
    is_text = start.translate(None, delete=_BINARY) == start
    if suffix in audio.SUFFIXES or (start.startswith(_AUDIO) and not is_text):
        return describe_recording(path)
    if path.name == "generator.jax" or (path.name == NAME and (path.parent / "generator.jax").exists()):
        return _describe_folder(path.parent, config)
    if path.name == NAME and is_step(path.parent):
        return describe_step(path.parent)
    if suffix in _WEIGHTS or (not is_text and (is_safetensors(path) or start.startswith((*_ZIP, b"\x80")))):
        return describe_weights(path, config)
    is_object = start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and not start.startswith(b'{"step":')
    if suffix == ".json" or is_object:
        return describe_json(path)
    return describe_text(path, input_wavs_dir)


def _describe_folder(folder: Path, config: str | Path | None) -> Description:
    manifest = _json(folder / NAME)
    if isinstance(manifest, dict) and isinstance(manifest.get("platforms"), list):
        return describe_stablehlo(folder, manifest)
    if manifest is not None or is_step(folder):
        return describe_step(folder)
    if folder.resolve().name == FOLDER:
        return describe_run(folder.parent)
    if (folder / FOLDER).is_dir():
        return describe_run(folder)
    if generator_files(folder):
        return describe_reference_run(folder, config)
    if (folder / "results.json").is_file():
        return describe_results(folder)
    recordings, _ = files_below(folder, audio.SUFFIXES)
    if recordings:
        return describe_recordings(folder, recordings)
    mels, others = files_below(folder, {".npy"})
    if mels:
        return describe_mels(folder, mels)
    weights = [path for path in sorted(folder.iterdir()) if path.suffix in _WEIGHTS]
    hint = f": name a file in it, such as {weights[0]}" if weights else ""
    raise CheckpointError(f"{folder}: a folder without recordings, checkpoints or results ({others} other files){hint}")


def _json(path: Path) -> Any:
    """The content of a JSON file; empty if it is damaged, None if it does not exist."""
    if not path.is_file():  # also a named pipe, whose opening would wait
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
