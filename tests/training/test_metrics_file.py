"""metrics.jsonl: what a new start keeps of it, and a disk that is full for a while."""

import errno
import json
import os
import random

import pytest

from hifigan_jax.training import metrics_file
from hifigan_jax.training.metrics_file import MetricsFile, keep_up_to

LINES = [b'{"step": %d, "training/gen_loss_total": %d.5}\n' % (step, step) for step in range(1, 9)]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(LINES))
    return path


def test_lines_up_to_the_step_remain_as_they_are(path):
    keep_up_to(path, 5)
    assert path.read_bytes() == b"".join(LINES[:5])


def test_a_file_without_anything_to_remove_is_not_written_again(path):
    before = path.stat()
    keep_up_to(path, 8)
    assert path.stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    "damaged",
    [
        b"\x80" + LINES[2],
        b"[" * 100_000 + b"\n",
        b'{"step": ' + b"9" * 5000 + b"}\n",
        b"[1, 2]\n",
        b"3\n",
        b"null\n",
        b"\n",
        b'{"step": NaN}\n',
        b'{"step": true}\n',
        b'{"step": 2.0}\n',
        b'{"step": "2"}\n',
        b'{"step": -1}\n',
        b'{"steps": 1}\n',
        b"x" * 3_000_000 + b"\n",
        b"\0" * 4096 + b"\n",
    ],
    ids=lambda line: line[:20].decode("ascii", "replace"),
)
def test_a_damaged_line_is_removed_with_a_warning_and_the_others_are_kept(path, damaged, caplog):
    path.write_bytes(b"".join([*LINES[:3], damaged, *LINES[3:]]))
    keep_up_to(path, 6)
    assert path.read_bytes() == b"".join(LINES[:6])
    assert "damaged lines are removed" in caplog.text


def test_an_incomplete_last_line_is_the_trace_of_a_kill_and_no_reason_to_warn(path, caplog):
    path.write_bytes(b"".join(LINES)[:-10])
    keep_up_to(path, 8)
    assert path.read_bytes() == b"".join(LINES[:7])
    assert caplog.text == ""


def test_a_last_line_that_lacks_only_its_end_is_kept(path):
    path.write_bytes(b"".join(LINES)[:-1])
    keep_up_to(path, 8)
    assert path.read_bytes() == b"".join(LINES)


def test_no_mutant_stops_a_run_and_what_is_kept_was_there(path):
    random.seed(26)
    original = b"".join(LINES)
    for _ in range(300):
        mutant = bytearray(original)
        for _ in range(random.choice([1, 1, 3, 20])):
            at = random.randrange(len(mutant))
            mutant[at : at + random.choice([0, 1, 1, 1, 30])] = bytes(random.choices(range(256), k=random.choice([0, 1, 1, 5])))
        path.write_bytes(mutant)
        MetricsFile(path, 5).add(6, {"a": 1.0})
        *kept, added = path.read_bytes().split(b"\n")[:-1]
        assert json.loads(added) == {"step": 6, "a": 1.0}
        mutated = bytes(mutant).split(b"\n")
        assert all(json.loads(line)["step"] <= 5 and line in mutated for line in kept)
        assert [line for line in LINES[:5] if line[:-1] in mutated] == [line for line in LINES[:5] if line[:-1] in kept]


@pytest.fixture
def full_disk(monkeypatch):
    """full_disk(True): appends to files fail from now on."""

    def fill(full):
        def fails(path, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.undo()
        if full:
            monkeypatch.setattr(metrics_file, "append_whole", fails)

    return fill


def test_lines_wait_in_memory_while_the_disk_is_full(path, full_disk, caplog):
    log = MetricsFile(path, 8)
    full_disk(True)
    for step in (9, 10):
        log.add(step, {"a": float(step)})
    assert path.read_bytes() == b"".join(LINES)
    assert caplog.text.count("cannot be written: No space left on device") == 1
    full_disk(False)
    log.add(11, {"a": 11.0})
    assert [json.loads(line)["step"] for line in path.read_bytes().splitlines()] == list(range(1, 12))
    assert "can be written again" in caplog.text


def test_a_folder_in_its_place_is_a_warning(tmp_path, caplog):
    (tmp_path / "metrics.jsonl").mkdir()
    log = MetricsFile(tmp_path / "metrics.jsonl", 0)
    log.add(1, {"a": 1.0})
    assert caplog.text.count("metrics.jsonl: cannot be written: Is a directory") == 1
    (tmp_path / "metrics.jsonl").rmdir()
    log.flush()
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "a": 1.0}


def test_a_link_stays_a_link(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    keep_up_to(tmp_path / "link", 5)
    assert (tmp_path / "link").is_symlink()
    assert path.read_bytes() == b"".join(LINES[:5])


def test_a_pipe_does_not_block_the_run(tmp_path, caplog):
    os.mkfifo(tmp_path / "metrics.jsonl")
    MetricsFile(tmp_path / "metrics.jsonl", 0).add(1, {"a": 1.0})
    (message,) = caplog.messages
    assert "metrics.jsonl: cannot be written: is a device or a pipe" in message
