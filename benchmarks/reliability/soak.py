"""Trains 2,000 steps with a save every 20 and a validation every 50, and watches memory, files, threads and compilations.

python benchmarks/reliability/soak.py [--steps 2000]
"""

import argparse
import os
import pathlib
import re
import threading

import common
import numpy as np
from scipy import stats

from hifigan_jax.runtime import Compilations


class Watch(threading.Thread):
    """Samples this process twice a second, with the step that its run has reached."""

    def __init__(self, run: pathlib.Path):
        super().__init__(daemon=True)
        self.run_folder, self.rows, self.ended, self.compilations = run, [], threading.Event(), Compilations()

    def run(self) -> None:
        """Samples until `ended` is set."""
        while not self.ended.wait(0.5):
            self.rows.append(self.row())

    def row(self) -> tuple[int, int, int, int, int]:
        """Step, bytes of memory, open files, threads, compilations."""
        return common.last_reported(self.run_folder), *usage(), self.compilations.count


def usage() -> tuple[int, int, int]:
    """Bytes of memory, open files and threads of this process.

    Memory is what the process has written, in RAM or swapped out: pages of files come and go as the kernel likes.
    """
    status = pathlib.Path("/proc/self/status").read_text()
    memory = sum(1024 * int(size) for size in re.findall(r"(?:RssAnon|VmSwap):\s+(\d+) kB", status))
    files, threads = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task"))
    return memory, files, threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    with common.work_folder() as folder:
        config = common.configuration(folder, checkpoint_interval=20, validation_interval=50)
        watch = Watch(folder / "run")
        watch.start()
        outcome = common.train(config, max_steps=options.steps)
        watch.ended.set()
        watch.join()
        report(options.steps, outcome, np.array(watch.rows))


def report(steps: int, outcome, rows: np.ndarray) -> None:
    """Prints the result."""
    slope, more = growth(rows, steps)
    children = len(children_of(os.getpid()))
    good = outcome.code == 0 and slope <= 1 and max(more) <= 0 and not children
    common.result(
        "R23",
        f"{steps:,} steps: memory per 1,000; files, threads, programs",
        "1 MB; 0, 0, 0",
        f"{slope:.2f} MB; {', '.join(f'{value:+d}' if value else '0' for value in more)}",
        good,
        children=children,
        total_compilations=int(rows[-1, 4]),
        megabytes=[[int(step), round(resident / 1e6, 1)] for step, resident in rows[:: max(len(rows) // 20, 1), :2]],
        messages=outcome.messages[-2:] if outcome.code else [],
    )


def growth(rows: np.ndarray, total: int) -> tuple[float, list[int]]:
    """Megabytes more per 1,000, and more files, threads and programs, of rows (number, bytes, files, threads, programs).

    The first quarter, in which caches fill, is not part of it. The first is the median slope, as the kernel takes pages back from
    time to time; the others are the median of the last quarter less that of the second, as a save opens files and starts threads.
    """
    settled = rows[rows[:, 0] >= total // 4]
    slope = stats.theilslopes(settled[:, 1] / 1e6, settled[:, 0])[0] * 1000
    early, late = settled[settled[:, 0] <= total // 2], settled[settled[:, 0] >= total * 3 // 4]
    return slope, [int(np.median(late[:, column]) - np.median(early[:, column])) for column in (2, 3, 4)]


def children_of(process: int) -> list[int]:
    """The processes that this one has started and that still exist."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process:
            found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    main()
