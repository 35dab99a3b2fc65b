"""Trains while logs, folders, the clock or stdout fail, and compares the result with an undisturbed run.

    python benchmarks/reliability/outputs.py

Each failure may cost a warning, never a traceback, another result or an endless wait. Needs root or user namespaces, for small
and read-only disks.
"""

import contextlib
import itertools
import os
import pathlib
import subprocess
import sys
import time

import common
from disk import fill, small_disk, tracebacks
from make_tiny import make_tiny

STEPS = 6
SETTINGS = {"checkpoint_interval": 2, "validation_interval": 3}
WITHOUT_EFFECT = (  # each is a function of this module
    "no_tensorboard",
    "logs_is_a_file",
    "metrics_is_a_folder",
    "full_disk_of_the_logs",
    "clock_set_back",
)


def main() -> None:
    if os.geteuid():
        os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv])
    problems: list[str] = []
    with common.work_folder() as folder, common.shared_programs():
        straight = common.train(common.configuration(folder, "straight", **SETTINGS), max_steps=STEPS)
        assert straight.code == 0, straight.messages
        expected = common.arrays(folder / "straight", STEPS)
        for name in WITHOUT_EFFECT:
            run = folder / name
            run.mkdir()
            with globals()[name](run):
                outcome = common.train(common.configuration(folder, name, **SETTINGS), max_steps=STEPS)
                problems += without_effect(name, outcome, run, expected)
        for name, redirection in {"full_stdout": "> /dev/full", "closed_stdout": ">&-", "closed_stderr": "2>&-"}.items():
            problems += of_shell(folder, name, redirection, expected)
        problems += read_only(folder)
    cases = len(WITHOUT_EFFECT) + 5
    common.result(
        "R24",
        "no TensorBoard, full logs or stdout, read-only folders, clock",
        f"{cases} of {cases}",
        f"{cases - len({problem.partition(':')[0] for problem in problems})} of {cases}",
        not problems,
        problems=problems,
    )


def without_effect(name: str, outcome, run: pathlib.Path, expected: common.Arrays) -> list[str]:
    """A line per effect that the failure had."""
    common.note(f"{name}: exit code {outcome.code}, {outcome.about('warning')}")
    if outcome.code or tracebacks(outcome):
        return [f"{name}: exit code {outcome.code}: {outcome.messages[-3:]}"]
    repeated = {line for line in outcome.about("warning") if outcome.messages.count(line) > 1}
    found = [f"{name}: repeated: {line}" for line in repeated]
    return found + [f"{name}: {array} differs" for array in common.different(common.arrays(run, STEPS), expected)[:1]]


def of_shell(folder: pathlib.Path, name: str, redirection: str, expected: common.Arrays) -> list[str]:
    """Runs train.py with this redirection."""
    config = common.configuration(folder, name, **SETTINGS)
    command = f'"{sys.executable}" "{common.ROOT}/train.py" --config "{config}" --max_steps {STEPS} {redirection}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300, env=os.environ)
    common.note(f"{name}: exit code {done.returncode}, {done.stderr[-200:]}")
    if done.returncode or "Traceback" in done.stderr:
        return [f"{name}: exit code {done.returncode}: {done.stderr[-300:]}"]
    return [f"{name}: {array} differs" for array in common.different(common.arrays(folder / name, STEPS), expected)[:1]]


def read_only(folder: pathlib.Path) -> list[str]:
    """Training into a read-only folder is refused in one line; inference from one works."""
    import programs

    found = []
    with small_disk(folder / "read_only", "16m") as disk:
        make_tiny(disk / "model")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        config = common.configuration(folder, "refused", checkpoint_path=str(disk / "run"))
        outcome = common.train(config, max_steps=1)
        if outcome.code != 5 or len(outcome.about("error")) != 1 or tracebacks(outcome):
            found.append(f"read-only run folder: exit code {outcome.code}: {outcome.messages[-3:]}")
        model = {"checkpoint_file": disk / "model" / "tiny.pth"}
        outcome = programs.infer(input_wavs_dir=folder / "in", output_dir=folder / "out", **model)
        if outcome.code or tracebacks(outcome):
            found.append(f"read-only model folder: exit code {outcome.code}: {outcome.messages[-3:]}")
    return found


def no_tensorboard(_: pathlib.Path):
    """The package is not installed."""
    return module_missing("tensorboardX")


@contextlib.contextmanager
def module_missing(name: str):
    """Importing this module fails."""
    kept = {key: module for key, module in sys.modules.items() if key.partition(".")[0] == name}
    sys.modules |= dict.fromkeys({name, *kept})
    try:
        yield
    finally:
        del sys.modules[name]
        sys.modules |= kept


@contextlib.contextmanager
def logs_is_a_file(run: pathlib.Path):
    """A file has the name of the folder of TensorBoard's logs."""
    (run / "logs").write_text("notes\n")
    yield


@contextlib.contextmanager
def metrics_is_a_folder(run: pathlib.Path):
    """A folder has the name of metrics.jsonl."""
    (run / "metrics.jsonl").mkdir()
    yield


@contextlib.contextmanager
def full_disk_of_the_logs(run: pathlib.Path):
    """Logs and metrics are on a disk without free space; the checkpoints are not."""
    with small_disk(run.with_name("small"), "1m") as disk:
        (disk / "logs").mkdir()
        (disk / "metrics.jsonl").touch()
        (run / "logs").symlink_to(disk / "logs")
        (run / "metrics.jsonl").symlink_to(disk / "metrics.jsonl")
        fill(disk)
        yield


@contextlib.contextmanager
def clock_set_back(_: pathlib.Path):
    """The clock is set back by another hour whenever it is read."""
    now, calls = time.time, itertools.count()
    with common.replaced(time, "time", lambda: now() - 3600 * next(calls)):
        yield


if __name__ == "__main__":
    main()
