"""The tables of docs/mel-convention-table.md, from docs/results/mel_conventions.json, mel_guard.json and CONVENTIONS."""

from collections.abc import Mapping
from typing import Any

from hifigan_jax.conventions import CONVENTIONS, Convention

Result = Mapping[str, Any]
Table = tuple[list[str], list[list[str]]]  # headers, rows


def conventions(result: Result) -> Table:
    """What the rows contain, and how far their mels are from those of other programs. Rows with equal values share a line."""
    lines = []
    for c, names in equal_rows().items():
        parity, errors = (result[key] for key in ("parity", "mel_l1"))
        own = [parity[name]["own_float32_mean"] for name in names if "own_float32_mean" in parity[name]]
        audible = f"{max(errors[name] for name in names if name in errors):.3f}" if names[0] in errors else "no"
        sizes = f"{c.sampling_rate / 1000:g}: {c.n_fft}, {c.win_size}, {c.hop_size}"
        difference = f"{max(own):.0e}".replace("e-0", "e-") if own else ""
        lines.append([", ".join(names), sizes, _filters(c), _values(c), _framing(c), difference, audible])
    headers = ["name", "kHz: FFT, window, hop", "bins, Hz", "values", "frames", "difference", "`universal_v1`"]
    return headers, lines


def guard(result: Result) -> Table:
    """The share of mels that are refused, by what they are and by what they are taken for. Alike conventions share a line."""
    kinds = alike(result["guard"])
    rows = []
    for kind in kinds:
        cells = []
        for other in kinds:
            counts = [result["guard"][a][b] for a in kind for b in other if b in result["guard"][a]]
            cells.append(f"{sum(n for n, _ in counts)} of {sum(n for _, n in counts):,}" if counts else "")
        rows.append([", ".join(kind), *cells])
    return ["mel of \\ taken for", *(kind[0] for kind in kinds)], rows


def alike(counts: Mapping[str, Mapping[str, list[int]]]) -> list[list[str]]:
    """The conventions in groups: within a group, no mel of one is refused as another."""
    groups: list[list[str]] = []
    for name, taken_for in counts.items():
        fitting = [group for group in groups if group[0] in taken_for and not taken_for[group[0]][0] + counts[group[0]][name][0]]
        if fitting:
            fitting[0].append(name)
        else:
            groups.append([name])
    return groups


def equal_rows() -> dict[Convention, list[str]]:
    """The names of each row's values, without source and storage."""
    rows: dict[Convention, list[str]] = {}
    for name, c in CONVENTIONS.items():
        rows.setdefault(c.computation, []).append(name)
    return rows


def _filters(c: Convention) -> str:
    filters = "" if c.scale == "slaney" else ", HTK"
    height = "" if c.norm == "slaney" else ", height 1"
    return f"{c.num_mels}, {c.fmin:.0f}-{c.sampling_rate / 2 if c.fmax is None else c.fmax:.0f}{filters}{height}"


def _values(c: Convention) -> str:
    log = "ln" if c.log_base == "e" else "lg"
    floored = f"{log}(x + {c.floor:g})" if c.floor_mode == "add" else f"{log} max(x, {c.floor:g})"
    if (c.mean, c.std) == (0, 1):
        return floored
    return f"({floored} + {-c.mean:.4g}) / {c.std:.4g}" + (f", in {c.clip[0]:g}..{c.clip[1]:g}" if c.clip else "")


def _framing(c: Convention) -> str:
    framing = "centered" if c.centered else "half a hop"
    extra = [text for text, found in (("0 padded", c.padding == "zero"), ("symmetric", c.window == "symmetric")) if found]
    extra += [f"energy + {c.epsilon:g}"] * bool(c.epsilon) + [f"energy > {c.energy_floor:g}"] * bool(c.energy_floor)
    return ", ".join([framing, *extra])
