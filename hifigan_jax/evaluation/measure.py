"""Measuring pairs of files, with a cache of the values of each pair and metric."""

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hifigan_jax.audio import read_audio
from hifigan_jax.errors import DataError
from hifigan_jax.evaluation.files import AudioFile
from hifigan_jax.evaluation.metric import Audio, at_rate
from hifigan_jax.evaluation.progress import run
from hifigan_jax.evaluation.provenance import version
from hifigan_jax.evaluation.registry import METRICS
from hifigan_jax.files import atomic_write

logger = logging.getLogger(__name__)

RESAMPLER = f"soxr {version('soxr')}, very high quality, then clipped to [-1, 1]"


class Pair(NamedTuple):
    """A synthesized file and its reference."""

    system: str
    key: str
    reference: AudioFile
    synthesized: AudioFile

    @property
    def samples(self) -> int:
        """The common length."""
        return min(self.reference.samples, self.synthesized.samples)

    @property
    def content(self) -> tuple[str, str]:
        """What all values depend on. Systems may have the same audio, as 16-bit recordings and their 16-bit copies do."""
        return self.reference.content, self.synthesized.content


class Task(NamedTuple):
    """The metrics of one pair that are not in the cache."""

    pair: Pair
    metrics: tuple[str, ...]
    cache: str


class Outcome(NamedTuple):
    """The values of one pair, NaN where a metric is undefined or failed, and what failed."""

    pair: Pair
    values: dict[str, float]
    problems: list[str]


def measure_all(pairs: Sequence[Pair], metrics: Sequence[str], cache: Path, jobs: int) -> list[Outcome]:
    """The values of all pairs, in their order. What is in the cache is not computed again."""
    known = {pair: {name: _read(_entry(cache, pair, name), name) for name in metrics} for pair in pairs}
    missing = {pair: tuple(name for name, values in known[pair].items() if values is None) for pair in pairs}
    tasks = {pair.content: Task(pair, names, str(cache)) for pair, names in missing.items() if names}
    if complete := sum(not names for names in missing.values()):
        logger.info("%d of %d pairs of files are already measured", complete, len(pairs))
    measured = {outcome.pair.content: outcome for outcome in run(measure_pair, [*tasks.values()], jobs, "metrics")}
    return [_merged(pair, known[pair], measured.get(pair.content)) for pair in pairs]


def measure_pair(task: Task) -> Outcome:
    """Computes the metrics of one pair and stores each in the cache as soon as it is known."""
    pair, values, problems = task.pair, {}, []
    try:
        audio = [read_audio(file.path)[0][: pair.samples] for file in (pair.reference, pair.synthesized)]
    except DataError as error:  # the file was there and usable when the evaluation began
        undefined = {value: math.nan for name in task.metrics for value in METRICS[name].values}
        return Outcome(pair, undefined, [str(error)])
    resampled: dict[int, list[Audio]] = {}
    for name in task.metrics:
        rate = METRICS[name].rate or pair.reference.rate
        if rate not in resampled:
            resampled[rate] = [at_rate(samples, pair.reference.rate, rate) for samples in audio]
        try:
            measured = METRICS[name].measure(*resampled[rate], rate)
            found = {value: number if math.isfinite(number) else math.nan for value, number in measured.items()}
        except Exception as error:  # whatever a package raises concerns this pair and metric only
            found = dict.fromkeys(METRICS[name].values, math.nan)
            reason = str(error) if isinstance(error, DataError) else f"{name}: {type(error).__name__}: {error}"
            problems.append(" ".join(reason.split()))
        else:
            _write(_entry(Path(task.cache), pair, name), found)
        values |= found
    return Outcome(pair, values, problems)


def _merged(pair: Pair, known: dict[str, dict[str, float] | None], measured: Outcome | None) -> Outcome:
    values = {value: number for found in known.values() if found for value, number in found.items()}
    if measured is None:
        return Outcome(pair, values, [])
    return Outcome(pair, values | measured.values, [f"{pair.synthesized.path}: {problem}" for problem in measured.problems])


def _entry(cache: Path, pair: Pair, name: str) -> Path:
    """The file of a metric's values of a pair. Its name depends on everything that the values depend on."""
    metric = METRICS[name]
    reference = pair.reference.content if metric.uses_reference else None
    facts: list[Any] = [reference, pair.synthesized.content, pair.samples, name, metric.mode, metric.rate, RESAMPLER]
    digest = hashlib.sha256(json.dumps([*facts, metric.versions, version("hifigan-jax")]).encode()).hexdigest()
    return cache / "values" / digest[:2] / f"{digest[2:]}.json"


def _read(path: Path, name: str) -> dict[str, float] | None:
    """The values of a metric, NaN for null; None if they are missing or damaged."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        values = {value: math.nan if stored[value] is None else float(stored[value]) for value in METRICS[name].values}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return values if all(stored[value] is None or math.isfinite(number) for value, number in values.items()) else None


def _write(path: Path, values: dict[str, float]) -> None:
    with atomic_write(path) as temporary:
        numbers = {name: None if math.isnan(value) else value for name, value in values.items()}
        Path(temporary).write_text(json.dumps(numbers), encoding="utf-8")
