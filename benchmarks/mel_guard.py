"""Count which mels of recordings the guard refuses, in the right convention and in every other one.

    python benchmarks/mel_guard.py FOLDER ... [--wrong 60] [--json FILE]

The mels of all recordings are taken for what they are, those of some recordings also for each other convention with as many bins.
"""

import argparse
import itertools
from collections.abc import Mapping
from pathlib import Path

from hifigan_jax import runtime

runtime.prepare()

import jax  # noqa: E402
import numpy as np  # noqa: E402

from hifigan_jax import mel_guard  # noqa: E402
from hifigan_jax.audio import read_audio, resample  # noqa: E402
from hifigan_jax.benchmark import about, write_results  # noqa: E402
from hifigan_jax.config import Mel  # noqa: E402
from hifigan_jax.conventions import CONVENTIONS, Convention  # noqa: E402
from hifigan_jax.errors import DataError  # noqa: E402
from hifigan_jax.folders import files_below  # noqa: E402
from hifigan_jax.mel import LogMel  # noqa: E402


def guard(recordings: list[Path], compared: set[Path]) -> dict[str, dict[str, list[int]]]:
    """For each convention of a mel and each that it is taken for: how many were refused, of how many."""
    of = {name: row.computation for name, row in CONVENTIONS.items()}  # equal rows are computed once
    programs = {of[name]: LogMel(Mel(mel_convention=name)) for name in CONVENTIONS}
    counts = {c: {other: [0, 0] for other in programs if other.num_mels == c.num_mels} for c in programs}
    for path in recordings:
        for c, mel in mels_of(path, programs).items():
            for other in counts[c] if path in compared else [c]:
                reason = refusal(mel, other, CONVENTIONS if other == c else {"": c})
                counts[c][other][0] += reason is not None
                counts[c][other][1] += 1
                if reason and other == c:
                    print(path, next(name for name in CONVENTIONS if of[name] == c), reason, flush=True)
    pairs = {name: [other for other in CONVENTIONS if of[other] in counts[of[name]]] for name in CONVENTIONS}
    return {name: {other: counts[of[name]][of[other]] for other in others} for name, others in pairs.items()}


def mels_of(path: Path, programs: Mapping[Convention, LogMel]) -> dict[Convention, np.ndarray]:
    """The mels of a recording in each convention."""
    samples, recorded = read_audio(path)
    rates = {c.sampling_rate for c in programs}
    audio = {rate: samples if rate == recorded else resample(samples, recorded, rate) for rate in rates}
    return {c: program(audio[c.sampling_rate]) for c, program in programs.items()}


def refusal(mel: np.ndarray, c: Convention, known: Mapping[str, Convention]) -> str | None:
    """Why the guard refuses the mel, if it may be of the conventions `known`; None if it passes."""
    try:
        mel_guard.check(mel, c, known)
    except DataError as error:
        return str(error)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--wrong", type=int, default=60, help="recordings whose mels are also taken for other conventions'")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = [Path(path) for folder in options.folder for path in files_below(folder, {".flac", ".wav"})[0]]
    print(f"{len(found)} files; {about(jax.devices())}", flush=True)
    compared = {found[i * len(found) // options.wrong] for i in range(options.wrong)}
    results = {"files": len(found), "wrong": len(compared), "guard": guard(found, compared)}
    counts = results["guard"]
    pairs = ((a, b) for a, b in itertools.product(counts, counts) if b in counts[a])
    wrong = {(a, b): counts[a][b] for a, b in pairs if CONVENTIONS[a].computation != CONVENTIONS[b].computation}
    print("right mels refused:", sum(row[name][0] for name, row in counts.items()))
    print("never refused:", [pair for pair, (refused, _) in wrong.items() if not refused])
    print("sometimes refused:", {pair: pair_counts for pair, pair_counts in wrong.items() if 0 < pair_counts[0] < pair_counts[1]})
    if options.json:
        write_results(options.json, results)


if __name__ == "__main__":
    main()
