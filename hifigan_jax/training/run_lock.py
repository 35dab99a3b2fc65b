"""The lock on a run's folder: only one program trains in it.

The system's lock (flock) on a file that stays is released when the process ends, however it ends. On file systems without such
locks, a second file that names the process is the lock; it is stale if that process no longer exists, or, if it ran on another
host, once it is no longer renewed.
"""

import contextlib
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hifigan_jax.errors import DiskError
from hifigan_jax.files import process_exists

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME, NAME_WITHOUT_FLOCK = "run.lock", "run.lock.owner"
RENEWAL, EXPIRY = 10, 60  # seconds; of a lock without flock

_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)


class FolderInUse(DiskError):
    """Another process trains in the folder."""

    def __init__(self, folder: Path, owner: "Owner | None"):
        who = "another process" if owner is None else f"process {owner.pid} on {owner.host}"
        super().__init__(f"{folder}: {who} trains in it: stop that process or choose another --checkpoint_path")


class Owner(NamedTuple):
    """The process that holds a lock. `started` distinguishes it from others of the same number."""

    pid: int
    host: str
    started: str

    @classmethod
    def here(cls) -> "Owner":
        """This process."""
        return cls(os.getpid(), socket.gethostname(), _started(os.getpid()))

    @classmethod
    def named_in(cls, path: Path) -> "Owner | None":
        """The process that a lock file names, None if there is no such file or its content is something else."""
        try:
            with open(path, "rb") as file:
                content = json.loads(file.read(10_000).decode())
            owner = cls(*(content[name] for name in cls._fields))
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            return None
        return owner if [type(value) for value in owner] == [int, str, str] else None

    def exists(self) -> bool:
        """Whether this process of the same host still exists."""
        return process_exists(self.pid) and self.started == _started(self.pid)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock on a run's folder, which is created if it is missing.

    Raises FolderInUse, which names the process that holds the lock, and DiskError if the folder cannot be written.
    """
    with contextlib.ExitStack() as release:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            release.callback(os.close, descriptor)
            if _flock(descriptor, folder):
                _close_in_children(descriptor, release)
                _name_owner(descriptor, release)
            else:
                _hold_without_flock(folder, release)
        except (OSError, ValueError) as error:  # ValueError: NUL in the name
            reason = getattr(error, "strerror", None) or error
            raise DiskError(f"{folder}: cannot be written: {reason}: choose another --checkpoint_path") from None
        yield


def check_unlocked(folder: Path) -> None:
    """Raises FolderInUse if another process trains in the folder. Takes no time, so that a second run ends before it compiles."""
    if os.path.exists(folder / NAME):
        with locked(folder):
            pass


def _flock(descriptor: int, folder: Path) -> bool:
    """Locks an open file. False if the file system has no locks. Raises FolderInUse."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FolderInUse(folder, _soon(folder / NAME)) from None
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def _soon(path: Path) -> Owner | None:
    """The process that a lock file names, which may just be about to write its name."""
    for _ in range(10):
        if (owner := Owner.named_in(path)) is not None:
            return owner
        time.sleep(0.02)
    return None


def _close_in_children(descriptor: int, release: contextlib.ExitStack) -> None:
    """A forked child, which may live longer, does not hold the lock."""
    held = [descriptor]
    release.callback(held.clear)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: [os.close(descriptor) for descriptor in held])


def _name_owner(descriptor: int, release: contextlib.ExitStack) -> None:
    """Writes this process into the lock file as far as the disk allows; the lock does not depend on it."""
    release.callback(_overwrite, descriptor, b"")
    _overwrite(descriptor, json.dumps(Owner.here()._asdict()).encode())


def _overwrite(descriptor: int, content: bytes) -> None:
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)


def _hold_without_flock(folder: Path, release: contextlib.ExitStack) -> None:
    path, owner = folder / NAME_WITHOUT_FLOCK, Owner.here()
    for _ in range(3):
        with contextlib.suppress(FileExistsError):
            _create(path, owner)
            break
        with contextlib.suppress(FileNotFoundError):  # another process has just removed it
            _remove_stale(path, folder)
    else:
        raise FolderInUse(folder, Owner.named_in(path))
    release.callback(lambda: Owner.named_in(path) == owner and path.unlink(missing_ok=True))
    ended = threading.Event()
    threading.Thread(target=_renew, args=(path, ended), name="lock", daemon=True).start()
    release.callback(ended.set)


def _create(path: Path, owner: Owner) -> None:
    """Creates a lock file; nothing remains if the disk is full. Raises OSError."""
    with open(path, "xb", buffering=0) as file:
        try:
            file.write(json.dumps(owner._asdict()).encode())
        except OSError:
            path.unlink()
            raise


def _renew(path: Path, ended: threading.Event) -> None:
    while not ended.wait(RENEWAL):
        with contextlib.suppress(OSError):
            os.utime(path)


def _remove_stale(path: Path, folder: Path) -> None:
    """Removes a lock file whose process is gone. Raises FolderInUse if it may exist."""
    owner = Owner.named_in(path)
    if owner is not None and owner.host == socket.gethostname() and os.name == "posix":
        in_use = owner.exists()
    else:
        os.utime(folder / NAME)  # both times are by the clock of the file system
        in_use = abs((folder / NAME).stat().st_mtime - path.stat().st_mtime) < EXPIRY  # the clock may have been set back
    if in_use:
        raise FolderInUse(folder, owner)
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    path.rename(aside)
    if Owner.named_in(aside) != owner:  # a third process has replaced it in the meantime
        aside.rename(path)
        raise FolderInUse(folder, Owner.named_in(path))
    aside.unlink()


def _started(pid: int) -> str:
    """When a process started, in ticks since the system did; empty where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
