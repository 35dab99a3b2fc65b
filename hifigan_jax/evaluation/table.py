"""The table of a paper: the rows of one or more evaluations, facts about the models, and rows cited from publications."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hifigan_jax.errors import DataError, UsageError, did_you_mean
from hifigan_jax.evaluation.results import Results, read_json

_COMPARED = ("mode", "rate", "statistic")  # must be equal for values in one column


class Column(NamedTuple):
    """A column. Its values times `scale` are in the unit of the label."""

    name: str
    label: str
    direction: Literal["higher", "lower"]  # which is better
    scale: float = 1.0


class Cell(NamedTuple):
    """A value and the interval to show with it, if any."""

    value: float
    low: float | None = None
    high: float | None = None


class Row(NamedTuple):
    """A row: cells by the names of their columns, and the publication that a cited row is from."""

    name: str
    group: Literal["anchor", "system", "cited"]
    cells: dict[str, Cell]
    source: str = ""


class Table(NamedTuple):
    """A table. Its rows are in the order of the groups."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    caption: str


class Evaluation(NamedTuple):
    """What a table needs of one or more results.json, in their format."""

    reference: dict[str, Any]
    level: float  # of the intervals
    metrics: dict[str, dict[str, Any]]
    systems: dict[str, dict[str, Any]]


MODEL_COLUMNS = {
    "parameters": Column("parameters", "parameters (M)", "lower", 1e-6),
    "macs": Column("macs", "GMAC per s of audio", "lower", 1e-9),
    "real_time_cpu": Column("real_time_cpu", "x real time, CPU", "higher"),
    "real_time_gpu": Column("real_time_gpu", "x real time, GPU", "higher"),
}
SPEED_COLUMNS = ("real_time_cpu", "real_time_gpu")


def combine(results: Sequence[Results]) -> Evaluation:
    """All systems and values of evaluations of the same recordings.

    A system may be in several with different metrics. Raises UsageError if the recordings, the definition of a metric or the
    files of a system differ.
    """
    first = results[0].data
    metrics: dict[str, dict[str, Any]] = {}
    systems: dict[str, dict[str, Any]] = {}
    for data in (one.data for one in results):
        if _hashes(data["reference"]) != _hashes(first["reference"]):
            raise UsageError("the results are of different recordings: make one table for each set of recordings")
        for value, described in data["metrics"].items():
            _check_same_metric(value, metrics.setdefault(value, described), described)
        for name, content in data["systems"].items():
            known = systems.setdefault(name, content)
            if content["kind"] != "anchor" and _hashes(content) != _hashes(known):
                raise UsageError(f"{name}: the results contain two systems of this name, with different files: rename one")
            systems[name] = known | {"summary": content["summary"] | known["summary"]}
    return Evaluation(first["reference"], first["bootstrap"]["level"], metrics, systems)


def columns_of(evaluation: Evaluation, names: Sequence[str] | None = None, speed: bool = False) -> tuple[Column, ...]:
    """The columns of these names; None: all values, parameters and MACs. `speed` adds SPEED_COLUMNS.

    Raises UsageError for a name that is neither a value of the evaluation nor in MODEL_COLUMNS.
    """
    known = {value: Column(value, one["label"], one["direction"]) for value, one in evaluation.metrics.items()} | MODEL_COLUMNS
    if names is None:
        names = [*evaluation.metrics, "parameters", "macs"]
    for name in names:
        if name not in known:
            raise UsageError(f"{name}: no such column ({', '.join(known)}){did_you_mean(name, known)}")
    return tuple(known[name] for name in dict.fromkeys([*names, *(SPEED_COLUMNS if speed else ())]))


def without_empty(columns: Sequence[Column], rows: Sequence[Row], keep: Sequence[str] = ()) -> tuple[Column, ...]:
    """The columns in which a row has a value, and those of `keep`."""
    filled = {name for row in rows for name in row.cells}
    return tuple(column for column in columns if column.name in filled or column.name in keep)


def models_of(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """The systems that are models."""
    return {name: content for name, content in evaluation.systems.items() if content["kind"] == "model"}


def rows_of(evaluation: Evaluation, facts: Mapping[str, Mapping[str, int | float]], intervals: bool) -> tuple[Row, ...]:
    """The measured rows. `facts` contains values of MODEL_COLUMNS by system."""
    rows = []
    for name, content in evaluation.systems.items():
        cells = {value: _cell(summary, evaluation.metrics[value], intervals) for value, summary in content["summary"].items()}
        cells |= {column: Cell(value) for column, value in facts.get(name, {}).items()}
        rows.append(Row(name, "anchor" if content["kind"] == "anchor" else "system", cells))
    return tuple(sorted(rows, key=lambda row: row.group != "anchor"))


def cited_rows(path: str | Path, known: Iterable[str]) -> tuple[Row, ...]:
    """Rows from a JSON list of {"name": ..., "source": ..., "values": {column: number}}. Raises DataError.

    `known` are the names of all columns. Parameters and MACs are plain numbers, without a unit prefix.
    """
    entries = read_json(path)
    if not isinstance(entries, list):
        raise DataError(f'{path}: expected a list of {{"name": ..., "source": ..., "values": {{...}}}}')
    return tuple(_cited(entry, f"{path}: entry {number}", {*known}) for number, entry in enumerate(entries, 1))


def caption_of(evaluation: Evaluation, columns: Sequence[Column], rows: Sequence[Row], speed: str = "") -> str:
    """What a reader must know; `speed` describes how the speed was measured."""
    shown = [evaluation.metrics[column.name] for column in columns if column.name in evaluation.metrics]
    medians = [one["label"] for one in shown if one["statistic"] == "median"]
    count, seconds = evaluation.reference["count"], evaluation.reference["seconds"]
    parts = [f"Means over {count} recordings ({seconds:.0f} s)" + (f"; medians of {', '.join(medians)}" if medians else "")]
    if any(cell.low is not None for row in rows for cell in row.cells.values()):
        parts.append(f"In brackets: {evaluation.level:.0%} confidence intervals, bootstrap over recordings")
    parts += [
        f"{name}: {content['count']} of {count} recordings"
        for name, content in evaluation.systems.items()
        if content["count"] != count
    ]
    parts += [
        f"{one['label']} of {name}: {content['summary'][value]['count']} of {content['count']} recordings"
        for name, content in evaluation.systems.items()
        for value, one in evaluation.metrics.items()
        if one in shown and value in content["summary"] and content["summary"][value]["count"] < content["count"]
    ]
    if sum(row.group == "system" for row in rows) > 1:
        parts.append("Bold: the best of the measured systems")
    if any(row.group == "cited" for row in rows):
        parts.append("Cited values were measured by others, on other recordings")
    parts += [text for text in (_packages(shown) if shown else "", speed) if text]
    return ". ".join(parts) + "."


def _packages(metrics: Sequence[Mapping[str, Any]]) -> str:
    versions = {package: version for one in metrics for package, version in one["packages"].items()}
    return "Computed with " + ", ".join(f"{package} {version}" for package, version in versions.items())


def _hashes(content: Mapping[str, Any]) -> dict[str, str]:
    return {key: file["sha256"] for key, file in content["files"].items()}


def _check_same_metric(value: str, known: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for key in _COMPARED:
        if known[key] != other[key]:
            raise UsageError(f"{value}: the results differ in its {key}: {known[key]} and {other[key]}: evaluate again")
    for package in known["packages"].keys() - {"hifigan-jax"}:  # whose changes of a definition show in the mode
        if known["packages"][package] != other["packages"].get(package):
            versions = f"{known['packages'][package]} and {other['packages'].get(package)}"
            raise UsageError(f"{value}: the results are of different versions of {package}: {versions}: evaluate again")


def _cell(summary: Mapping[str, Any], metric: Mapping[str, Any], intervals: bool) -> Cell:
    if metric["statistic"] == "median":
        return Cell(summary["median"])
    return Cell(summary["mean"], summary["low"], summary["high"]) if intervals else Cell(summary["mean"])


def _cited(entry: Any, where: str, known: set[str]) -> Row:
    if not isinstance(entry, dict) or entry.keys() != {"name", "source", "values"}:
        raise DataError(f"{where}: expected an object with the keys name, source and values")
    for key in ("name", "source"):
        if not isinstance(entry[key], str) or not entry[key].strip():
            raise DataError(f"{where}: {key}: expected text, not {entry[key]!r:.60}")
    if not isinstance(entry["values"], dict):
        raise DataError(f"{where}: values: expected an object, not {entry['values']!r:.60}")
    for name, value in entry["values"].items():
        if name not in known:
            raise DataError(f"{where}: {name}: no such column ({', '.join(sorted(known))}){did_you_mean(name, known)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            raise DataError(f"{where}: {name}: expected a number, not {value!r:.60}")
    cells = {name: Cell(value) for name, value in entry["values"].items()}
    name, source = (" ".join(entry[key].split()) for key in ("name", "source"))
    return Row(name, "cited", cells, source)
