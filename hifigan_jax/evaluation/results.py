"""Results of an evaluation: statistics, tables and files.

`results.json` (schema 1) contains one object:

    schema          1
    command, commit, date, cpu, python, versions    what produced it; commit is null for an installed package
    reference       folder, rate (Hz), count, seconds, files: {key: {path, sha256, seconds}}
    treatment       resampler, length, level, channels: what is done to the audio before it is measured
    mel             the mel section of the metrics and of the Griffin-Lim anchor
    bootstrap       method, level, resamples, seed, fewest (values that have an interval)
    baseline        the system that the others are compared with, or null
    metrics         {value: {label, direction, lowest, highest, statistic, metric, packages: {name: version}, mode, rate, source,
                    uses_reference, cannot_separate}}; direction is "higher" or "lower", which is better; lowest and highest are
                    the limits of its range or null; statistic is "mean" or "median", which tables show; rate is in Hz, null for
                    the files' own
    disabled        {value: the command that installs its packages}
    systems         {system: {kind, source, sha256, folder, count, seconds, files: {key: {path, sha256, seconds}}, summary,
                    difference}}; kind is "anchor", "folder" or "model"; sha256 is of a model's parameters and configuration
      summary       {value: {mean, low, high, median, count}}; low and high, the interval of the mean, are null for too few values
      difference    {value: the same of (system - baseline), over the files that both have}; {} for the baseline itself
    values          {value: {system: {key: number or null}}}; null: undefined for this file, or listed in problems
    problems        one line for each file or value that is missing

A key is a reference's path below its folder without suffix, with / on every platform. The path of a file is relative to its
`folder`, which is as given on the command line, or below the cache for files that were made. Systems and values are in the order
of the table, keys are sorted. The file contains no times of day and no durations of work: the same files, packages and command on
the same day give the same bytes, also after an interruption.
"""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.evaluation.structure import check
from hifigan_jax.evaluation.text_table import table
from hifigan_jax.files import atomic_write

SCHEMA = 1
JSON_NAME, CSV_NAME = "results.json", "values.csv"
_ARROWS = {"higher": "↑", "lower": "↓"}


def read_json(path: str | Path) -> Any:
    """The content of a JSON file. Raises DataError."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


class Results(NamedTuple):
    """An evaluation. `data` is the content of results.json."""

    data: dict[str, Any]

    @property
    def problems(self) -> list[str]:
        """One line for each file or value that is missing."""
        return self.data["problems"]

    def mean(self, value: str, system: str) -> float:
        """The mean of a value over a system's files, NaN if it has none."""
        summary = self.data["systems"][system]["summary"].get(value)
        return summary["mean"] if summary else math.nan

    def table(self) -> str:
        """The means with their intervals, differences to the baseline, and how each value was computed, as text."""
        parts = [self._summary_table(), *([self._difference_table()] if self.data["baseline"] else []), self._methods()]
        return "\n\n".join(parts)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per system and file, with all values."""
        values = self.data["values"]
        for system, content in self.data["systems"].items():
            for key in content["files"]:
                yield {"system": system, "file": key} | {value: values[value][system].get(key) for value in values}

    def to_pandas(self):
        """The rows as a DataFrame indexed by system and file. Raises UsageError if pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise UsageError("pandas is not installed: pip install pandas") from None
        return pandas.DataFrame(list(self.rows())).set_index(["system", "file"])

    def save(self, folder: str | Path) -> None:
        """Writes results.json and values.csv, each atomically. Raises DiskError."""
        text = {"mode": "w", "encoding": "utf-8", "errors": "backslashreplace"}  # folders may have names that are not UTF-8
        with atomic_write(Path(folder) / CSV_NAME) as temporary, open(temporary, newline="", **text) as file:
            writer = csv.DictWriter(file, ["system", "file", *self.data["values"]])
            writer.writeheader()
            writer.writerows(self.rows())
        with atomic_write(Path(folder) / JSON_NAME) as temporary, open(temporary, **text) as file:
            file.write(json.dumps(self.data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Results":
        """Reads a results.json, or the one in a folder. Raises DataError, also for damaged results."""
        path = Path(path) / JSON_NAME if Path(path).is_dir() else Path(path)
        data = read_json(path)
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise DataError(f"{path}: not the results of an evaluation (schema {SCHEMA})")
        try:
            check(data)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        return cls(data)

    def _summary_table(self) -> str:
        systems, metrics = self.data["systems"], self.data["metrics"]
        header = ["", *(self._heading(name) for name in systems)]
        rows = [[_label(metrics[value]), *(self._cell(value, name) for name in systems)] for value in metrics]
        count, seconds = self.data["reference"]["count"], self.data["reference"]["seconds"]
        bounded = any(summary["low"] is not None for one in systems.values() for summary in one["summary"].values())
        intervals = f" with {self.data['bootstrap']['level']:.0%} intervals" if bounded else ""
        return f"Means over {count} files ({seconds:.0f} s){intervals}\n{table(header, rows)}"

    def _heading(self, name: str) -> str:
        count, total = self.data["systems"][name]["count"], self.data["reference"]["count"]
        return name if count == total else f"{name} ({count} files)"

    def _cell(self, value: str, name: str) -> str:
        summary = self.data["systems"][name]["summary"].get(value)
        if summary is None:
            return "-"
        missing = summary["count"] < self.data["systems"][name]["count"]
        return _statistic(summary, self.data["metrics"][value]) + (f" ({summary['count']} files)" if missing else "")

    def _difference_table(self) -> str:
        baseline, metrics = self.data["baseline"], self.data["metrics"]
        others = {name: content["difference"] for name, content in self.data["systems"].items() if name != baseline}
        rows = [
            [_label(one), *(_difference(found.get(value), one) for found in others.values())] for value, one in metrics.items()
        ]
        note = "* the interval excludes zero; with many comparisons, some do by chance"
        return f"Mean differences to {baseline} on the same files\n{table(['', *others], rows)}\n{note}"

    def _methods(self) -> str:
        lines = [f"{name}: {text}" for name, text in self.data["treatment"].items()]
        bootstrap = self.data["bootstrap"]
        lines.append(f"intervals of means: {bootstrap['method']}, {bootstrap['resamples']} resamples, seed {bootstrap['seed']}")
        described: dict[str, list[str]] = {}
        for value in self.data["metrics"].values():
            described.setdefault(_description(value), []).append(value["label"])
        return "\n".join([*lines, *(f"{', '.join(labels)}: {text}" for text, labels in described.items())])


def _label(metric: dict[str, Any]) -> str:
    return f"{metric['label']} {_ARROWS[metric['direction']]}"


def _description(metric: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in metric["packages"].items())
    rate = "the files' rate" if metric["rate"] is None else f"{metric['rate']} Hz"
    return f"{packages}; {rate}; {metric['mode']}. Cannot separate {metric['cannot_separate']}"


def _number(x: float) -> str:
    return f"{x:.3f}" if abs(x) < 100 else f"{x:.1f}"


def _with_interval(summary: dict[str, Any]) -> str:
    if summary["low"] is None:
        return _number(summary["mean"])
    return f"{_number(summary['mean'])} [{_number(summary['low'])}, {_number(summary['high'])}]"


def _statistic(summary: dict[str, Any], metric: dict[str, Any]) -> str:
    return f"{_number(summary['median'])} (median)" if metric["statistic"] == "median" else _with_interval(summary)


def _difference(summary: dict[str, Any] | None, metric: dict[str, Any]) -> str:
    if summary is None:
        return "-"
    bounded = metric["statistic"] == "mean" and summary["low"] is not None
    star = " *" if bounded and (summary["low"] > 0 or summary["high"] < 0) else ""
    return f"{'+' if summary[metric['statistic']] >= 0 else ''}{_statistic(summary, metric)}{star}"
