"""Work over processes, and a program that is interrupted."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from hifigan_jax.errors import HifiganError
from hifigan_jax.evaluation.progress import progress, run


def double(x):
    return 2 * x


def die(x):
    os._exit(1)


def fail(x):
    raise ValueError(x)


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_of_all_tasks(jobs):
    assert sorted(run(double, [1, 2, 3], jobs, "doubling")) == [2, 4, 6]


def test_no_tasks_start_no_process():
    assert list(run(double, [], 2, "doubling")) == []


def test_a_process_that_dies_is_an_error_of_one_line():
    with pytest.raises(HifiganError, match="a process ended unexpectedly"):
        list(run(die, [1, 2], 2, "dying"))


def test_no_process_remains_after_an_error():
    with pytest.raises(ValueError, match="1|2"):
        list(run(fail, [1, 2], 2, "failing"))
    assert multiprocessing.active_children() == []


def wait(x):
    print("waiting", flush=True)
    time.sleep(100)


def test_no_process_remains_after_the_program_is_killed():
    program = "import test_progress as t; list(t.run(t.wait, [1, 2], 2, 'waiting'))"
    search = {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    parent = subprocess.Popen([sys.executable, "-c", program], env=os.environ | search, text=True, **pipes)
    assert [parent.stdout.readline() for _ in range(2)] == ["waiting\n"] * 2
    parent.kill()
    parent.communicate(timeout=30)  # returns when the last process has closed the pipe


def test_the_bar_is_shown_on_terminals_only(capsys, monkeypatch):
    assert list(progress([1, 2], 2, "metrics")) == [1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(progress([1, 2], 2, "metrics")) == [1, 2]
    assert "metrics [############            ] 1/2" in capsys.readouterr().err


@pytest.mark.slow
def test_a_program_stopped_by_ctrl_c_resumes_with_the_same_results(write, speech, tmp_path):
    """100 files and 3 systems, over two processes."""
    draws = np.random.default_rng(0)
    for i in range(100):
        audio = np.roll(speech, 400 * i)
        write("reference", f"{i}.flac", audio)
        for name in ("x", "y", "z"):
            write(name, f"{i}.wav", audio + draws.normal(0, 0.01, audio.size))
    entries = tmp_path / "out" / "cache" / "values"

    def start():
        program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell may have turned it off
        program += "; from hifigan_jax.cli import main; raise SystemExit(main())"
        systems = [word for name in ("x", "y", "z") for word in ("--system", f"{name}={name}")]
        command = [sys.executable, "-c", program, "evaluate", "--reference", "reference", *systems, "--no_anchors"]
        command += ["--metrics", "mr_stft", "mel_l1", "--jobs", "2", "--output", "out"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes)

    interrupted = start()
    while len(written := list(entries.rglob("*.json"))) < 50:
        assert interrupted.poll() is None, interrupted.communicate()
        time.sleep(0.1)
    os.killpg(interrupted.pid, signal.SIGINT)
    interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130
    kept = {path: path.stat().st_mtime_ns for path in entries.rglob("*.json")}
    assert len(written) <= len(kept) < 600

    resumed = start()
    assert resumed.wait(timeout=600) == 0, resumed.communicate()
    resumed.communicate()
    after = {path: path.stat().st_mtime_ns for path in entries.rglob("*.json")}
    assert len(after) == 600
    assert kept.items() <= after.items()  # nothing was computed twice
    first = (tmp_path / "out" / "results.json").read_bytes()

    for path in entries.rglob("*.json"):
        path.unlink()
    uninterrupted = start()
    assert uninterrupted.wait(timeout=600) == 0
    uninterrupted.communicate()
    assert (tmp_path / "out" / "results.json").read_bytes() == first
    assert json.loads(first)["systems"]["x"]["count"] == 100
