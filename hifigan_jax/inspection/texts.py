"""Descriptions of text files: configurations, results of evaluations, metrics of runs, file lists."""

import codecs
import json
import os
from collections import Counter
from itertools import compress
from pathlib import Path

from hifigan_jax import audio
from hifigan_jax.config import Data, load_config
from hifigan_jax.config.files import known_keys, read_json
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.evaluation.results import SCHEMA, Results
from hifigan_jax.file_lists import locate, read_list, read_names
from hifigan_jax.inspection.description import Description, Fact, command, listed, plural
from hifigan_jax.inspection.models import facts_of
from hifigan_jax.inspection.recordings import facts_of as facts_of_recordings
from hifigan_jax.mel_conversion import read_section
from hifigan_jax.models.registry import GENERATORS

# Where the recordings of a list may be, relative to it, if no folder is given.
_FOLDERS = (".", "wavs", "../wavs", "wav", "..")
_SEARCHED = 20  # names of a list that are searched in each of them


def describe_json(path: Path) -> Description:
    """A JSON file: results of an evaluation, or a configuration. Raises UsageError, DataError."""
    content = read_json(path)
    if isinstance(content, dict) and content.get("schema") == SCHEMA and "systems" in content:
        return describe_results(path)
    keys = set(content) if isinstance(content, dict) else set()
    if keys == {"sha256", "files"} and isinstance(content["files"], dict):
        return Description("index of a run", [Fact("files", len(content["files"]), f"{len(content['files']):,}")])
    if not keys & known_keys():
        raise UsageError(f"{path}: not a configuration, nor results of an evaluation: none of its keys is known")
    if not keys & {key for family in GENERATORS.values() for key in family.model_fields}:
        mel = read_section(path)
        facts = [Fact(name, value) for name, value in mel.model_dump(mode="json").items()]
        use = command("infer", "--input_mels_dir", "DIR", "--mel_convention", path)
        return Description("mel convention", facts, command=use)
    return _describe_config(path)


def _describe_config(path: Path) -> Description:
    """A configuration; what only training refuses is a problem. Raises UsageError if synthesis refuses it too."""
    problems = []
    try:
        config = load_config(path)
    except UsageError as error:
        problems.append(f"train refuses it: {str(error).removeprefix(f'{path}: ')}")
        config = load_config(path, purpose="inference")
    training = config.optimization
    facts = [
        *facts_of(config),
        Fact("discriminators", [*config.discriminators], ", ".join(config.discriminators)),
        Fact("batch", [training.batch_size, training.segment_size], f"{training.batch_size} x {training.segment_size} samples"),
        Fact("fine-tuning", config.data.fine_tuning, "on mels" if config.data.fine_tuning else "no"),
    ]
    return Description("configuration", facts, problems, None if problems else command("train", "--config", path))


def describe_results(path: Path) -> Description:
    """The results of an evaluation, or the folder that contains them. Raises DataError."""
    results = Results.load(path)
    data = results.data
    reference = data["reference"]
    facts = [
        Fact("recordings", reference["count"], f"{reference['count']:,}, {reference['seconds']:.0f} s, {reference['folder']}"),
        Fact("systems", [*data["systems"]], listed([*data["systems"]], 8)),
        Fact("baseline", data["baseline"], data["baseline"] or "none"),
    ]
    shown = [name for name, system in data["systems"].items() if system["kind"] != "anchor"] or [*data["systems"]]
    for value, metric in data["metrics"].items():
        means = {name: results.mean(value, name) for name in shown}
        text = ", ".join(f"{name} {mean:.3f}" for name, mean in [*means.items()][:4])
        facts.append(Fact(metric["label"], {name: mean if mean == mean else None for name, mean in means.items()}, text))
    problems = [f"{plural(len(results.problems), 'file')} or values missing: {results.problems[0]}"] if results.problems else []
    return Description("results of an evaluation", facts, problems, command("report", path))


def describe_text(path: Path, folder: str | None = None) -> Description:
    """A file list, whose names are relative to `folder`, or the metrics of a run. Raises UsageError, DataError."""
    with open(path, "rb") as file:
        start = file.read(2**16)
    if b"\0" in start and not start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _unknown(path)
    if start.lstrip().startswith(b'{"step":'):
        return _describe_metrics(path)
    if not folder:
        names = read_names(str(path))
        if not _is_list(start, names, path):
            raise _unknown(path)
        folder = _folder_of(names[:_SEARCHED], path)
    return _describe_list(path, folder, read_list(str(path), Data(input_wavs_dir=folder, allow_outside=True)))


def _folder_of(names: list[str], path: Path) -> str:
    """The folder in which the most of these recordings of a list are."""
    folders = [*(os.path.join(path.parent, name) for name in _FOLDERS), Data().input_wavs_dir]
    return max(folders, key=lambda one: sum(os.path.isfile(locate(name, Path(one))) for name in names))


def _unknown(path: Path) -> DataError:
    return DataError(f"{path}: not a file of a kind that hifigan_jax reads")


def _describe_list(path: Path, folder: str, paths: list[str]) -> Description:
    exists = list(map(os.path.isfile, paths))
    found, missing = list(compress(paths, exists)), [one for one, is_file in zip(paths, exists, strict=True) if not is_file]
    folder = os.path.normpath(folder)
    facts = [Fact("names", len(paths), f"{len(paths):,}"), Fact("folder", folder)]
    problems = []
    if found:
        own, problems = facts_of_recordings(found)
        facts += own
    if missing:
        problems.append(
            f"{plural(len(missing), 'recording')} missing, such as {missing[0]}: set --input_wavs_dir to their folder"
        )
    if repeated := [name for name, count in Counter(paths).items() if count > 1]:
        problems.append(f"{plural(len(repeated), 'name')} repeated, such as {repeated[0]}: remove the others")
    use = command("train", "--config", "JSON", "--input_training_file", path, "--input_wavs_dir", folder)
    return Description("file list", facts, problems, use if found else None)


def _is_list(start: bytes, names: list[str], path: Path) -> bool:
    """Whether most lines have columns or the names of audio files, or the first name is that of a recording near the list."""
    suffixes = sum(Path(name).suffix.lower() in audio.SUFFIXES for name in names)
    lines = [line.lstrip() for line in start.split(b"\n") if line.strip()]
    columns = sum(b"|" in line and not line.startswith(b"|") for line in lines)
    return 2 * suffixes > len(names) or 2 * columns > len(lines) or os.path.isfile(locate(names[0], path.parent))


def _describe_metrics(path: Path) -> Description:
    steps, damaged, last = [], 0, {}
    with open(path, "rb") as file:
        for line in file:
            try:
                row = json.loads(line.decode())
                steps.append(int(row["step"]))
                last = row
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                damaged += 1
    if not steps:
        raise _unknown(path)
    text = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in last.items())
    facts = [
        Fact("lines", len(steps), f"{len(steps):,}"),
        Fact("steps", [min(steps), max(steps)], f"{min(steps):,} to {max(steps):,}"),
        Fact("last", last, text),
    ]
    problems = [f"{plural(damaged, 'line')} damaged: the next start of the run removes them"] if damaged else []
    return Description("metrics of a run", facts, problems)
