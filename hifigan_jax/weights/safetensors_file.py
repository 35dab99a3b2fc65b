"""Generators in safetensors files: tensors under the reference's names, the configuration in the file's metadata."""

from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from hifigan_jax.errors import CheckpointError
from hifigan_jax.files import atomic_write

CONFIG = "config"  # the metadata's key


def write_safetensors(path: str | Path, state_dict: dict[str, np.ndarray], config: str) -> None:
    """Writes the tensors and `config`, a JSON text, whole or not at all. Raises DiskError."""
    content = safetensors.numpy.save(state_dict, metadata={CONFIG: config, "format": "pt"})
    with atomic_write(path) as temporary:
        Path(temporary).write_bytes(content)


def is_safetensors(path: str | Path) -> bool:
    """Whether the file starts as safetensors do: eight bytes of length, then a JSON object."""
    try:
        with open(path, "rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:
        return False


def read_safetensors(path: str | Path) -> tuple[dict[str, Any], str | None]:
    """The tensors by name and the configuration's JSON text, if the file has one. Raises CheckpointError."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, (file.metadata() or {}).get(CONFIG)  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read: {error.strerror or error}") from None
    except (safetensors.SafetensorError, ValueError, TypeError, AttributeError) as error:  # the last: dtypes that numpy lacks
        raise CheckpointError(f"{path}: no safetensors file, or damaged ({error!s:.100}): fetch it again") from None
