"""The tables of export.py's figures."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Figures = Mapping[str, Mapping[str, float]]  # by model


def accuracy(result: Mapping[str, Any], name: Callable[[str], str]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: the differences from Vocoder.decode, the largest and, where measured, the root mean square."""
    figures = result["accuracy"]
    sizes, speech = figures["ONNX Runtime, random weights"], figures["ONNX Runtime, speech"]
    measured = {"ONNX Runtime, random weights": {model: _largest(each.values()) for model, each in sizes.items()}}
    for precision in ("float32", "float16"):
        measured[f"ONNX Runtime, speech, {precision}"] = {model: each[precision] for model, each in speech.items()}
    others = ("StableHLO, random weights", "sherpa-onnx, speech", "Chromium, speech")
    measured |= {what: figures[what] for what in others if what in figures}
    rows = [[label, _cell(models, name)] for label, models in measured.items()]
    differing = (f"{name(model)} {each['samples_that_differ']}" for model, each in measured[others[0]].items())
    rows.append(["StableHLO and the same function, jitted: samples that differ", ", ".join(differing)])
    return ["runtime, weights", "largest difference of a sample (RMS)"], rows


def _largest(sizes: Iterable[Mapping[str, float]]) -> dict[str, float]:
    return {"largest": max(each["largest"] for each in sizes)}


def _cell(models: Figures, name: Callable[[str], str]) -> str:
    found = []
    for model, figure in models.items():
        rms = f" ({figure['rms']:.1e})" if "rms" in figure else ""
        found.append(f"{name(model)} {figure['largest']:.1e}{rms}")
    return ", ".join(found)
