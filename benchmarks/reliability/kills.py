"""Kills a training run at random moments and restarts it, then compares it with a run that was never interrupted.

    python benchmarks/reliability/kills.py [--kills 100]

The run saves every step, validates every seventh and keeps one folder. Four of five kills come up to 8 s after the run has
reported a new step, the others while it starts: import, restore, tracing, first step.
"""

import argparse
import contextlib
import pathlib
import random
import re
import time

import common


class Run:
    """A run that is killed and restarted."""

    def __init__(self, folder: pathlib.Path, seed: int):
        self.folder, self.log, self.random = folder / "killed", folder / "killed.log", random.Random(seed)
        self.config = common.configuration(folder, "killed", checkpoint_interval=1, validation_interval=7)
        self.forks, self.problems, self.resumed = common.Forks(), [], 0
        self.start_seconds = 10.0  # from the start of a process to its first new step; measured as the run proceeds

    def kill(self, number: int) -> None:
        """Starts a process, kills it at a random moment and checks what it did until then."""
        expected, began = common.newest_step(self.folder), time.monotonic()
        process = self._start()
        if self.random.random() < 0.2:
            time.sleep(self.random.uniform(0, self.start_seconds))
        elif common.wait_until(lambda: common.last_reported(self.folder) > expected, process.is_alive):
            self.start_seconds = time.monotonic() - began
            time.sleep(self.random.uniform(0, 8))
        process.kill()
        process.join()
        self._check(number, expected, process.exitcode, -9)

    def finish(self, steps: int) -> int:
        """Trains `steps` more without a kill; returns the last step."""
        expected = common.newest_step(self.folder)
        process = self._start("--max_steps", str(expected + steps))
        process.join()
        self._check(-1, expected, process.exitcode, 0)
        return expected + steps

    def _start(self, *flags: str):
        self.read = self.log.stat().st_size if self.log.exists() else 0
        return self.forks.start(["--config", str(self.config), *flags], self.log)

    def _check(self, number: int, expected: int, code: int, expected_code: int) -> None:
        text = self.log.read_bytes()[self.read :].decode(errors="replace") if self.log.exists() else ""
        resumed = [int(step) for step in re.findall(r"resuming from \S*/(\d+)\n", text)]
        saved = [int(step) for step in re.findall(r"saved checkpoint (\d+)\n", text)]
        self.resumed += resumed == [expected]
        if code != expected_code:
            self.problems.append(f"process {number} ended with {code}: {text[-500:]}")
        if resumed and resumed != [expected]:
            self.problems.append(f"process {number} resumed from {resumed}, expected {expected}")
        if saved and not resumed and expected:
            self.problems.append(f"process {number} started again at step 0, expected {expected}")
        if saved and common.newest_step(self.folder) < saved[-1]:
            self.problems.append(f"process {number} reported that step {saved[-1]} was saved; it is not on disk")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with common.work_folder() as folder:
        run = Run(folder, options.seed)
        for number in range(options.kills):
            run.kill(number)
            common.note(f"kill {number + 1}: newest step {common.newest_step(run.folder)}, problems {len(run.problems)}")
        last = run.finish(5)
        config = common.configuration(folder, "straight", validation_interval=7)
        straight = common.train(config, max_steps=last)
        report(run, options.kills, last, straight, folder)


def report(run: Run, kills: int, last: int, straight, folder: pathlib.Path) -> None:
    """Prints both results."""
    different = [f"the uninterrupted run ended with {straight.code}"]
    with contextlib.suppress(Exception):
        different = common.different(common.arrays(run.folder, last), common.arrays(folder / "straight", last))
    lines = common.losses(run.folder) == common.losses(folder / "straight")
    detail = {"resumes": run.resumed, "steps": last, "problems": run.problems}
    good = kills - len(run.problems)
    common.result(
        "R1",
        "`kill -9` at random moments: the newest step is resumed",
        f"{kills} of {kills}",
        f"{good} of {kills}",
        not run.problems,
        **detail,
    )
    same = "bit-identical" if not different and lines else f"{len(different)} arrays differ, losses equal: {lines}"
    common.result(
        "R2",
        "state and losses after these kills, against no kill",
        "bit-identical",
        same,
        not different and lines,
        different=different[:20],
    )


if __name__ == "__main__":
    main()
