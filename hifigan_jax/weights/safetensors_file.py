"""Generators in safetensors files: tensors under PyTorch names, the configuration in the metadata."""

from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from hifigan_jax.errors import CheckpointError
from hifigan_jax.files import atomic_write

CONFIG = "config"  # metadata key


def write_safetensors(path: str | Path, state_dict: dict[str, np.ndarray], config: str) -> None:
    """Writes the tensors and `config`, a JSON text, atomically. Raises DiskError."""
    content = safetensors.numpy.save(state_dict, metadata={CONFIG: config, "format": "pt"})
    with atomic_write(path) as temporary:
        Path(temporary).write_bytes(content)


def is_safetensors(path: str | Path) -> bool:
    """Whether the file starts like a safetensors file: eight bytes of header length, then a JSON object."""
    try:
        with open(path, "rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:
        return False


def read_safetensors(path: str | Path) -> tuple[dict[str, Any], str | None]:
    """The tensors by name, and the JSON text of the configuration or None. Raises CheckpointError."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, (file.metadata() or {}).get(CONFIG)  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (safetensors.SafetensorError, ValueError, TypeError, AttributeError) as error:  # the last: unknown dtypes
        raise CheckpointError(f"{path}: not a safetensors file, or damaged ({error!s:.100}): fetch it again") from None
