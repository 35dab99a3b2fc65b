"""The structure that results.json must have for tables, figures and reports."""

import math
from collections.abc import Mapping
from typing import Any

from hifigan_jax.errors import DataError

_NUMBER = (int, float)
_OPTIONAL = (int, float, type(None))
_RESULTS = {
    "reference": dict,
    "treatment": dict,
    "mel": dict,
    "bootstrap": dict,
    "baseline": (str, type(None)),
    "metrics": dict,
    "systems": dict,
    "values": dict,
    "problems": list,
}
_REFERENCE = {"folder": str, "rate": int, "count": int, "seconds": _NUMBER, "files": dict}
_BOOTSTRAP = {"method": str, "level": _NUMBER, "resamples": int, "seed": int}
_SYSTEM = {"kind": str, "source": str, "folder": str, "count": int, "files": dict, "summary": dict, "difference": dict}
_METRIC = {
    "label": str,
    "direction": str,
    "statistic": str,
    "packages": dict,
    "mode": str,
    "rate": (int, type(None)),
    "cannot_separate": str,
}
_SUMMARY = {"mean": _NUMBER, "median": _NUMBER, "low": _OPTIONAL, "high": _OPTIONAL, "count": int}
_FILE = {"path": str, "sha256": str}


def check(data: Mapping[str, Any]) -> None:
    """Raises DataError if something is missing or of another type than results.json has."""
    _check(data, _RESULTS, "the results")
    _check(data["bootstrap"], _BOOTSTRAP, "bootstrap")
    _check(data["reference"], _REFERENCE, "reference")
    for value, metric in data["metrics"].items():
        _check_metric(metric, f"the metric {value}")
        _check(data["values"], {value: dict}, "values")
    for name, system in data["systems"].items():
        _check_system(name, system, data)
    for entry in (data["reference"], *data["systems"].values()):
        for key, file in entry["files"].items():
            _check(file, _FILE, f"the file {key}")
    if data["baseline"] not in (None, *data["systems"]):
        raise DataError("the baseline is not one of the systems: evaluate again")


def _check_metric(metric: Any, where: str) -> None:
    _check(metric, _METRIC, where)
    if metric["direction"] not in ("higher", "lower") or metric["statistic"] not in ("mean", "median"):
        raise DataError(f"{where}: unknown direction or statistic: evaluate again")


def _check_system(name: str, system: Any, data: Mapping[str, Any]) -> None:
    _check(system, _SYSTEM, f"the system {name}")
    for part in ("summary", "difference"):
        for value, summary in system[part].items():
            _check(data["metrics"], {value: dict}, "metrics")
            _check(summary, _SUMMARY, f"the {part} of {value} for {name}")
    for value in data["metrics"]:
        _check(data["values"][value], {name: dict}, f"the values of {value}")
        values = data["values"][value][name]
        _check(values, dict.fromkeys(values, _OPTIONAL), f"the values of {value} for {name}")


def _check(entry: Any, kinds: Mapping[str, Any], where: str) -> None:
    if not isinstance(entry, dict):
        raise DataError(f"{where}: not an object: evaluate again")
    for key, kind in kinds.items():
        if key not in entry or not isinstance(entry[key], kind):
            raise DataError(f"{where}: {key} is missing or of the wrong type: evaluate again")
        if isinstance(entry[key], float) and not math.isfinite(entry[key]):
            raise DataError(f"{where}: {key} is not a finite number: evaluate again")
