"""Atomic writes of files, and appends."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hifigan_jax.errors import DiskError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[str]:
    """Yields a temporary name to write to, and renames it to `path` when the block ends without an error.

    Creates the folder if it is missing. Raises DiskError if anything cannot be written. Always removes the temporary file.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(descriptor)
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error}") from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def append_whole(path: str | Path, content: bytes) -> None:
    """Appends `content` to a file, which is created if it is missing. If that raises an OSError, the file is as before."""
    with open(path, "ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            file.truncate(end)
            raise


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
