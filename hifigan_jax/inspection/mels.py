"""Descriptions of mels, with their likely convention and what infer would do with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hifigan_jax import mel_guard
from hifigan_jax.conventions import CONVENTIONS
from hifigan_jax.errors import DataError
from hifigan_jax.inspection.description import Description, Fact, command, duration, listed, plural
from hifigan_jax.inspection.models import DEFAULT_MEL
from hifigan_jax.mel_conversion import obstacles

BINS = sorted({row.num_mels for row in CONVENTIONS.values()})
_LARGEST = 2**28  # values of an array that is read: nine hours of mel
_SEARCHED = 4096  # frames in the middle that are compared with every convention


class _Use(NamedTuple):
    """What infer does with a mel and the default vocoder, what is wrong with it, and the command if nothing is."""

    outcome: str
    problem: str | None = None
    flags: Sequence[str] | None = None


def describe_array(array: np.ndarray, path: Path, is_npy: bool = True) -> Description:
    """An array, probably a mel, from a .npy file or from another, which infer does not read."""
    facts = [Fact("shape", list(array.shape), str(array.shape)), Fact("dtype", str(array.dtype))]
    problems = [] if is_npy else ["infer reads mels from .npy files: save the array with numpy.save"]
    if not array.size:
        return Description("array", facts, ["empty: compute it again"])
    if array.dtype.kind != "f":
        return Description("array", facts, [f"mels are arrays of floats, not of {array.dtype}: save them as float32"])
    if array.size > _LARGEST:
        return Description("array", facts, [f"{array.size:,} values, which are no single mel: save each utterance alone"])
    with np.errstate(over="ignore"):  # such values become infinite
        values = np.asarray(array, np.float32)
    finite = np.isfinite(values)
    facts.append(_range(values[finite]))
    if not finite.all():
        problems.append(f"{plural(int((~finite).sum()), 'value')} of {values.size:,} NaN or infinite: compute it again")
        values = np.where(finite, values, values[finite].min(initial=0))
    if values.ndim == 3:
        if values.shape[0] > 1:
            problems.append(
                f"a batch of {values.shape[0]}, described by its first: infer reads one mel per file: save each alone"
            )
        values = values[0]
    if values.ndim != 2:
        problems.append("mels have two axes" + (": save samples as an audio file" if values.ndim == 1 else ""))
        return Description("array", facts, problems)
    return _mel(values, path, facts, problems, bool(finite.all()))


def _mel(values: Float[np.ndarray, "A B"], path: Path, facts: list[Fact], problems: list[str], is_finite: bool) -> Description:
    mel, frames_first = _oriented(values)
    frames, bins = mel.shape
    facts.append(Fact("bins", bins))
    facts.append(Fact("frames", frames, f"{frames:,}, the first axis" if frames_first else f"{frames:,}"))
    if bins not in BINS:
        return Description("mel", facts, [*problems, f"no known convention has {bins} bins: they have {listed(BINS)}"])
    start = max(frames - _SEARCHED, 0) // 2
    names = mel_guard.likely(mel[start : start + _SEARCHED], CONVENTIONS)
    if names:
        row = CONVENTIONS[names[0]]
        seconds = frames * row.hop_size / row.sampling_rate
        facts.append(Fact("duration", seconds, f"{duration(seconds)}, if it is {names[0]}"))
    uncertain = " (uncertain: too short)" if frames < mel_guard.SHORTEST else ""
    facts.append(Fact("convention", names, (listed(names, 12) if names else "not like speech in any") + uncertain))
    use = _use(mel, names, frames_first)
    problems += [use.problem] if use.problem else []
    facts.append(Fact("universal_v1", use.outcome if is_finite else "refuses it"))
    usable = use.flags is not None and not problems
    return Description("mel", facts, problems, command("infer", "--input_mels_dir", path, *use.flags) if usable else None)


def _use(mel: Float[np.ndarray, "F M"], names: list[str], frames_first: bool) -> _Use:
    if frames_first:
        stored = [name for name in names if CONVENTIONS[name].frames_first]
        named = f", or pass --mel_convention {stored[0]} if it is of that" if stored else ""
        return _Use("refuses it", f"stored as (frames, bins): save its transpose{named}")
    reason = None
    if mel.shape[1] == DEFAULT_MEL.num_mels:
        try:
            mel_guard.check(mel, DEFAULT_MEL.convention)
            return _Use("takes it; name the convention if it is not hifigan", flags=[])
        except DataError as error:
            reason = str(error)
    for name in names:
        if not obstacles(CONVENTIONS[name], DEFAULT_MEL.convention):
            return _Use(f"takes it with --mel_convention {name}", flags=["--mel_convention", name])
    if names:
        first = f"{names[0]}: {obstacles(CONVENTIONS[names[0]], DEFAULT_MEL.convention)[0]}"
        reason = f"not convertible ({first}): use a vocoder that was trained on such mels"
    return _Use("refuses it", reason or f"{mel.shape[1]} bins, {DEFAULT_MEL.num_mels} expected: use a vocoder of such mels")


def _oriented(values: Float[np.ndarray, "A B"]) -> tuple[Float[np.ndarray, "F M"], bool]:
    """The mel as [F, M], and whether it is stored so. If both axes may be the bins, the one in which it looks like speech is."""
    first, last = (size in BINS for size in values.shape)
    if first and last and values.shape[0] != values.shape[1]:
        last = not mel_guard.likely(values.T, CONVENTIONS) and bool(mel_guard.likely(values, CONVENTIONS))
        first = not last
    frames_first = last and not first
    return (values if frames_first else values.T), frames_first


def _range(values: Float[np.ndarray, " N"]) -> Fact:
    if not values.size:
        return Fact("range", None, "no finite value")
    lowest, highest = float(values.min()), float(values.max())
    return Fact("range", [lowest, highest], f"{lowest:.2f} to {highest:.2f}, mean {values.mean(dtype=np.float64):.2f}")
