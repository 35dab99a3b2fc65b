"""Atomic writes of files and folders."""

import os
import shutil
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


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields a new folder to fill, which takes the place of `path`, and of all in it, when the block ends without an error.

    Raises DiskError if anything cannot be written; `path` then is as before.
    """
    path = Path(path).resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror}") from None
    content, outgoing = temporary / "new", temporary / "old"
    try:
        content.mkdir()
        yield content
        if path.exists():
            path.rename(outgoing)
        content.rename(path)
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error}") from None
    finally:
        if outgoing.exists() and not path.exists():
            outgoing.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
