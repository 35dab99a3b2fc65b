"""Starts a second run in the folder of a run, and restarts a run whose process was killed.

python benchmarks/reliability/lock.py [--runs 20]
"""

import argparse
import os
import pathlib
import socket
import subprocess
import sys
import time

import common

KILLS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    with common.work_folder() as folder:
        config = common.configuration(folder, checkpoint_interval=1)
        first = started(folder, config)
        seconds, problems = [], []
        for number in range(options.runs):
            seconds.append(second(config, first.pid, problems))
            common.note(f"second run {number + 1}: {seconds[-1]:.2f} s, problems {len(problems)}")
            if problems:
                break
        if first.poll() is not None:
            problems.append(f"the first run ended with {first.returncode}: {(folder / 'log').read_text()[-500:]}")
        for _ in range(KILLS):
            first.kill()
            first.wait()
            first = started(folder, config)
            if first.poll() is not None:
                problems.append(f"a killed run's folder: {(folder / 'log').read_text()[-500:]}")
        first.kill()
        first.wait()
    seconds.sort()
    middle = seconds[len(seconds) // 2]
    common.result(
        "R13",
        "second run in a folder is refused; stale locks are taken",
        f"{options.runs} of {options.runs}, 2 s",
        f"{len(seconds) - len(problems)} of {len(seconds)}, {middle:.1f} s",
        not problems and middle <= 2,
        seconds=seconds,
        problems=problems,
    )


def started(folder: pathlib.Path, config: pathlib.Path) -> subprocess.Popen:
    """A run that has trained and saved a step."""
    before = common.newest_step(folder / "run")
    process = common.start(["--config", str(config)], folder / "log")
    common.wait_until(lambda: common.newest_step(folder / "run") > before, lambda: process.poll() is None)
    return process


def second(config: pathlib.Path, first: int, problems: list[str]) -> float:
    """Starts a second run; returns its seconds."""
    began = time.monotonic()
    command = [sys.executable, str(common.ROOT / "train.py"), "--config", str(config), "--max_steps", "1000000"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
    except subprocess.TimeoutExpired:
        problems.append("the second run was not refused")
        return 60.0
    lines = done.stderr.splitlines()
    if done.returncode == 0 or not lines or str(first) not in lines[-1] or socket.gethostname() not in lines[-1]:
        problems.append(f"exit code {done.returncode}: {lines[-3:]}")
    return time.monotonic() - began


if __name__ == "__main__":
    main()
