"""The results of an evaluation as matplotlib figures, for notebooks: `pip install 'hifigan-jax[figures]'`.

results = Results.load("evaluation")
means(results, "pesq").savefig("pesq.png")
clip(results, "kathleen_a0003")  # its audio is read again
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from hifigan_jax.config.sections import Mel
from hifigan_jax.errors import UsageError, did_you_mean
from hifigan_jax.evaluation.files import read_mono
from hifigan_jax.evaluation.results import Results
from hifigan_jax.evaluation.spectra import log_mel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_QUIETEST, _LARGEST_DIFFERENCE = -11.5, 3.0  # of natural-log mels: the floor, and what the difference's colors end at


def means(results: Results, value: str) -> "Figure":
    """One bar per system: the mean with its interval, or the median without one; dots are the files. Raises UsageError."""
    _check(value, results.data["metrics"], "value")
    metric = results.data["metrics"][value]
    statistic = metric["statistic"]
    summaries = {name: system["summary"].get(value) for name, system in results.data["systems"].items()}
    names = [name for name, summary in summaries.items() if summary is not None]
    figure, ((axes,),) = _subplots(1, 1, 1.5 + len(names), 3.2)
    for x, name in enumerate(names):
        summary = summaries[name]
        height = summary[statistic]
        limits = (summary["low"], summary["high"]) if statistic == "mean" else (None, None)
        error = None if limits[0] is None else [[height - limits[0]], [limits[1] - height]]
        axes.bar(x, height, color="C0", alpha=0.6, yerr=error, capsize=4)
        values = [number for number in results.data["values"][value][name].values() if number is not None]
        axes.plot([x] * len(values), values, ".", color="0.3", markersize=3)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set(ylabel=metric["label"], title=f"{statistic}, {metric['direction']} is better")
    return figure


def clip(results: Results, key: str, systems: Sequence[str] | None = None) -> "Figure":
    """Waveform, log-mel and its difference to the reference's for a file of the reference and of each system that has it.

    Paths are relative to the folder that the evaluation ran in. Raises UsageError and DataError.
    """
    found = results.data["systems"]
    for name in systems or ():
        _check(name, found, "system")
    _check(key, results.data["reference"]["files"], "file")
    settings = Mel(**results.data["mel"])
    reference = _audio(results.data["reference"], key)
    chosen = [name for name in (systems or found) if key in found[name]["files"] and name != "ground_truth"]
    rows = [("reference", reference), *((name, _audio(found[name], key)) for name in chosen)]
    figure, axes = _subplots(len(rows), 3, 12.0, 1 + 1.8 * len(rows))
    target = log_mel(reference, settings)
    for (left, middle, right), (name, audio) in zip(axes, rows, strict=True):
        _draw_waveform(left, audio, settings.sampling_rate, name)
        mel = log_mel(audio, settings)
        _draw_mel(middle, mel, settings, {"vmin": _QUIETEST})
        frames = min(len(mel), len(target))
        limits = {"vmin": -_LARGEST_DIFFERENCE, "vmax": _LARGEST_DIFFERENCE, "cmap": "RdBu_r"}
        _draw_mel(right, mel[:frames] - target[:frames], settings, limits)
    for axis, title in zip(axes[0], ("waveform", "log-mel", "difference to the reference"), strict=True):
        axis.set_title(title)
    for axis in axes[-1]:
        axis.set_xlabel("seconds")
    figure.suptitle(key)
    return figure


def _subplots(rows: int, columns: int, width: float, height: float) -> tuple["Figure", Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("matplotlib is not installed: pip install 'hifigan-jax[figures]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _check(name: str, known: dict[str, Any], what: str) -> None:
    if name not in known:
        raise UsageError(f"{name}: no such {what} in the results{did_you_mean(name, known)}")


def _audio(content: dict[str, Any], key: str) -> Float[np.ndarray, " T"]:
    return read_mono(Path(content["folder"]) / content["files"][key]["path"])[0]


def _draw_waveform(axes: Any, audio: Float[np.ndarray, " T"], rate: int, label: str) -> None:
    axes.plot(np.arange(audio.size) / rate, audio, linewidth=0.3)
    axes.set(ylabel=label, ylim=(-1, 1))


def _draw_mel(axes: Any, mel: Float[np.ndarray, "F M"], settings: Mel, options: dict[str, Any]) -> None:
    seconds = len(mel) * settings.hop_size / settings.sampling_rate
    axes.imshow(mel.T, origin="lower", aspect="auto", extent=(0, seconds, 0, mel.shape[1]), **options)
