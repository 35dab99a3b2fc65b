import os
import pathlib
import subprocess
import sys

import pytest

from hifigan_jax.errors import DataError, DiskError
from hifigan_jax.files import append_whole, atomic_folder, atomic_write, clear_temporary


def write(path, text="new"):
    with atomic_write(path) as temporary:
        pathlib.Path(temporary).write_text(text)


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path) as temporary:
        pathlib.Path(temporary).write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(OSError(28, "No space left"), DiskError), (KeyboardInterrupt(), KeyboardInterrupt), (KeyError(), KeyError)],
)
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, raised, expected):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted():
        with atomic_write(path) as temporary:
            pathlib.Path(temporary).write_text("half")
            raise raised

    with pytest.raises(expected):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folders_are_created(tmp_path):
    write(tmp_path / "new" / "folder" / "a.txt")
    assert (tmp_path / "new" / "folder" / "a.txt").read_text() == "new"


def test_the_umask_is_respected(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "a.txt")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_obstacles_are_disk_errors_and_are_not_removed(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "file" / "a.txt", tmp_path / "taken"):
        with pytest.raises(DiskError) as caught:
            write(path)
        reason = "Is a directory" if path.is_dir() else f"{path.parent} is not a folder"
        assert str(caught.value) == f"{path}: cannot be written: {reason}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]


def test_a_pipe_or_device_is_refused_and_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")  # as /dev/stdout is
    for name in ("pipe", "link"):
        with pytest.raises(DiskError, match=f"{name}: cannot be written: is a device or a pipe: choose the name of a file"):
            write(tmp_path / name)
    with pytest.raises(DiskError, match="pipe: cannot be written: is not a folder"), atomic_folder(tmp_path / "pipe"):
        pass
    assert (tmp_path / "link").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_a_name_can_have_all_the_bytes_that_the_file_system_allows(tmp_path):
    write(tmp_path / ("a" * 255))
    assert (tmp_path / ("a" * 255)).read_text() == "new"


def test_a_name_that_is_too_long_concerns_that_file_only(tmp_path):
    with pytest.raises(DataError, match="File name too long: choose another name"):
        write(tmp_path / ("a" * 256))
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from hifigan_jax.files import atomic_write
with atomic_write(sys.argv[1]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_temporary_files_of_killed_processes_are_deleted_and_no_others(tmp_path):
    root = pathlib.Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.txt")], cwd=root, check=False)
    (left,) = tmp_path.iterdir()
    (tmp_path / ".hifigan_jax-another_host-1-x.tmp").touch()
    (tmp_path / "b.tmp").touch()
    with atomic_write(tmp_path / "c.txt") as temporary:
        clear_temporary(tmp_path)
        assert not left.exists()
        assert pathlib.Path(temporary).exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hifigan_jax-another_host-1-x.tmp", "b.tmp", "c.txt"]
    clear_temporary(tmp_path / "absent")


def test_an_append_that_fails_changes_nothing(tmp_path, full_after):
    path = tmp_path / "a.txt"
    append_whole(path, b"one\n")
    with full_after(2), pytest.raises(OSError, match="File too large"):  # two bytes are written, then none
        append_whole(path, b"two\n")
    assert path.read_bytes() == b"one\n"
    append_whole(path, b"three\n")
    assert path.read_bytes() == b"one\nthree\n"


def test_a_folder_takes_the_place_of_an_earlier_one_when_it_is_complete(tmp_path):
    path = tmp_path / "site"
    for text in ("first", "second"):
        with atomic_folder(path) as folder:
            (folder / f"{text}.txt").write_text(text)
            assert not (path / f"{text}.txt").exists()
        assert [file.name for file in path.iterdir()] == [f"{text}.txt"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("raised", "expected"), [(OSError(28, "No space left"), DiskError), (KeyError(), KeyError)])
@pytest.mark.parametrize("exists", [False, True])
def test_an_interrupted_folder_leaves_the_old_one_and_nothing_else(tmp_path, raised, expected, exists):
    path = tmp_path / "site"
    if exists:
        write(path / "a.txt", "old")

    def interrupted():
        with atomic_folder(path) as folder:
            write(folder / "a.txt", "half")
            raise raised

    with pytest.raises(expected):
        interrupted()
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.txt")] == ["site/a.txt"] * exists
    assert len(list(tmp_path.iterdir())) == exists


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "site"
    write(path / "a.txt", "old")
    rename = pathlib.Path.rename

    def failing(self, target):
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(pathlib.Path, "rename", failing)
    with pytest.raises(DiskError, match="Input/output error"), atomic_folder(path) as folder:
        write(folder / "a.txt")
    assert (path / "a.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_below_a_file_is_a_disk_error(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DiskError, match="site: cannot be written: .*file is not a folder"),
        atomic_folder(tmp_path / "file" / "site"),
    ):
        pass


def test_an_error_of_a_file_in_a_folder_has_the_name_that_it_would_get(tmp_path):
    def failing():
        with atomic_folder(tmp_path / "site") as folder:
            write(folder / "a.txt")
            write(folder / "a.txt" / "b.txt")

    with pytest.raises(DiskError) as caught:
        failing()
    b = tmp_path / "site" / "a.txt" / "b.txt"
    assert str(caught.value) == f"{b}: cannot be written: {b.parent} is not a folder"
    assert not list(tmp_path.iterdir())
