"""The manifest of a checkpoint: what the step contains, and the SHA-256 of everything in it, the manifest included.

    format   2; 1 in older checkpoints, which have no `sha256` and do not list config.json
    step     number of updates done; also the folder's name
    data     identifies the training data, and whatever else the run notes
    leaves   shape and dtype of every array, by part and name
    files    SHA-256 of every other file of the step, by path
    sha256   of all the above, as canonical JSON

A flipped bit anywhere in a step is thus found, unless the JSON with it means the same.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from hifigan_jax.errors import CheckpointError

FOLDER = "checkpoints"  # of a run
FORMAT = 2
NAME = "manifest.json"
HINT = ": use another checkpoint"

_Dtype = Literal["float32", "int32", "uint32", "bfloat16", "float16", "float64", "int64", "uint64", "int8", "uint8", "bool"]
_Count = Annotated[int, pydantic.Field(ge=0, lt=2**63)]


class MismatchError(CheckpointError):
    """An intact checkpoint that cannot be used: of a newer version, or of another model. No older one is used in its place."""


class Leaf(pydantic.BaseModel):
    """Shape and dtype of an array."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)

    shape: list[_Count]
    dtype: _Dtype

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


class Manifest(pydantic.BaseModel):
    """The content of a manifest."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)

    format: _Count
    step: _Count
    data: dict[str, Any]
    leaves: dict[str, dict[str, Leaf]]
    files: dict[str, str]
    sha256: str = ""


def is_step(folder: Path) -> bool:
    """Whether this is a folder with the name of a step."""
    return re.fullmatch(r"[0-9]{8,}", folder.name) is not None and folder.is_dir()


def describe(leaf: Any) -> Leaf:
    """The shape and dtype of an array."""
    return Leaf(shape=list(np.shape(leaf)), dtype=str(leaf.dtype))


def write_manifest(folder: Path, step: int, leaves: Mapping[str, Mapping[str, Leaf]], data: Mapping[str, Any]) -> None:
    """Writes the manifest of the files that are in `folder`."""
    described = {part: {path: leaf.model_dump() for path, leaf in named.items()} for part, named in leaves.items()}
    files = {path.relative_to(folder).as_posix(): _file_digest(path) for path in _files(folder)}
    content = {"format": FORMAT, "step": step, "data": data, "leaves": described, "files": files}
    content = json.loads(json.dumps(content))  # as it will be read: keys are text
    text = json.dumps(content | {"sha256": _content_digest(content)}, indent=1)
    (folder / NAME).write_text(text, encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a step. Raises CheckpointError if it is damaged, of another step, or missing (an incomplete step)."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        number = content["format"]
        if type(number) is not int or number != 1 or "sha256" in content:
            rest = {key: value for key, value in content.items() if key != "sha256"}
            if content["sha256"] != _content_digest(rest):
                raise CheckpointError(f"{folder}: {NAME} is damaged (its checksum differs){HINT}")
            if number > FORMAT:
                raise MismatchError(f"{folder}: written by a newer version: update hifigan_jax")
        manifest = Manifest.model_validate(content)
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: not a complete checkpoint: {NAME} is missing{HINT}") from None
    except OSError as error:
        raise CheckpointError(f"{folder}: {NAME} cannot be read: {error.strerror}{HINT}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{folder}: {NAME} is damaged ({type(error).__name__}){HINT}") from None
    if folder.parent.name == FOLDER and is_step(folder) and int(folder.name) != manifest.step:
        raise CheckpointError(f"{folder}: contains step {manifest.step}: rename the folder")
    return manifest


def verify(folder: Path, manifest: Manifest, part: str) -> None:
    """Raises CheckpointError if a file of `part`, a folder or a file of the step, is not as it was written."""
    present = {path.relative_to(folder).as_posix(): path for path in _files(folder / part)}
    for name, checksum in manifest.files.items():
        if name != part and not name.startswith(part + "/"):
            continue
        if name not in present:
            raise CheckpointError(f"{folder}: {name} is missing{HINT}")
        try:
            intact = _file_digest(present[name]) == checksum
        except OSError as error:
            raise CheckpointError(f"{folder}: {name} cannot be read: {error.strerror}{HINT}") from None
        if not intact:
            raise CheckpointError(f"{folder}: {name} is damaged (its checksum differs){HINT}")


def _files(path: Path) -> list[Path]:
    """A file itself, or all files in a folder."""
    return [path] if path.is_file() else sorted(inside for inside in path.rglob("*") if inside.is_file())


def _file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content_digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
