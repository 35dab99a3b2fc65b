"""Runs the programs of this folder and writes their results to docs/results/reliability.json.

    python benchmarks/reliability/run.py [--quick] [--only kills.py soak.py ...]
    python benchmarks/reliability/run.py --reference CHECKOUT    # a clone of jik876/hifi-gan; see reference.py

Exits with 1 if a bar is missed. `--quick` takes small counts and writes no file. With `--only`, the results of the other programs
are kept. Every result has the commit and the date of its measurement. `--reference` measures the reference alone.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import common

from hifigan_jax.benchmark import write_results
from hifigan_jax.machine import commit

HERE = pathlib.Path(__file__).parent
RESULTS = common.ROOT / "docs" / "results" / "reliability.json"
# Each program with the arguments of the complete and of the quick measurement
PROGRAMS = {
    "kills.py": (["--kills", "100"], ["--kills", "4"]),
    "resume.py": (["--resumes", "100"], ["--resumes", "12"]),
    "elastic.py": ([], []),
    "order.py": ([], []),
    "gradients.py": ([], []),
    "signals.py": ([], []),
    "damage.py": ([], ["--quick"]),
    "disk.py": (["--moments", "20"], ["--moments", "4"]),
    "nan.py": ([], ["--quick"]),
    "lock.py": (["--runs", "20"], ["--runs", "2"]),
    "refusals.py": ([], []),
    "batching.py": (["--groups", "20"], ["--groups", "3"]),
    "memory.py": ([], []),
    "soak.py": (["--steps", "2000"], ["--steps", "300"]),
    "outputs.py": ([], []),
    "bad_audio.py": ([], []),
    "mutated_files.py": (["--mutants", "10000", "--repacked", "2000"], ["--mutants", "100", "--repacked", "100"]),
    "hostile_files.py": ([], []),
    "file_names.py": ([], []),
    "config_keys.py": ([], []),
    "infer_kills.py": (["--kills", "20"], ["--kills", "3"]),
    "many_files.py": (["--files", "5000"], ["--files", "1500"]),
    "envelopes.py": ([], []),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, default=[*PROGRAMS], metavar="PROGRAM")
    parser.add_argument("--reference", metavar="CHECKOUT")
    options = parser.parse_args()
    if options.reference:
        write(kept()["rows"], of_reference(options.reference))
        return
    rows = []
    for name in options.only:
        rows += measured(name, PROGRAMS[name][options.quick])
        for row in rows[-2:]:
            common.note(f"{row['bar']}: {row['figure']}{'' if row['passed'] else ', MISSED'}")
            for problem in [] if row["passed"] else row.get("problems", [])[:5]:
                common.note(f"  {problem}")
    if not options.quick:
        write(merged(kept()["rows"], rows, options.only), kept()["reference"])
    sys.exit(not all(row["passed"] for row in rows))


def measured(name: str, arguments: list[str]) -> list[dict]:
    """The results of one program; a failed one if it ends without any."""
    command = [sys.executable, str(HERE / name), *arguments]
    common.note(" ".join(["python", f"benchmarks/reliability/{name}", *arguments]))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"bar"')]
    if all(row["passed"] for row in rows) and (done.returncode or not rows):
        figure = f"exit code {done.returncode}"
        rows.append({"bar": name, "what": name, "target": "exit code 0", "figure": figure, "passed": False})
    made = {"program": name, "commit": commit(), "date": time.strftime("%Y-%m-%d")}
    return [row | made for row in rows]


def of_reference(checkout: str) -> dict[str, dict]:
    """The reference's figure of each bar that reference.py measures."""
    with common.work_folder() as folder:
        command = [sys.executable, str(HERE / "reference.py"), checkout, str(folder / "in")]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = [json.loads(line) for line in output.splitlines()]
    made = {"program": "reference.py", "commit": commit(), "date": time.strftime("%Y-%m-%d")}
    return {row["bar"]: row | made for row in rows}


def write(rows: list[dict], reference: dict[str, dict]) -> None:
    """Writes the file of results."""
    write_results(RESULTS, {"command": common.program_line(), "rows": rows, "reference": reference})


def kept() -> dict:
    """The file of results without its provenance."""
    content = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    return {"rows": [], "reference": {}} | {key: content[key] for key in ("rows", "reference") if key in content}


def merged(old: list[dict], new: list[dict], programs: list[str]) -> list[dict]:
    """The new results, and the old ones of the other programs, in the order of the bars."""
    rows = [row for row in old if row["program"] not in programs] + new
    return sorted(rows, key=lambda row: int(row["bar"].lstrip("R")) if row["bar"][1:].isdigit() else 99)


if __name__ == "__main__":
    main()
