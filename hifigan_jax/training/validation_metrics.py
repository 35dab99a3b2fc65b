"""The metrics of `validation_metrics`. Neither they nor jax are imported before they are needed."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hifigan_jax.errors import DataError, UsageError

logger = logging.getLogger(__name__)


def check_metrics(names: Sequence[str]) -> None:
    """Raises UsageError for an unknown metric, and for one whose packages are not installed."""
    if not names:
        return
    from hifigan_jax.evaluation.registry import METRICS, metric_of, values

    for name in names:
        try:
            metric = METRICS[metric_of(next(iter(values(name))))]
        except UsageError as error:
            raise UsageError(f"validation_metrics: {error}") from None
        if metric.missing:
            missing = ", ".join(metric.missing)
            raise UsageError(f"validation_metrics: {name} needs {missing}, not installed: {metric.install}")


class UtteranceMetrics:
    """The values of metrics for the utterances of one validation."""

    def __init__(self, names: Sequence[str]):
        self._values, self._metrics = _selected(names) if names else ({}, {})
        self._rows: list[dict[str, float]] = []
        self._problems: dict[str, str] = {}  # the first of each metric

    def add(self, real: np.ndarray, fake: np.ndarray, rate: int) -> None:
        """Measures an utterance at `rate` Hz; what a metric cannot measure is NaN."""
        if not self._metrics:
            return
        from hifigan_jax.evaluation.metric import at_rate

        samples = min(real.size, fake.size)
        found: dict[str, float] = {}
        for name, metric in self._metrics.items():
            target = metric.rate or rate
            audio = (at_rate(x[:samples], rate, target).astype(np.float32) for x in (real, fake))
            try:
                found |= metric.measure(*audio, target)
            except Exception as error:  # whatever a package raises must not end the run
                reason = str(error) if isinstance(error, DataError) else f"{name}: {type(error).__name__}: {error}"
                self._problems.setdefault(name, " ".join(reason.split()))
        self._rows.append({value: found.get(value, math.nan) for value in self._values})

    def averages(self) -> dict[str, float]:
        """The mean of each value, or the median where tables show that, over the utterances that have it."""
        for problem in self._problems.values():
            logger.warning("validation: %s", problem)
        result = {}
        for value, described in self._values.items():
            numbers = [row[value] for row in self._rows if math.isfinite(row[value])]
            if numbers:
                result[value] = float(np.median(numbers) if described.statistic == "median" else np.mean(numbers))
        return result


def _selected(names: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values that `names` stand for, and the metrics that compute them."""
    from hifigan_jax.evaluation.registry import METRICS, metric_of, values

    found = {value: described for name in names for value, described in values(name).items()}
    return found, {name: METRICS[name] for name in dict.fromkeys(map(metric_of, found))}
