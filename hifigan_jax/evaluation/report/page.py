"""The HTML page of a report. Everything that comes from the results or from file names is escaped."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from hifigan_jax import web
from hifigan_jax.evaluation.report.clips import OPUS_BIT_RATE, Clip, Codec, Track

_ARROWS = {"higher": "↑", "lower": "↓"}
_MIME = {"flac": "audio/flac", "opus": "audio/ogg"}
_CODEC = {
    "flac": "16-bit FLAC at its own sampling rate",
    "opus": f"Opus, {OPUS_BIT_RATE // 1000} kbit/s; --codec flac makes a larger, lossless page",
}
_PICTURES = {"waveform": "Waveform", "mel": "Log-mel", "difference": "Difference of the log-mel to the reference"}


def render(data: Mapping[str, Any], sources: Sequence[str], clips: Sequence[Clip], codec: Codec) -> str:
    """The complete page. `sources` are the names of the tracks' sources, the reference first."""
    style, script = _packaged("report.css"), web.player() + _packaged("report.js")
    reference = data["reference"]
    return Template(_packaged("page.html")).substitute(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        report=hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16],
        rate=reference["rate"],
        title=f"{reference['count']} files, {reference['seconds']:.0f} s, {reference['rate']} Hz",
        provenance=_provenance(data),
        level=f"{data['bootstrap']['level']:.0%}",
        codec=escape(_CODEC[codec]),
        summary="".join(_summary(data)),
        options="".join(f'<option value="{i}">{escape(name)}</option>' for i, name in enumerate(sources)),
        clips="".join(part for i, clip in enumerate(clips) for part in _clip(i, clip, sources, data, codec)),
        methods="".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in _methods(data)),
    )


def best(numbers: Mapping[str, float], direction: str) -> set[str]:
    """The systems with the best number, compared as they are printed."""
    if not numbers:
        return set()
    extreme = number((max if direction == "higher" else min)(numbers.values()))
    return {name for name, x in numbers.items() if number(x) == extreme}


def number(x: float) -> str:
    """A number as tables print it."""
    return f"{x:.3f}" if abs(x) < 100 else f"{x:.1f}"


def _summary(data: Mapping[str, Any]) -> Iterator[str]:
    """The rows of the summary table, with sortable headings."""
    metrics, systems = data["metrics"], data["systems"]
    yield "<thead><tr>" + _heading("System", "lower")
    yield from (_heading(_label(metric), metric["direction"], metric["mode"]) for metric in metrics.values())
    yield "</tr></thead><tbody>"
    shown = {value: _shown(value, metric["statistic"], systems) for value, metric in metrics.items()}
    bold = {value: best(_compared(shown[value], systems), metrics[value]["direction"]) for value in metrics}
    for name, system in systems.items():
        note = "" if system["count"] == data["reference"]["count"] else f" ({system['count']} files)"
        yield f'<tr><th scope="row">{escape(name)}{note}</th>'
        yield from (_cell(shown[value].get(name), name in bold[value], _interval(system, value, metrics)) for value in metrics)
        yield "</tr>"
    yield "</tbody>"


def _clip(index: int, clip: Clip, sources: Sequence[str], data: Mapping[str, Any], codec: Codec) -> Iterator[str]:
    name, seconds = f"clip-{index}", f"{clip.seconds:.2f}"
    yield f'<article class="clip" id="{name}" aria-labelledby="{name}-key" data-seconds="{clip.seconds:.4f}">'
    yield f'<h3 id="{name}-key" tabindex="-1"><span class="key">{escape(clip.key)}</span> <small>{seconds} s</small></h3>'
    yield '<div class="controls needs-script"><button type="button" class="play">Play</button>'
    yield f'<input type="range" class="position" min="0" max="{clip.seconds:.4f}" step="0.01" value="0" aria-label="Position">'
    yield '<span class="time">0.00 s</span></div><fieldset><legend>Listen to</legend><ul class="tracks">'
    for place, track in enumerate(clip.tracks):
        yield from _track(name, place, track, sources[track.source], codec)
    yield f'</ul></fieldset><div class="scroll" tabindex="0" role="region" aria-label="Metrics of {escape(clip.key)}">'
    yield from _clip_metrics(clip, sources, data)
    yield "</div></article>"


def _track(clip: str, place: int, track: Track, system: str, codec: Codec) -> Iterator[str]:
    shown = escape(system)
    digit = f'<kbd class="needs-script">{place + 1}</kbd> ' if place < 9 else ""
    yield f'<li data-source="{track.source}"><label>'
    checked = "" if place else " checked"
    yield f'<input type="radio" class="needs-script" name="{clip}" value="{place}"{checked}> {digit}{shown}</label>'
    yield f'<audio controls preload="none" src="{_uri(_MIME[codec], track.audio)}" aria-label="{shown}"></audio>'
    for kind, title in _PICTURES.items():
        picture = getattr(track, kind)
        if picture is None:
            yield '<div class="picture empty"></div>'
        else:
            yield f'<div class="picture {kind}"><img alt="{title}: {shown}" src="{_uri("image/png", picture)}"></div>'
    yield "</li>"


def _clip_metrics(clip: Clip, sources: Sequence[str], data: Mapping[str, Any]) -> Iterator[str]:
    metrics, values = data["metrics"], data["values"]
    names = [sources[track.source] for track in clip.tracks if track.source]
    yield '<table><thead><tr><th scope="col">System</th>'
    yield from (f'<th scope="col">{escape(_label(metric))}</th>' for metric in metrics.values())
    yield "</tr></thead><tbody>"
    shown = {value: {name: x for name in names if (x := values[value][name].get(clip.key)) is not None} for value in metrics}
    bold = {value: best(_compared(shown[value], data["systems"]), metrics[value]["direction"]) for value in metrics}
    for name in names:
        yield f'<tr><th scope="row">{escape(name)}</th>'
        yield from (_cell(shown[value].get(name), name in bold[value]) for value in metrics)
        yield "</tr>"
    yield "</tbody></table>"


def _shown(value: str, statistic: str, systems: Mapping[str, Any]) -> dict[str, float]:
    """The statistic of a value by system."""
    return {name: system["summary"][value][statistic] for name, system in systems.items() if value in system["summary"]}


def _compared(numbers: Mapping[str, float], systems: Mapping[str, Any]) -> dict[str, float]:
    """The numbers that are compared: those of systems that are not anchors, if there are several."""
    found = {name: x for name, x in numbers.items() if systems[name]["kind"] != "anchor"}
    return found if len(found) > 1 else {}


def _heading(text: str, direction: str, title: str = "") -> str:
    button = f'<button type="button" class="sort" title="{escape(title)}">{escape(text)}</button>'
    return f'<th scope="col" aria-sort="none" data-direction="{direction}">{button}</th>'


def _cell(x: float | None, bold: bool, interval: str = "") -> str:
    if x is None:
        return '<td><span aria-label="no value">-</span></td>'
    text = f"<strong>{number(x)}</strong>" if bold else number(x)
    return f'<td data-number="{x!r}">{text}{interval}</td>'


def _interval(system: Mapping[str, Any], value: str, metrics: Mapping[str, Any]) -> str:
    if metrics[value]["statistic"] == "median":
        return " <small>(median)</small>"
    summary = system["summary"].get(value)
    if summary is None or summary["low"] is None:
        return ""
    return f" <small>[{number(summary['low'])}, {number(summary['high'])}]</small>"


def _label(metric: Mapping[str, Any]) -> str:
    return f"{metric['label']} {_ARROWS[metric['direction']]}"


def _provenance(data: Mapping[str, Any]) -> str:
    facts = [f"<code>{escape(str(data['command']))}</code>"] if data.get("command") else []
    facts += [escape(f"{name} {data[name]}") for name in ("commit", "date", "cpu") if data.get(name)]
    return ", ".join(facts)


def _methods(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((name, str(text)) for name, text in data["treatment"].items())
    for metric in data["metrics"].values():
        packages = ", ".join(f"{name} {version}" for name, version in metric["packages"].items())
        rate = "the files' rate" if metric.get("rate") is None else f"{metric['rate']} Hz"
        yield metric["label"], f"{packages}; {rate}; {metric['mode']}. Cannot separate {metric['cannot_separate']}"


def _uri(mime: str, content: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def _hash(text: str) -> str:
    """The hash by which the page's security policy permits its own style and script only."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _packaged(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
