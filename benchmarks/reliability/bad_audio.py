"""Synthesizes and trains on folders in which every second recording is bad, in 38 ways.

    python benchmarks/reliability/bad_audio.py

Every good recording must be used, and every bad one be named in one line or read, without a traceback or a hang.
"""

import json
import pathlib
import subprocess
import sys
import time

import common
import inputs
import unusable

SECONDS = 5  # per file
STEPS = 12


def main() -> None:
    kinds = unusable.BAD
    with common.work_folder() as folder:
        mixed = folder / "mixed"
        good = [f"{number:02d}_good.wav" for number in range(len(kinds))]
        inputs.record(mixed, *good)
        for name, write in kinds.items():
            write(mixed / name)
        problems = synthesized(folder, mixed, good) + trained(folder, mixed)
        for name, write in kinds.items():
            problems += inspected(folder, name, write)
    common.result(
        "R14",
        f"{len(kinds)} kinds of bad audio among good files",
        "good ones used, bad named",
        f"{len(problems)} problems" if problems else "all",
        not problems,
        problems=problems,
    )


def synthesized(folder: pathlib.Path, mixed: pathlib.Path, good: list[str]) -> list[str]:
    """What is wrong with infer.py's outputs and report for the mixed folder."""
    from make_tiny import make_tiny

    flags = {"input_wavs_dir": mixed, "output_dir": folder / "out", "checkpoint_file": make_tiny(folder / "tiny")}
    done, seconds = program("infer.py", flags | {"report": folder / "report.jsonl"})
    lines = done.stderr.splitlines()
    rows = [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()]
    outcomes = {pathlib.Path(row["input"]).name: row for row in rows}
    problems = [] if done.returncode == 3 and "Traceback" not in done.stderr else [f"infer.py: {done.returncode}: {lines[-3:]}"]
    problems += [f"infer.py: {seconds:.0f} s"] if seconds > SECONDS * len(list(mixed.iterdir())) else []
    for name in good:
        if outcomes.get(name, {}).get("outcome") != "written" or not (folder / "out" / f"{name[:-4]}_generated.wav").is_file():
            problems.append(f"infer.py: {name} is not written")
    for name in unusable.BAD:
        named = [line for line in lines if f"/{name}: " in line]
        row = outcomes.get(name, {"outcome": "left out"})
        if row["outcome"] != "written" and (len(named) != 1 or row.get("reason") == ""):
            problems.append(f"infer.py: {name}: {row['outcome']}, named in {len(named)} lines")
    common.note(f"infer.py: {len(rows)} files in {seconds:.0f} s: {sum(row['outcome'] == 'written' for row in rows)} written")
    return problems


def trained(folder: pathlib.Path, mixed: pathlib.Path) -> list[str]:
    """What is wrong with a run of train.py on the mixed folder."""
    config = common.configuration(folder, input_wavs_dir=str(mixed))
    done, seconds = program("train.py", {"config": config, "max_steps": STEPS})
    problems = [] if done.returncode == 0 and "Traceback" not in done.stderr else [f"train.py: {done.stderr[-500:]}"]
    problems += [f"train.py: {seconds:.0f} s"] if seconds > SECONDS * len(list(mixed.iterdir())) else []
    if not problems and len(common.losses(folder / "run")) != STEPS:
        problems.append(f"train.py: {len(common.losses(folder / 'run'))} steps")
    common.note(f"train.py: {seconds:.0f} s, {[line for line in done.stderr.splitlines() if 'cannot be used' in line]}")
    return problems


def inspected(folder: pathlib.Path, name: str, write: unusable.Write) -> list[str]:
    """What is wrong with the recordings that train.py chooses among three good ones and one of this kind."""
    import programs

    own = folder / f"with_{name}"
    inputs.record(own, "m1.wav", "m2.wav", "m3.wav")
    write(own / name)
    try:
        found = programs.corpus(common.configuration(folder), own / "index.json", input_wavs_dir=str(own))
    except Exception as error:
        return [f"train.py with {name}: {type(error).__name__}: {error}"]
    problems = [] if {"m1.wav", "m2.wav", "m3.wav"} <= {*found.names} else [f"train.py with {name}: only {found.names}"]
    return problems if name in found.names or len(found.about(f"/{name}: ")) == 1 else [*problems, f"train.py: {name}: not named"]


def program(name: str, flags: dict) -> tuple[subprocess.CompletedProcess[str], float]:
    """Runs a program as a user does; its result and its duration in seconds."""
    arguments = [f"--{flag}={value}" for flag, value in flags.items()]
    start = time.monotonic()
    done = subprocess.run([sys.executable, common.ROOT / name, *arguments], capture_output=True, text=True, timeout=900)
    return done, time.monotonic() - start


if __name__ == "__main__":
    main()
