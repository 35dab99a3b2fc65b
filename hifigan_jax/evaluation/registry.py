"""METRICS: the metrics by name, and the selection of values from them."""

import logging
from collections.abc import Sequence

from hifigan_jax.errors import UsageError, did_you_mean
from hifigan_jax.evaluation.metric import Metric, Value
from hifigan_jax.evaluation.metrics import distillmos, dnsmos, lsd, mcd, mel_l1, mr_stft, pesq, pitch, plcmos, stoi, visqol

logger = logging.getLogger(__name__)

METRICS: dict[str, Metric] = {
    "pesq": pesq.METRIC,
    "stoi": stoi.METRIC,
    "visqol": visqol.METRIC,
    "mr_stft": mr_stft.METRIC,
    "mel_l1": mel_l1.METRIC,
    "lsd": lsd.METRIC,
    "mcd": mcd.METRIC,
    "pitch": pitch.METRIC,
    "distillmos": distillmos.METRIC,
    "dnsmos": dnsmos.METRIC,
    "plcmos": plcmos.METRIC,
}


def values(name: str) -> dict[str, Value]:
    """The values that a name stands for: all of a metric, or a single one. Raises UsageError for an unknown name."""
    if name in METRICS:
        return METRICS[name].values
    found = {value: metric.values[value] for metric in METRICS.values() for value in metric.values if value == name}
    if not found:
        known = dict.fromkeys([*METRICS, *(value for metric in METRICS.values() for value in metric.values)])
        raise UsageError(f"{name}: no such metric ({', '.join(known)}){did_you_mean(name, known)}")
    return found


def metric_of(value: str) -> str:
    """The name of the metric that computes a value."""
    return next(name for name, metric in METRICS.items() if value in metric.values)


def select(names: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """The values of `names` (None: all) whose packages are installed, and the others with the command that installs them.

    Logs one notice per missing extra. Raises UsageError if a name is unknown or nothing is left.
    """
    chosen = list(dict.fromkeys(value for name in (METRICS if names is None else names) for value in values(name)))
    disabled = {value: METRICS[metric_of(value)].install for value in chosen if METRICS[metric_of(value)].missing}
    for command in dict.fromkeys(disabled.values()):
        left_out = [value for value in disabled if disabled[value] == command]
        modules = dict.fromkeys(module for value in left_out for module in METRICS[metric_of(value)].missing)
        logger.warning("%s: left out, not installed: %s: %s", ", ".join(left_out), ", ".join(modules), command)
    available = [value for value in chosen if value not in disabled]
    if not available:
        raise UsageError(f"none of the metrics is installed: {'; '.join(dict.fromkeys(disabled.values()))}")
    return available, disabled
