"""Trains 2,000 steps with a save every 20 and a validation every 50, and watches memory, files, threads and compilations.

    python benchmarks/reliability/soak.py [--steps 2000]
"""

import argparse
import os
import pathlib
import threading

import common
import numpy as np

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
        """Step, resident bytes, open files, threads, compilations."""
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        files, threads = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task"))
        resident = pages * os.sysconf("SC_PAGE_SIZE")
        return common.last_reported(self.run_folder), resident, files, threads, self.compilations.count


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
    """Prints the result. The first quarter of the steps, in which caches fill, is not part of it."""
    settled = rows[rows[:, 0] >= steps // 4]
    slope = np.polyfit(settled[:, 0], settled[:, 1] / 1e6, 1)[0] * 1000
    files, threads, compilations = (int(np.ptp(settled[:, column])) for column in (2, 3, 4))
    growth = [int(settled[-1, column] - settled[0, column]) for column in (2, 3, 4)]
    children = len(children_of(os.getpid()))
    good = outcome.code == 0 and slope <= 1 and growth[0] <= 0 and growth[1] <= 0 and growth[2] == 0 and not children
    common.result(
        "R23",
        f"{steps} steps, save every 20, validation every 50: memory per 1,000 steps; files, threads, programs; processes left",
        "<= 1 MB; 0; 0",
        f"{slope:.2f} MB; {', '.join(f'{value:+d}' if value else '0' for value in growth)}; {children}",
        good,
        spread={"files": files, "threads": threads, "compilations": compilations},
        total_compilations=int(rows[-1, 4]),
        megabytes=[[int(step), round(resident / 1e6, 1)] for step, resident in rows[:: max(len(rows) // 20, 1), :2]],
        messages=outcome.messages[-2:] if outcome.code else [],
    )


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
