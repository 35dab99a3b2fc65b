"""The evaluation of systems against references."""

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_jax.errors import UsageError, did_you_mean, printable
from hifigan_jax.evaluation.files import CHANNELS, LENGTH, LEVEL, AudioFile, Files, keys, reference_files
from hifigan_jax.evaluation.measure import RESAMPLER, Outcome, Pair, measure_all
from hifigan_jax.evaluation.provenance import provenance
from hifigan_jax.evaluation.registry import METRICS, metric_of, select
from hifigan_jax.evaluation.results import SCHEMA, Results
from hifigan_jax.evaluation.spectra import mel_settings
from hifigan_jax.evaluation.statistics import CONFIDENCE, FEWEST, METHOD, RESAMPLES, SEED, summarize
from hifigan_jax.evaluation.systems import ANCHORS, System, anchor, is_model, system
from hifigan_jax.weights.pretrained import cache_folder

logger = logging.getLogger(__name__)

PACKAGES = ("hifigan-jax", "jax", "jaxlib", "numpy", "scipy", "soundfile", "soxr")
Values = dict[str, dict[str, dict[str, float]]]  # by value, system and key


def evaluate(
    reference: str | Path,
    systems: Mapping[str, str | Path],
    metrics: Sequence[str] | None = None,
    *,
    baseline: str | None = None,
    anchors: bool = True,
    jobs: int = 1,
    cache: str | Path | None = None,
    command: str | None = None,
) -> Results:
    """Measures systems against a folder of recordings.

    >>> results = evaluate("recordings", {"v1": "universal_v1", "mine": "generated"}, ["mel_l1", "mr_stft"], baseline="v1")
    >>> print(results.table())

    Each system is a folder of audio with the same names as the references, a checkpoint or the name of a pretrained model; models
    resynthesize the references. `metrics` are names of METRICS or of single values, None for all that are installed. Differences
    are reported against the system `baseline`. With `anchors`, the systems of ANCHORS come first. What is in the folder `cache`
    is not computed again.

    Files and values that cannot be evaluated are listed in the results' `problems`. Raises UsageError, DataError if there are no
    references, CheckpointError and DiskError. More than one of `jobs` (processes) needs a program with a main guard.
    """
    _check_names(systems, baseline, anchors)
    values, disabled = select(metrics)
    cache = Path(cache or cache_folder() / "evaluation")
    _check_cache(cache, [reference, *(source for source in systems.values() if not is_model(source))])
    references = reference_files(reference)
    folder = os.fspath(reference)
    evaluated = [anchor(name, references, folder, cache, jobs) for name in (ANCHORS if anchors else ())]
    evaluated += [system(name, source, references, keys(reference), cache) for name, source in systems.items()]
    names = list(dict.fromkeys(map(metric_of, values)))
    outcomes = measure_all(_pairs(evaluated, references), names, cache, jobs)
    numbers = {value: _by_system(value, evaluated, outcomes) for value in values}
    return Results(
        {
            "schema": SCHEMA,
            **provenance(command or _call(folder, systems, metrics), _packages(names)),
            **_inputs(references, folder),
            "baseline": baseline,
            "metrics": {value: _described(value) for value in values},
            "disabled": disabled,
            "systems": {found.name: _system(found, numbers, baseline) for found in evaluated},
            "values": _without_nan(numbers),
            "problems": [printable(problem) for part in (references, *evaluated, *outcomes) for problem in part.problems],
        }
    )


def _check_names(systems: Mapping[str, str | Path], baseline: str | None, anchors: bool) -> None:
    names = [*(ANCHORS if anchors else ()), *systems]
    for name in systems:
        if not name.strip() or printable(name) != name:
            raise UsageError(f"{name!r}: not a name of a system: name it with printable characters")
        if name in ANCHORS and anchors:
            raise UsageError(f"{name}: the name of an anchor: choose another, or turn the anchors off")
    if not names:
        raise UsageError("no system to evaluate: name one, or turn the anchors on")
    if baseline is not None and baseline not in names:
        raise UsageError(f"baseline {baseline}: no such system ({', '.join(names)}){did_you_mean(baseline, names)}")


def _check_cache(cache: Path, folders: Sequence[str | Path]) -> None:
    for folder in folders:
        if cache.resolve().is_relative_to(Path(folder).resolve()):
            raise UsageError(f"{cache}: inside {folder}, whose audio is evaluated: choose another folder for the output")


def _call(folder: str, systems: Mapping[str, str | Path], metrics: Sequence[str] | None) -> str:
    """The call of `evaluate`, in place of a command."""
    sources = {name: str(source) for name, source in systems.items()}
    return f"hifigan_jax.evaluation.evaluate({folder!r}, {sources!r}, {metrics!r})"


def _packages(metrics: Sequence[str]) -> list[str]:
    return [*PACKAGES, *(package for name in metrics for package in METRICS[name].packages)]


def _inputs(references: Files, folder: str) -> dict[str, Any]:
    """The references, and what is the same for all metrics."""
    bootstrap = {"method": METHOD, "level": CONFIDENCE, "resamples": RESAMPLES, "seed": SEED, "fewest": FEWEST}
    return {
        "reference": {"folder": folder, "rate": _rate(references), **_listed(references.usable, folder)},
        "treatment": {"resampler": RESAMPLER, "length": LENGTH, "level": LEVEL, "channels": CHANNELS},
        "mel": dict(mel_settings(_rate(references))),
        "bootstrap": bootstrap,
    }


def _pairs(systems: Sequence[System], references: Files) -> list[Pair]:
    return [Pair(found.name, key, references.usable[key], found.files[key]) for found in systems for key in sorted(found.files)]


def _by_system(value: str, systems: Sequence[System], outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    result: dict[str, dict[str, float]] = {found.name: {} for found in systems}
    for outcome in outcomes:
        result[outcome.pair.system][outcome.pair.key] = outcome.values[value]
    return result


def _rate(references: Files) -> int:
    return next(iter(references.usable.values())).rate


def _listed(found: Mapping[str, AudioFile], folder: str) -> dict[str, Any]:
    entries = {key: _entry(file, folder) for key, file in sorted(found.items())}
    return {"count": len(found), "seconds": round(sum(file.seconds for file in found.values()), 3), "files": entries}


def _entry(file: AudioFile, folder: str) -> dict[str, Any]:
    path = Path(os.path.relpath(file.path, folder)).as_posix()
    return {"path": path, "sha256": file.sha256, "seconds": round(file.seconds, 4)}


def _system(found: System, numbers: Values, baseline: str | None) -> dict[str, Any]:
    facts = {"kind": found.kind, "source": found.source, "sha256": found.sha256, "folder": found.folder}
    compared = baseline is not None and found.name != baseline
    return {
        **facts,
        **_listed(found.files, found.folder),
        "summary": _summaries({value: by_system[found.name] for value, by_system in numbers.items()}, limited=True),
        "difference": _summaries(_differences(numbers, found.name, baseline), limited=False) if compared else {},
    }


def _differences(numbers: Values, name: str, baseline: str) -> dict[str, dict[str, float]]:
    return {
        value: {key: number - by_system[baseline][key] for key, number in by_system[name].items() if key in by_system[baseline]}
        for value, by_system in numbers.items()
    }


def _summaries(numbers: Mapping[str, Mapping[str, float]], limited: bool) -> dict[str, dict[str, Any]]:
    """The summary of each value that has one. `limited` intervals end at the limits of the value's range."""
    found = {}
    for value, by_key in numbers.items():
        described = METRICS[metric_of(value)].values[value]
        limits = (described.lowest, described.highest) if limited else (None, None)
        found[value] = summarize(np.array([*by_key.values()], np.float64), *limits)
    return {value: summary._asdict() for value, summary in found.items() if summary is not None}


def _described(value: str) -> dict[str, Any]:
    name = metric_of(value)
    metric = METRICS[name]
    return {
        **metric.values[value]._asdict(),
        "metric": name,
        "packages": metric.versions,
        "mode": metric.mode,
        "rate": metric.rate,
        "source": metric.source,
        "uses_reference": metric.uses_reference,
        "cannot_separate": metric.cannot_separate,
    }


def _without_nan(numbers: Values) -> dict[str, dict[str, dict[str, float | None]]]:
    return {
        value: {
            name: {key: None if math.isnan(number) else number for key, number in by_key.items()}
            for name, by_key in by_system.items()
        }
        for value, by_system in numbers.items()
    }
