"""Fills the disk of a run at 20 moments and empties it again; fills it for good.

    python benchmarks/reliability/disk.py [--moments 20]

The run is on a tmpfs of 6 MB and saves every step. In half of the trials, so much of the disk is filled before step 3 that from
nothing to a complete checkpoint fits; in the other half, it is filled completely at some time after the save has begun. Space
returns before step 5. Mounting needs root, or user namespaces (`unshare`), which the program then enters.
"""

import argparse
import contextlib
import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import common

SETTINGS = {"checkpoint_interval": 1, "max_steps": 8, "validation_interval": 4, "keep_checkpoints": 8}
FULL_AT, EMPTY_AT = 3, 5  # steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20)
    options = parser.parse_args()
    if os.geteuid():
        os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv])
    with common.work_folder() as folder, small_disk(folder / "disk", "6m") as disk, common.shared_programs():
        trial = Trial(folder, disk)
        problems = [problem for i in range(options.moments) for problem in trial.filled_for_a_while(i / options.moments)]
        common.result(
            "R10",
            "disk full during a save: training continues, saves later",
            f"{options.moments} of {options.moments}",
            f"{options.moments - len({problem.partition(':')[0] for problem in problems})} of {options.moments}",
            not problems,
            problems=problems,
        )
        report_full(trial)


def report_full(trial: "Trial") -> None:
    """The disk stays full: prints the result."""
    outcome = trial.filled_for_good()
    newest = common.newest_step(trial.run)
    again = common.train(trial.config, max_steps=newest + 2)
    good = outcome.code == 5 and newest == FULL_AT - 1 and again.code == 0 and not tracebacks(outcome)
    common.result(
        "R10",
        "disk stays full: end after three failed saves",
        "exit code 5",
        f"exit code {outcome.code}",
        good,
        messages=outcome.messages[-6:],
    )


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, size: str):
    """A tmpfs of this size at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: pathlib.Path, left: int = 0) -> None:
    """Fills the disk but for `left` bytes."""
    with open(disk / "filler", "ab") as file, contextlib.suppress(OSError):
        while (free := shutil.disk_usage(disk).free - left) > 0:
            os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), min(free, 1 << 16))


def tracebacks(outcome) -> bool:
    """Whether a program printed a traceback."""
    return any("Traceback" in line for line in outcome.messages)


class Trial:
    """Runs on a small disk, compared with one on a large disk."""

    def __init__(self, folder: pathlib.Path, disk: pathlib.Path):
        self.disk, self.run = disk, disk / "run"
        outcome = common.train(common.configuration(folder, "straight", **SETTINGS))
        assert outcome.code == 0, outcome.messages
        self.expected = {step: common.arrays(folder / "straight", step) for step in (FULL_AT - 1, SETTINGS["max_steps"])}
        newest = folder / "straight" / "checkpoints" / f"{SETTINGS['max_steps']:08d}"
        self.size = sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())
        self.config = common.configuration(folder, "small", **SETTINGS | {"checkpoint_path": str(self.run)})

    def filled_for_a_while(self, moment: float) -> list[str]:
        """Fills the disk in step FULL_AT, at `moment` in [0, 1), and empties it in step EMPTY_AT; returns the problems."""
        self._clear()
        outcome, last = self._train({FULL_AT: lambda: self._fill(moment), EMPTY_AT: self._empty}), SETTINGS["max_steps"]
        common.note(f"{moment:.2f}: exit code {outcome.code}, {len(outcome.about('warning'))} warnings")
        found = [f"exit code {outcome.code}: {outcome.messages[-2:]}"] if outcome.code else []
        if tracebacks(outcome):
            found.append("a traceback")
        if litter := [path.name for path in (self.run / "checkpoints").iterdir() if not path.name.isdigit()]:
            found.append(f"left over: {litter}")
        if common.newest_step(self.run) != last or common.different(common.arrays(self.run, last), self.expected[last]):
            found.append(f"step {last} is not saved, or differs")
        older = FULL_AT - 1
        if common.newest_step(self.run) == older and common.different(common.arrays(self.run, older), self.expected[older]):
            found.append(f"step {older} differs")
        return [f"{moment:.2f}: {problem}" for problem in found]

    def filled_for_good(self):
        """Fills the disk in step FULL_AT; returns the outcome."""
        self._clear()
        outcome = self._train({FULL_AT: lambda: self._fill(0)})
        self._empty()
        return outcome

    def _train(self, actions):
        from hifigan_jax.training import loop

        make = loop.train_step

        def acting(*arguments, **options):
            step, calls = make(*arguments, **options), itertools.count(1)

            def at_step(*inputs):
                actions.get(next(calls), lambda: None)()
                return step(*inputs)

            return at_step

        with common.replaced(loop, "train_step", acting):
            return common.train(self.config)

    def _fill(self, moment: float) -> None:
        if int(100 * moment) // 5 % 2:  # every other moment
            threading.Thread(target=lambda: (time.sleep(0.3 * moment), fill(self.disk))).start()
        else:
            fill(self.disk, int(1.5 * moment * self.size))

    def _empty(self) -> None:
        (self.disk / "filler").unlink(missing_ok=True)

    def _clear(self) -> None:
        self._empty()
        shutil.rmtree(self.run, ignore_errors=True)


if __name__ == "__main__":
    main()
