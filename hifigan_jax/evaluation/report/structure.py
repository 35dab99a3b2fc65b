"""The structure that a report needs in results.json."""

from collections.abc import Mapping
from typing import Any

from hifigan_jax.errors import DataError

_NUMBER = (int, float)
_OPTIONAL = (int, float, type(None))
_RESULTS = {"reference": dict, "metrics": dict, "systems": dict, "values": dict, "treatment": dict, "bootstrap": dict}
_REFERENCE = {"folder": str, "rate": int, "count": int, "seconds": _NUMBER, "files": dict}
_SYSTEM = {"kind": str, "folder": str, "count": int, "files": dict, "summary": dict}
_METRIC = {"label": str, "direction": str, "statistic": str, "packages": dict, "mode": str, "cannot_separate": str}
_SUMMARY = {"mean": _NUMBER, "median": _NUMBER, "low": _OPTIONAL, "high": _OPTIONAL}
_FILE = {"path": str, "sha256": str}


def check(data: Any) -> None:
    """Raises DataError if something is missing or of another type than results.json has."""
    _check(data, _RESULTS, "the results")
    _check(data["bootstrap"], {"level": _NUMBER}, "bootstrap")
    _check(data["reference"], _REFERENCE, "reference")
    for value, metric in data["metrics"].items():
        _check_metric(metric, f"the metric {value}")
        _check(data["values"], {value: dict}, "values")
        for name in data["systems"]:
            _check(data["values"][value], {name: dict}, f"the values of {value}")
            _check_all(data["values"][value][name], _OPTIONAL, f"the values of {value} for {name}")
    for name, system in data["systems"].items():
        _check(system, _SYSTEM, f"the system {name}")
        for value, summary in system["summary"].items():
            _check(summary, _SUMMARY, f"the summary of {value} for {name}")
    for entry in (data["reference"], *data["systems"].values()):
        for key, file in entry["files"].items():
            _check(file, _FILE, f"the file {key}")


def _check_metric(metric: Any, where: str) -> None:
    _check(metric, _METRIC, where)
    if metric["direction"] not in ("higher", "lower") or metric["statistic"] not in ("mean", "median"):
        raise DataError(f"{where}: unknown direction or statistic: evaluate again")


def _check(entry: Any, kinds: Mapping[str, Any], where: str) -> None:
    if not isinstance(entry, dict):
        raise DataError(f"{where}: not an object: evaluate again")
    for key, kind in kinds.items():
        if not isinstance(entry.get(key), kind):
            raise DataError(f"{where}: {key} is missing or of the wrong type: evaluate again")


def _check_all(entries: Mapping[str, Any], kind: Any, where: str) -> None:
    _check(entries, dict.fromkeys(entries, kind), where)
