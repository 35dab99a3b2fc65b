"""Fill the tables of README.md, docs/*.md and benchmarks/README.md in from docs/results/*.json.

    python benchmarks/tables.py            # rewrites the pages
    python benchmarks/tables.py --check    # changes nothing; exit code 1 if a page is stale

A table stands between `<!-- results: NAME -->` and `<!-- end -->`. It is made from docs/results/NAME.json, whose `command` is the
one that wrote the file. tests/test_docs.py runs the check.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import export_tables
import mel_tables

from hifigan_jax.evaluation import Results
from hifigan_jax.evaluation.table import Table, columns_of, combine, rows_of
from hifigan_jax.evaluation.table_formats import markdown_rows

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
MARKED = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
NAMES = {
    "config_v1": "V1",
    "config_v2": "V2",
    "config_v3": "V3",
    "melgan": "MelGAN",
    "istftnet": "iSTFTNet",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "generator_v2_ljspeech": "ljspeech_v2",
}
QUALITY = ("pesq", "estoi", "mr_stft", "mel_l1_full", "mcd", "periodicity", "distillmos", "dnsmos")  # columns
Result = Mapping[str, Any]


def synthesis(result: Result) -> str:
    """Milliseconds of each system, and our speed relative to real time and to the fastest other system."""
    systems = [*dict.fromkeys(row["system"] for row in result["rows"])]
    rows = []
    for (config, dtype), seconds in by_model(result).items():
        cells = [milliseconds(seconds[system]) if system in seconds else "" for system in systems]
        ours = seconds.pop("hifigan_jax")
        audio = next(row["audio_seconds"] for row in result["rows"] if row["config"] == config)
        ratio = f"{digits(min(seconds.values()) / ours)} x" if seconds else ""
        rows.append([f"{name(config)}, {dtype}", *cells, f"{digits(audio / ours)} x", ratio])
    return table(["model", *map(name, systems), "x real time", "best other / ours"], rows)


def export(result: Result) -> str:
    """Milliseconds of our ONNX file and of the reference's in each runtime."""
    seconds = {(row["config"], row["system"]): row["median"] for row in result["rows"]}
    rows = []
    for (config, runtime), reference in seconds.items():
        if own := seconds.get((config, f"{runtime}_own")):
            rows.append([f"{name(config)}, {name(runtime)}", *pair(own, reference)])
    return table(["model and runtime", "`hifigan-jax export onnx`", "reference, torch.onnx.export", "reference / ours"], rows)


def export_accuracy(result: Result) -> str:
    """Differences between exported generators and Vocoder.decode."""
    return table(*export_tables.accuracy(result, name))


def training(result: Result) -> str:
    """Seconds of a training step, and how many times as fast as torch we are."""
    rows = []
    for (config, dtype), seconds in by_model(result).items():
        torch = by_model(result)[config, "float32"].get("torch")
        ours = seconds["hifigan_jax"]
        cells = [f"{digits(torch)} s", f"{digits(torch / ours)} x"] if torch else ["", ""]
        rows.append([f"{name(config)}, {dtype}", f"{digits(ours)} s", *cells])
    return table(["model", "hifigan_jax", "torch, float32", "torch / ours"], rows)


def streaming(result: Result) -> str:
    """Time to first audio and the speed of streaming, one column per model."""
    models = result["rows"]
    rows = [["lookahead", *(f"{row['lookahead_frames']} frames, {row['lookahead_ms']:.0f} ms" for row in models.values())]]
    for arrival in ("at once", "one by one"):
        cells = [f"{digits(row['first_sound_ms'][arrival])} ms" for row in models.values()]
        rows.append([f"time to first audio, frames arriving {arrival}", *cells])
    rows.append(["`decode`, x real time", *(f"{digits(row['times_real_time']['complete'])} x" for row in models.values())])
    for size in next(iter(models.values()))["relative_speed"]:
        speeds = ((row["times_real_time"][size], row["relative_speed"][size]) for row in models.values())
        about = f"chunks of {size} frames, x real time (of `decode`)"
        rows.append([about, *(f"{digits(speed)} x ({ratio:.0%})" for speed, ratio in speeds)])
    return table(["", *map(name, models)], rows)


def folder(result: Result) -> str:
    """Seconds of complete processes for a folder of recordings."""
    ratios = result.get("times_the_reference", {})
    rows = []
    for program, seconds in result["seconds"].items():
        speed = f"{digits(result['audio_seconds'] / median(seconds))} x"
        rows.append([program, f"{digits(median(seconds))} s", speed, f"{digits(ratios[program])} x" if program in ratios else ""])
    about = f"{result['files']} recordings, {result['audio_seconds']:.0f} s, {name(result['config'])}"
    return table([about, "time", "x real time", "reference / ours"], rows)


def start(result: Result) -> str:
    """Seconds of a complete process for one recording."""
    rows = []
    for config, programs in result["rows"].items():
        ours, reference = programs["hifigan_jax"]["median"], programs.get("reference", {}).get("median")
        cells = [f"{digits(reference)} s", f"{digits(reference / ours)} x"] if reference else ["", ""]
        rows.append([name(config), f"{digits(ours)} s", *cells])
    total = table([f"one recording of {result['audio_seconds']:g} s", "`infer.py`", "reference", "reference / ours"], rows)
    phases = result["phases"]
    parts = [[phase, *(milliseconds(one[phase]) for one in phases.values())] for phase in next(iter(phases.values()))]
    return total + "\n" + table(["phase of `infer.py`", *map(name, phases)], parts)


def precision(result: Result) -> str:
    """What bfloat16 changes in the audio."""
    rows = [
        [name(model), f"{row['snr_db']:.1f} dB", *(digits(row[f"mel_{key}"]) for key in ("between", "float32", "bfloat16"))]
        for model, row in result["results"].items()
    ]
    headers = ["weights", "signal-to-difference ratio", "mel difference", "mel error, float32", "mel error, bfloat16"]
    return table(headers, rows)


def exactness(result: Result) -> str:
    """Largest and root mean square difference of a sample, one column per model."""
    models = result["results"]
    rows = [
        [pair, *(f"{model[pair]['largest']:.1e}, {model[pair]['rms']:.1e}" for model in models.values())]
        for pair in next(iter(models.values()))
    ]
    return table([f"{result['files']} recordings, largest and RMS difference", *map(name, models)], rows)


def agreement(result: Result) -> str:
    """Share of 16-bit samples within one LSB of the reference."""
    pairs = [*next(iter(result["results"].values()))]
    rows = [[name(model), *(f"{shares[pair]:.1%}" for pair in pairs)] for model, shares in result["results"].items()]
    return table([f"{result['files']} recordings", *pairs], rows)


def copy_synthesis(result: Result) -> str:
    """Mel L1 of copy-synthesis."""
    rows = [[name(model), len(errors), digits(mean(errors.values()))] for model, errors in result["mel_l1"].items()]
    return table(["weights", "recordings", "mel L1"], rows)


def trajectory(result: Result) -> str:
    """How far the losses of training are from the reference's."""
    rows = [[name(run), f"{max(values[:9]):.1e}", f"{max(values):.1e}"] for run, values in result["relative_difference"].items()]
    steps = len(next(iter(result["relative_difference"].values())))
    return table([f"{result['setting']}: largest relative difference", "to step 9", f"to step {steps}"], rows)


def families(result: Result) -> str:
    """Speed of each family relative to V1."""
    speeds = [f"{digits(row['speed_up'])} x" for row in result["rows"].values()]
    real_time = [f"{digits(row['x_real_time'])} x" for row in result["rows"].values()]
    return table(["", *map(name, result["rows"])], [["speed relative to V1", *speeds], ["x real time", *real_time]])


def learning(result: Result) -> str:
    """First and last values of the loss curves."""
    rows = []
    for family, curves in result["curves"].items():
        for metric, points in curves.items():
            count = max(len(points) // 10, 1)
            first, last = mean(value for _, value in points[:count]), mean(value for _, value in points[-count:])
            rows.append([name(family), metric, digits(first), digits(last), f"{last / first - 1:+.0%}"])
    return table(["family", "metric", "start", "end", "change"], rows)


def roofline(result: Result) -> str:
    """Shortest times of a training step of V1 with batch 128, and of the synthesis of a million hours."""
    rows = []
    for row in result["training"]:
        if row["config"] == "config_v1" and row["batch"] == 128:
            hours = next(one["hours"] for one in result["synthesis"] if one["machine"] == row["machine"])
            slowest = (max(hours[f"compute {dtype}"], hours["memory"]) for dtype in ("float32", "bfloat16"))
            milliseconds = (f"{row['ms'][key]:.1f}" for key in ("compute float32", "compute bfloat16", "memory", "all-reduce"))
            rows.append([row["machine"], row["devices"], *milliseconds, *(f"{value:,.1f}" for value in slowest)])
    headers = ["machine", "devices in training", "float32, ms", "bfloat16, ms", "memory, ms", "all-reduce, ms"]
    return table([*headers, "hours for 1M h of speech, float32", "bfloat16"], rows)


def memory(result: Result) -> str:
    """Temporary memory of V1's training step."""
    batch = max(row["batch_size"] for row in result["training"])
    rows = [row for row in result["training"] if row["batch_size"] == batch]
    plain = rows[0]["temporary_bytes"]
    lines = []
    for row in rows:
        size = row["temporary_bytes"]
        switch = "yes" if row["rematerialize"] else "no"
        lines.append([row["accumulation_steps"], switch, f"{size / 1e9:.2f} GB", f"{size / plain:.0%}"])
    return table(["accumulation_steps", "rematerialize", "temporary memory", "of the first row"], lines)


def quality(result: Result) -> str:
    """Means of the metrics QUALITY. 16-bit copies of 16-bit recordings are left out."""
    evaluation = combine([Results({**result})])
    rows = (row for row in rows_of(evaluation, {}, intervals=False) if row.name != "pcm16")
    return markdown_rows(Table(columns_of(evaluation, QUALITY), tuple(rows), ""))


def reliability(result: Result) -> str:
    """What must hold whatever happens to a run: target and figure of each bar, and the reference's figure where measured."""
    rows = []
    for row in result["rows"]:
        figure = row["figure"] if row["passed"] else f"**{row['figure']}**"
        reference = result["reference"].get(row["bar"], {}).get("figure", "")
        rows.append([row["bar"], row["what"], row["target"], figure, reference, row["program"].removesuffix(".py")])
    return table(["", "", "target", "measured", "reference", "program"], rows)


def tests(result: Result) -> str:
    """How all tests ended on each Python."""
    keys = ("passed", "failed", "expected_failures", "skipped", "minutes")
    rows = [[row["python"], *(f"{row[key]:,}" for key in keys)] for row in result["rows"]]
    return table(["Python", *(key.replace("_", " ") for key in keys)], rows)


def overview(results: Mapping[str, Result]) -> str:
    """The README's table: our time and the reference's for the usual jobs."""
    rows = []
    for task, result in (("synthesis", results.get("synthesis")), ("training", results.get("training"))):
        for (config, dtype), seconds in by_model(result).items() if result else ():
            if dtype == "float32" and "torch" in seconds:
                audio = result["rows"][0]["audio_seconds"]
                job = f"{audio:.1f} s of speech" if task == "synthesis" else f"training step, batch {result['batch_size']}"
                rows.append([f"{job}, {name(config)}", *pair(seconds["hifigan_jax"], seconds["torch"])])
    if result := results.get("folder"):
        ours, reference = (median(result["seconds"][key]) for key in ("hifigan_jax float32", "reference"))
        rows.append([f"`infer.py`, {result['files']} recordings, {name(result['config'])}", *pair(ours, reference)])
    if result := results.get("start"):
        for config, programs in result["rows"].items():
            ours, reference = (programs[key]["median"] for key in ("hifigan_jax", "reference"))
            rows.append([f"`infer.py`, one recording, {name(config)}", *pair(ours, reference)])
    if result := results.get("streaming"):
        for config, row in result["rows"].items():
            rows.append(
                [f"time to first audio of a stream, {name(config)}", milliseconds(row["first_sound_ms"]["at once"] / 1e3), "", ""]
            )
    return table(["job", "hifigan_jax", "reference, torch", "speed-up"], rows)


def mel_conventions(result: Result) -> str:
    """The rows of CONVENTIONS and their parity."""
    return table(*mel_tables.conventions(result))


def mel_guard(result: Result) -> str:
    """What the guard refuses."""
    return table(*mel_tables.guard(result))


TABLES: dict[str, Callable[[Result], str]] = {
    function.__name__: function
    for function in (
        *(synthesis, export, export_accuracy, training, streaming, folder, start, precision, exactness, agreement),
        *(copy_synthesis, trajectory, families, learning, roofline, memory, quality, reliability, tests),
        *(mel_conventions, mel_guard),
    )
}
# The result that a table is made from.
FILES = {key: key for key in TABLES} | {"export_accuracy": "export"}
OVERVIEW = ("synthesis", "training", "folder", "start", "streaming")  # the results in the README's table


def block(key: str, results: Mapping[str, Result]) -> str:
    """Return the text between two markers: a table and its caption, or a note that the result is missing."""
    if key == "overview":
        found = {part: results[part] for part in OVERVIEW if part in results}
        if not found:
            return "Not measured yet.\n"
        machines = "; ".join(dict.fromkeys(hardware(result) for result in found.values()))
        return f"{overview(found)}\n{machines}; float32. Commands and versions: [docs/performance.md](docs/performance.md).\n"
    if key not in TABLES:
        raise SystemExit(f"<!-- results: {key} -->: no such table: one of overview, {', '.join(TABLES)}")
    file = FILES[key]
    if file not in results:
        return f"Not measured yet: docs/results/{file}.json.\n"
    return f"{TABLES[key](results[file])}\n" + (f"{caption(results[file])}\n" if file == key else "")


def caption(result: Result) -> str:
    """Return one line: hardware, versions, commit, date and command."""
    made = f"commit {result['commit']}, {result['date']}" if result["commit"] else result["date"]
    return re.sub(r"(, jax ([\d.]+)), jaxlib \2", r"\1", versions(result)) + f"; {made}: `{result['command']}`"


def versions(result: Result) -> str:
    """Return the hardware and the versions; those of each system if several were measured."""
    if "metrics" in result:  # of `hifigan-jax evaluate`
        packages = dict(item for column in QUALITY for item in result["metrics"][column]["packages"].items())
        return ", ".join([result["cpu"], f"Python {result['python']}", *(f"{name} {of}" for name, of in packages.items())])
    if "cpu" not in result:
        extra = "".join(f", {library} {version}" for library, version in result.get("versions", {}).items())
        return result["about"] + extra
    systems = (row["versions"] for row in result["rows"])
    lines = dict.fromkeys(", ".join(f"{library} {version}" for library, version in row.items()) for row in systems)
    return "; ".join([result["cpu"], *lines])


def hardware(result: Result) -> str:
    """Return the hardware alone."""
    return result.get("cpu") or result["about"].partition(", Python")[0]


def by_model(result: Result) -> dict[tuple[str, str], dict[str, float]]:
    """Return the median seconds of each system by (configuration, dtype). The dtypes are ours."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in result["rows"]:
        found.setdefault((row["config"], row["dtype"]), {})[row["system"]] = row["median"]
    return {key: seconds for key, seconds in found.items() if "hifigan_jax" in seconds}


def pair(ours: float, reference: float) -> list[str]:
    """Return the cells of two times and their ratio."""
    show = milliseconds if max(ours, reference) < 1 else lambda seconds: f"{digits(seconds)} s"
    return [show(ours), show(reference), f"{digits(reference / ours)} x"]


def table(headers: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """Return a Markdown table."""
    headers = [*map(str, headers)]
    lines = [headers, ["---"] * len(headers), *([*map(str, row)] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def digits(value: float) -> str:
    """Return a number with three significant digits, without an exponent."""
    return f"{value:.3g}" if 1e-4 < abs(value) < 999.5 else f"{value:,.0f}"


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds."""
    return f"{digits(1e3 * seconds)} ms"


def name(key: str) -> str:
    """Return the name that a page uses for a configuration, a checkpoint or a system."""
    return NAMES.get(key, key)


def median(values: Iterable[float]) -> float:
    """Return the median; the mean of the two middle values of an even number."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def mean(values: Iterable[float]) -> float:
    """Return the mean."""
    values = [*values]
    return sum(values) / len(values)


def pages() -> list[Path]:
    """Return the pages that may contain tables."""
    top = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
    return [*top, *sorted((ROOT / "docs").glob("*.md"))]


def load(folder: Path = RESULTS) -> dict[str, Result]:
    """Return all results by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def filled(page: str, results: Mapping[str, Result]) -> str:
    """Return the text of a page with the tables of these results."""
    return MARKED.sub(lambda match: match[1] + block(match[2], results) + match[3], page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    results, stale = load(), []
    for path in pages():
        before = path.read_text(encoding="utf-8")
        after = filled(before, results)
        if after != before:
            stale.append(path)
            if not options.check:
                path.write_text(after, encoding="utf-8")
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'stale' if options.check else 'updated'}")
    sys.exit(options.check and bool(stale))


if __name__ == "__main__":
    main()
