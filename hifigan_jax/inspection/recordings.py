"""Descriptions of recordings and of folders of them."""

import math
from collections import Counter
from pathlib import Path

from hifigan_jax import audio
from hifigan_jax.errors import DataError
from hifigan_jax.inspection.description import Description, Fact, command, duration, first_of, listed, plural
from hifigan_jax.inspection.models import DEFAULT_MEL


def describe_recording(path: Path) -> Description:
    """A recording, which is decoded completely. Raises DataError."""
    samples, rate, peak = audio.inspect_audio(path)
    container, coding, channels = audio.coding(path)
    seconds, level = samples / rate, f"{20 * math.log10(peak):.1f} dB" if peak else "silence"
    facts = [
        Fact("format", {"container": container, "coding": coding, "channels": channels}, f"{container}, {coding}"),
        Fact("channels", channels, f"{channels}, averaged" if channels > 1 else "1"),
        Fact("rate", rate, f"{rate:,} Hz"),
        Fact("duration", seconds, f"{duration(seconds)}, {plural(samples, 'sample')}"),
        Fact("peak", peak, f"{peak:.4f}, {level}"),
        Fact("training", seekable := audio.is_seekable(path), "read exactly" if seekable else "left out"),
    ]
    problems = []
    if not seekable:
        problems.append("for training, convert it to WAV or FLAC: segments of this format cannot be read exactly")
    if peak == 0:
        problems.append("silent: nothing to synthesize")
    elif peak > 1:
        problems.append("samples beyond [-1, 1], which 16-bit output clips: scale it")
    shortest = DEFAULT_MEL.convention.shortest_recording
    usable = audio.resampled_length(samples, rate, DEFAULT_MEL.sampling_rate) >= shortest
    if not usable:
        problems.append(f"too short for a mel: {shortest} samples at {DEFAULT_MEL.sampling_rate} Hz are needed")
    if rate != DEFAULT_MEL.sampling_rate:
        text = f"infer resamples it to {DEFAULT_MEL.sampling_rate:,} Hz for universal_v1; train needs it at the model's rate"
        facts.append(Fact("resampling", True, text))
    return Description("recording", facts, problems, command("infer", "--input_wavs_dir", path) if usable else None)


def describe_recordings(folder: Path, paths: list[str]) -> Description:
    """A folder of recordings, by their headers."""
    facts, problems = facts_of(paths)
    use = command("infer", "--input_wavs_dir", folder) if facts[1].value else None
    return Description("folder of recordings", facts, problems, use)


def facts_of(paths: list[str]) -> tuple[list[Fact], list[str]]:
    """Facts and problems of several recordings: how many there are, how long they are, and their rates, by their headers."""
    rates: Counter[int] = Counter()
    seconds, broken = 0.0, []
    for path in paths:
        try:
            samples, rate = audio.length_and_rate(path)
        except DataError as error:
            broken.append(str(error))
            continue
        rates[rate] += 1
        seconds += samples / rate
    named = [f"{rate:,} Hz ({count:,})" for rate, count in rates.most_common()]
    facts = [
        Fact("recordings", len(paths), f"{len(paths):,}"),
        Fact("duration", seconds, duration(seconds)),
        Fact("rates", {str(rate): count for rate, count in rates.items()}, listed(named)),
    ]
    problems = first_of(broken)
    if len(rates) > 1:
        problems.append("several rates: train needs one: resample the others")
    return facts, problems
