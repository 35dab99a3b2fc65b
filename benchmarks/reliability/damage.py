"""Damages one file of the newest checkpoint of a tiny run, again and again, and checks what training and inference load then.

    python benchmarks/reliability/damage.py [--flips 500] [--truncations 120] [--seed 0] [--quick]

Damage must be detected, with a warning, so that the checkpoint before is used, or be harmless: the restored state and
configuration are the same.
"""

import argparse
import collections
import logging
import pathlib
import random
import sys
import tempfile
from collections.abc import Iterable

import common
from mutants import BAD, GOOD, Damage, TinyRun, flips, truncations

Counts = dict[str, dict[str, int]]  # by program and outcome


def measure(run: TinyRun, mutants: Iterable[tuple[str, str, Damage]]) -> tuple[Counts, list[str]]:
    """The number of outcomes of each kind by program, and what was damaged where the outcome is bad."""
    counts, bad = {program: collections.Counter() for program in ("training", "inference")}, []
    for name, how, damage in mutants:
        for program, outcome in run.outcomes(name, damage).items():
            known = next(known for known in GOOD + BAD if outcome.startswith(known))
            counts[program][known] += 1
            if known in BAD:
                bad.append(f"{program}: {name}, {how}: {outcome}")
    return {program: dict.fromkeys(GOOD + BAD, 0) | found for program, found in counts.items()}, bad


def report(bar: str, what: str, counts: Counts, bad: list[str]) -> bool:
    """Prints the line of a bar; returns whether no outcome was bad."""
    found = {program: ", ".join(f"{n} {outcome}" for outcome, n in of.items() if n) for program, of in counts.items()}
    figure = "; ".join(f"{program}: {outcomes}" for program, outcomes in found.items())
    common.result(bar, what, "detected or harmless", figure, not bad, counts=counts, bad=bad)
    return not bad


def main() -> int:
    """Measures and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=500)
    parser.add_argument("--truncations", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a tenth of the damage")
    options = parser.parse_args()
    number = [count // (10 if options.quick else 1) for count in (options.flips, options.truncations)]
    draw = random.Random(options.seed)
    logging.getLogger("hifigan_jax").propagate = False
    with tempfile.TemporaryDirectory(prefix="hifigan-jax-") as name:
        run = TinyRun.make(pathlib.Path(name))
        passed = [
            report("R8", f"{number[0]} bits flipped in the newest checkpoint", *measure(run, flips(run, number[0], draw))),
            report("R9", f"{number[1]} files cut, emptied or deleted", *measure(run, truncations(run, number[1], draw))),
        ]
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main())
