"""Makes the batch, each loss or a gradient of a tiny run NaN, once and ten times in a row, and checks how the run continues.

    python benchmarks/reliability/nan.py [--quick]

Ten times in a row is done twice: as the default has it, so that the run goes back to its last good checkpoint, and with a
`max_skipped_steps` above ten. A fault of a batch does not come back after that; one of a loss or a gradient does, at the same
steps, so that the run must end with exit code 1. Every checkpoint must be finite. `--quick` takes one fault of each kind.
"""

import argparse
import functools
import json
import os
import pathlib
import sys

import common
import numpy as np

TERMS = ("adversarial", "feature_matching", "mel")
POINTS = ("batch", "discriminator_gradient", "generator_gradient", "loss.discriminator", *(f"loss.{term}" for term in TERMS))
QUICK = ("batch", "generator_gradient", "loss.mel")
FIRST, STEPS = 6, 18  # the first step that fails; the last step of the run
SAVED = 5  # the checkpoint before it
ONCE, TEN, MANY = "once", "ten times", "ten times, max_skipped_steps 20"
CASES = {ONCE: (1, {}), TEN: (10, {}), MANY: (10, {"max_skipped_steps": 20})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    points = QUICK if parser.parse_args().quick else POINTS
    with common.work_folder() as folder:
        cases = [Case(folder, point, times) for point in points for times in CASES]
        for case in cases:
            case.run()
            common.note(f"{case.point}, {case.times}: {'; '.join(case.problems) or 'passed'}")
    bad = [case for case in cases if case.problems]
    saved, non_finite = (sum(getattr(case, name) for case in cases) for name in ("saved", "non_finite"))
    rows = [{"point": case.point, "times": case.times, "passed": not case.problems, "problems": case.problems} for case in cases]
    common.result(
        "R11",
        "NaN in the batch, in each gradient and loss, once and ten times",
        f"{len(cases)} of {len(cases)} as specified",
        f"{len(cases) - len(bad)} of {len(cases)}",
        not bad,
        cases=rows,
    )
    common.result(
        "R12",
        "checkpoints of these runs with a value that is not finite",
        f"0 of {saved}",
        f"{non_finite} of {saved}",
        saved > 0 and not non_finite,
    )
    sys.exit(bool(bad or non_finite))


def fail(points: str) -> None:
    """Makes these fault points of this process fail."""
    os.environ["HIFIGAN_JAX_FAULT"] = points


class Case:
    """One run with a fault, and what is wrong with it."""

    def __init__(self, folder: pathlib.Path, point: str, times: str):
        self.point, self.times, self.problems, self.saved, self.non_finite = point, times, [], 0, 0
        self.count, changes = CASES[times]
        self.name = f"{point}-{len(times)}"
        self.config = common.configuration(folder, self.name, checkpoint_interval=SAVED, max_steps=STEPS, **changes)
        self.folder, self.log = folder / self.name, folder / f"{self.name}.log"

    def run(self) -> None:
        """Runs the case and checks it."""
        request = functools.partial(fail, f"{self.point}:{FIRST}-{FIRST + self.count - 1}")
        process = common.Forks().start(["--config", str(self.config)], self.log, before=request)
        process.join()
        ends = self.times == TEN and self.point != "batch"
        self.text = self.log.read_text()
        self.expect("exit code", process.exitcode, 1 if ends else 0)
        self.expect("lines with Traceback", self.text.count("Traceback"), 0)
        self.expect("warnings", self.text.count(" skipped: "), self.count * (4 if ends else 1))
        self.expect("rollbacks", self.text.count("training continues from step 5 with data order"), self.rollbacks(ends))
        if ends:
            self.expect("lines with the reason", self.text.count(f"error: step {FIRST + 9}: 10 steps in a row were skipped"), 1)
            self.expect("the last good checkpoint", common.newest_step(self.folder), SAVED)
        else:
            self.check_end()
        self.check_checkpoints()

    def rollbacks(self, ends: bool) -> int:
        """The number of rollbacks to expect."""
        return 3 if ends else int(self.times == TEN)

    def check_end(self) -> None:
        """A run that continues to its last step reports every step once, except those skipped for good."""
        skipped = set() if self.times == TEN else set(range(FIRST, FIRST + self.count))
        steps = [row["step"] for row in common.losses(self.folder)]
        self.expect("steps with losses", steps, [step for step in range(1, STEPS + 1) if step not in skipped])
        rows = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        totals = [row["training/skipped_steps"] for row in rows if "training/skipped_steps" in row]
        self.expect("the total of skipped steps", totals[-1:], [float(self.count)])
        self.expect("the last checkpoint", common.newest_step(self.folder), STEPS)

    def check_checkpoints(self) -> None:
        """All that can be restored is finite."""
        for folder in sorted((self.folder / "checkpoints").iterdir()):
            if (folder / "training").is_dir():
                arrays = common.arrays(self.folder, int(folder.name)).values()
                self.saved += 1
                good = all(np.isfinite(array).all() for array in arrays)
                self.non_finite += not good
                self.expect(f"checkpoint {folder.name} finite", good, True)

    def expect(self, what: str, found, expected) -> None:
        """Notes a problem unless `found` is `expected`."""
        if found != expected:
            self.problems.append(f"{what}: {found}, expected {expected}")


if __name__ == "__main__":
    main()
