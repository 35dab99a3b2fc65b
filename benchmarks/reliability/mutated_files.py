"""Reads mutants of valid files: each must be read, or refused with an exception of the package, in little time and memory.

    python benchmarks/reliability/mutated_files.py [--mutants 10000] [--repacked 2000]

`--repacked` is for data.pkl of a PyTorch file, packed again with valid checksums. The readers run in processes of their own,
which are started again after a crash or a hang.
"""

import argparse
import multiprocessing
import os
import pathlib
import resource
import tempfile
import time
from collections import Counter
from typing import Any, NamedTuple

import common
import mutations

SECONDS, MEGABYTES = 5, 200  # at most per mutant, of CPU time, and per reader
_HANGS_AFTER = 60  # seconds
_WARM = 50  # mutants before memory is measured


class Found(NamedTuple):
    """What has become of the mutants of a reader."""

    outcomes: Counter[str]
    problems: list[str]
    slowest: float  # seconds of CPU time
    megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--repacked", type=int, default=2_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hifigan-jax-") as name:
        readers = mutations.readers(pathlib.Path(name))
        found = {}
        for reader in readers:
            count = options.repacked if reader == "data.pkl" else options.mutants
            found[reader] = tried(reader, count)
            common.note(f"{reader}: {found[reader]}"[:600])
    report(found, options.mutants, options.repacked)


def tried(reader: str, count: int) -> Found:
    """Reads `count` mutants."""
    context = multiprocessing.get_context("spawn")
    position = context.Value("q", 0)
    outcomes: Counter[str] = Counter()
    problems: list[str] = []
    slowest = megabytes = 0.0
    start = 0
    while start < count:
        position.value = start
        mine, theirs = context.Pipe(False)
        process = context.Process(target=_read, args=(reader, start, count, position, theirs))
        process.start()
        theirs.close()
        result = _result(process, mine, position)
        if result is None:  # a crash or a hang
            process.kill()
            process.join()
            problems.append(f"{reader} {position.value}: hangs or crashes, exit code {process.exitcode}")
            start = position.value + 1
            continue
        process.join()
        outcomes += result["outcomes"]
        problems += result["problems"]
        slowest, megabytes, start = max(slowest, result["slowest"]), max(megabytes, result["megabytes"]), count
    return Found(outcomes, problems, slowest, megabytes)


def _result(process: Any, pipe: Any, position: Any) -> dict[str, Any] | None:
    """What the process has sent; None if it has ended without, or has read one mutant for too long."""
    seen, since = -1, time.monotonic()
    while not pipe.poll(1):
        if position.value != seen:
            seen, since = position.value, time.monotonic()
        if time.monotonic() - since > _HANGS_AFTER:
            return None
    try:
        return pipe.recv()
    except EOFError:
        return None


def _read(name: str, start: int, count: int, position: Any, pipe: Any) -> None:
    """In a process of its own: reads mutants and sends what has become of them."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders and the package comment on every second mutant
    outcomes: Counter[str] = Counter()
    problems: list[str] = []
    slowest = before = 0.0
    with tempfile.TemporaryDirectory(prefix="hifigan-jax-", dir="/dev/shm") as folder:
        reader = mutations.readers(pathlib.Path(folder))[name]
        for number in range(start, count):
            position.value = number
            content = mutations.mutant(reader, name, number)
            began = time.process_time()
            outcome = mutations.outcome(reader, content, pathlib.Path(folder))
            slowest = max(slowest, time.process_time() - began)
            outcomes[outcome if outcome in (mutations.READ, mutations.REFUSED) else "foreign"] += 1
            if outcome not in (mutations.READ, mutations.REFUSED):
                problems.append(f"{name} {number}: {outcome}")
            if number - start == _WARM:
                before = _peak()
    pipe.send({"outcomes": outcomes, "problems": problems[:50], "slowest": slowest, "megabytes": _peak() - before})


def _peak() -> float:
    """The largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(found: dict[str, Found], mutants: int, repacked: int) -> None:
    """Prints the result."""
    problems = [problem for each in found.values() for problem in each.problems]
    slowest = max(each.slowest for each in found.values())
    megabytes = max(each.megabytes for each in found.values())
    common.result(
        "R15",
        f"{mutants:,} mutants for each of {len(found) - 1} readers, {repacked:,} of `data.pkl`",
        f"0 foreign exceptions, {SECONDS} s, {MEGABYTES} MB",
        f"{len(problems)}, {slowest:.1f} s, {megabytes:.0f} MB",
        not problems and slowest <= SECONDS and megabytes <= MEGABYTES,
        problems=problems[:50],
        readers={
            name: {**each.outcomes, "slowest_seconds": round(each.slowest, 2), "megabytes": round(each.megabytes)}
            for name, each in found.items()
        },
    )


if __name__ == "__main__":
    main()
