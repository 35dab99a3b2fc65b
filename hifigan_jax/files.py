"""Atomic writes of files and folders, and appends."""

import errno
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hifigan_jax.errors import DataError, DiskError, HifiganError

# Temporary files are hidden and name their process, so that those of one that was killed can be recognized. The name that they
# will get may already be as long as the file system allows.
_HOST = re.sub(r"\W", "_", socket.gethostname())[:40]
_TEMPORARY = re.compile(rf"\.hifigan_jax-{_HOST}-(\d+)-.*\.tmp")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[str]:
    """Yields a temporary name to write to, and renames it to `path` when the block ends without an error.

    Creates the folder if it is missing. Raises DiskError if anything cannot be written, DataError if only the name is impossible.
    Always removes the temporary file.
    """
    path = Path(path)
    refuse_special(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(".tmp", f".hifigan_jax-{_HOST}-{os.getpid()}-", path.parent)
        os.close(descriptor)
    except OSError as error:
        raise _failure(path, error) from None
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise _failure(path, error) from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def refuse_special(path: Path) -> None:
    """Raises DiskError if `path` is a folder, a device or a pipe: a rename would replace such a thing, which root may do."""
    try:
        mode = path.stat().st_mode
    except OSError:  # missing, or the write will report it
        return
    if stat.S_ISDIR(mode):
        raise _failure(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    if not stat.S_ISREG(mode):
        raise DiskError(f"{path}: cannot be written: is a device or a pipe: choose the name of a file")


def clear_temporary(folder: Path) -> None:
    """Deletes the temporary files in a folder that processes of this host left there when they were killed."""
    with suppress(OSError):
        for path in folder.iterdir():
            if (found := _TEMPORARY.fullmatch(path.name)) and not process_exists(int(found[1])):
                path.unlink(missing_ok=True)


def process_exists(pid: int) -> bool:
    """Whether this host has a process of this number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user
        pass
    return True


def _failure(path: Path, error: OSError) -> HifiganError:
    reason = error.strerror or str(error)
    if error.errno == errno.EEXIST:  # of the folder above it
        reason = f"{error.filename} is not a folder"
    if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ):
        return DataError(f"{path}: cannot be written: {reason}: choose another name")
    return DiskError(f"{path}: cannot be written: {reason}")


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


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields a new folder to fill, which takes the place of `path`, and of all in it, when the block ends without an error.

    Raises DiskError if anything cannot be written or `path` is not a folder; `path` then is as before.
    """
    path = Path(path).resolve()
    if os.path.exists(path) and not os.path.isdir(path):
        raise DiskError(f"{path}: cannot be written: is not a folder: choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(".folder", f".hifigan_jax-{_HOST}-{os.getpid()}-", path.parent))
    except OSError as error:
        raise _failure(path, error) from None
    content, outgoing = temporary / "new", temporary / "old"
    try:
        content.mkdir()
        yield content
        if path.exists():
            path.rename(outgoing)
        content.rename(path)
    except DiskError as error:  # of a file in it
        raise DiskError(str(error).replace(str(content), str(path))) from None
    except OSError as error:
        raise _failure(path, error) from None
    finally:
        if outgoing.exists() and not path.exists():
            outgoing.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
