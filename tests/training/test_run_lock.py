"""The lock on a run's folder."""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

import hifigan_jax
from hifigan_jax.errors import DiskError
from hifigan_jax.training import run_lock
from hifigan_jax.training.run_lock import FolderInUse, check_unlocked, locked

HOLD = """
import pathlib, sys
from hifigan_jax.training import run_lock
if sys.argv[2] == "without":
    run_lock.fcntl = None
with run_lock.locked(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    input()
"""


@pytest.fixture(params=["flock", "without"])
def system(request, monkeypatch):
    """A file system with flock, and one without."""
    if request.param == "without":

        def unsupported(*_):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(run_lock.fcntl, "flock", unsupported)
    return request.param


@pytest.fixture
def holder(system):
    """holder(folder): a process that holds the folder's lock until it gets a line."""
    with contextlib.ExitStack() as exit:

        def start(folder):
            environment = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(hifigan_jax.__file__))}
            command = [sys.executable, "-c", HOLD, str(folder), system]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
            exit.enter_context(process)
            exit.callback(process.kill)
            assert process.stdout.readline() == b"locked\n"
            return process

        yield start


def test_a_second_process_is_told_who_holds_the_lock(tmp_path, holder):
    process = holder(tmp_path)
    for take in (check_unlocked, lambda folder: locked(folder).__enter__()):
        with pytest.raises(FolderInUse) as caught:
            take(tmp_path)
        who = f"process {process.pid} on {socket.gethostname()}"
        assert str(caught.value) == f"{tmp_path}: {who} trains in it: stop that process or choose another --checkpoint_path"
    assert caught.value.exit_code == 5
    process.communicate(b"\n")
    with locked(tmp_path):
        pass


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, holder):
    process = holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with locked(tmp_path), pytest.raises(FolderInUse, match=f"process {os.getpid()} on "):
        check_unlocked(tmp_path)
    check_unlocked(tmp_path)


def test_an_error_releases_the_lock(tmp_path, system):
    with pytest.raises(KeyError), locked(tmp_path / "new"):
        raise KeyError
    check_unlocked(tmp_path / "new")
    with locked(tmp_path / "new"):
        pass


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # jax's threads and fork
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_a_forked_child_does_not_hold_the_lock(tmp_path):
    with locked(tmp_path):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        for _ in range(100):  # the child closes its copy at once, but not at the same time
            with contextlib.suppress(FolderInUse):
                check_unlocked(tmp_path)
                break
            time.sleep(0.05)
        check_unlocked(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_program_that_is_started_does_not_hold_the_lock(tmp_path):
    with locked(tmp_path):
        other = subprocess.Popen(["sleep", "60"], close_fds=False)
    check_unlocked(tmp_path)
    other.kill()
    other.wait()


@pytest.mark.parametrize("content", [b"", b"\x80", b"[" * 9000, b'{"pid": 1}', b'{"pid": "1", "host": 2, "started": 3}', b"3"])
def test_any_content_of_the_lock_file_is_survived(tmp_path, content):
    (tmp_path / "run.lock").write_bytes(content)
    with locked(tmp_path):
        pass
    with open(tmp_path / "run.lock", "rb+") as file:
        run_lock.fcntl.flock(file, run_lock.fcntl.LOCK_EX)
        file.truncate(0)
        file.write(content)
        file.flush()
        with pytest.raises(FolderInUse, match="another process trains in it"):
            check_unlocked(tmp_path)


@pytest.mark.parametrize("side", [-1, 1], ids=["old", "of a clock that was set back"])
@pytest.mark.parametrize("system", ["without"], indirect=True)
def test_without_flock_a_lock_of_another_host_is_stale_once_it_is_not_renewed(tmp_path, system, side):
    with locked(tmp_path):
        pass
    owner = tmp_path / run_lock.NAME_WITHOUT_FLOCK
    owner.write_text(json.dumps({"pid": 1, "host": "elsewhere", "started": "5"}))
    with pytest.raises(FolderInUse, match="process 1 on elsewhere"):
        check_unlocked(tmp_path)
    then = time.time() + side * (run_lock.EXPIRY + 10)
    os.utime(owner, (then, then))
    with locked(tmp_path):
        assert json.loads(owner.read_text())["pid"] == os.getpid()
    assert not owner.exists()


@pytest.mark.parametrize("system", ["without"], indirect=True)
def test_without_flock_a_full_disk_leaves_no_lock(tmp_path, system, full_after):
    (tmp_path / run_lock.NAME).touch()
    with full_after(0), pytest.raises(DiskError, match="No space left|File too large"):
        check_unlocked(tmp_path)
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("system", ["without"], indirect=True)
def test_without_flock_the_number_of_a_process_that_came_later_is_no_owner(tmp_path, system):
    with locked(tmp_path):
        owner = json.loads((tmp_path / run_lock.NAME_WITHOUT_FLOCK).read_text())
    (tmp_path / run_lock.NAME_WITHOUT_FLOCK).write_text(json.dumps(owner | {"started": "5"}))
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("system", ["without"], indirect=True)
def test_without_flock_the_owner_renews_its_lock(tmp_path, system, monkeypatch):
    monkeypatch.setattr(run_lock, "RENEWAL", 0.01)
    with locked(tmp_path):
        path = tmp_path / run_lock.NAME_WITHOUT_FLOCK
        os.utime(path, (0, 0))
        for _ in range(500):
            if path.stat().st_mtime:
                break
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="cannot be written: .*: choose another --checkpoint_path"), locked(tmp_path / "file"):
        pass

    def read_only(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(run_lock.os, "open", read_only)
    with pytest.raises(DiskError, match="Read-only file system: choose another"), locked(tmp_path):
        pass


@pytest.mark.parametrize("name", ["nul\0", "long" * 100])
def test_an_impossible_name_is_an_error(tmp_path, name):
    check_unlocked(tmp_path / name)
    with pytest.raises(DiskError, match="cannot be written: .*: choose another --checkpoint_path"), locked(tmp_path / name):
        pass
