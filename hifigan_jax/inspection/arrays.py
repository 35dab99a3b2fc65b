"""Descriptions of NumPy's files: mels, statistics that mels are normalized with, and archives of arrays."""

import shlex
from pathlib import Path

import numpy as np

from hifigan_jax.errors import DataError
from hifigan_jax.inspection.description import Description, Fact, command, first_of, listed, plural
from hifigan_jax.inspection.mels import BINS, describe_array
from hifigan_jax.mel_conversion import read_statistics
from hifigan_jax.mel_file import open_array

_STATISTICS = ({"mean", "std"}, {"mean", "scale"}, {"mean", "stddev"}, {"count", "sum", "sum_square"})


def describe_npy(path: Path) -> Description:
    """A .npy file. Raises DataError if it contains no array."""
    array = open_array(path)
    if array.shape == (2,) or (array.ndim == 2 and array.shape[0] == 2 and array.shape[1] in BINS):
        return describe_statistics(path)
    return describe_array(array, path)


def describe_mels(folder: Path, paths: list[str]) -> Description:
    """A folder of .npy files: their number and sizes, and what the first of them is."""
    shapes, broken = [], []
    for path in paths:
        try:
            shapes.append(open_array(path).shape)
        except DataError as error:
            broken.append(str(error))
    bins = sorted({size for shape in shapes for size in shape if size in BINS})
    facts = [Fact("files", len(paths), f"{len(paths):,}"), Fact("bins", bins, listed(bins) or "of no known convention")]
    problems = first_of(broken)
    if not shapes:
        return Description("folder of .npy files", facts, problems)
    first = next(path for path in paths if not any(text.startswith(f"{path}: ") for text in broken))
    found = describe_npy(Path(first))
    facts.append(Fact("first", first, f"{Path(first).name}: {found.kind}"))
    facts += [fact for fact in found.facts if fact.name in ("shape", "range", "convention", "universal_v1")]
    problems += [f"{first}: {problem}" for problem in found.problems]
    use = found.command and found.command.replace(shlex.quote(first), shlex.quote(str(folder)))
    return Description("folder of .npy files", facts, problems, use)


def describe_npz(path: Path) -> Description:
    """A .npz file: statistics, or arrays that infer does not read. Raises DataError, UsageError."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = {name: array for name in content.files if isinstance(array := content[name], np.ndarray)}
    except Exception as error:  # a damaged archive can raise anything
        if "Object arrays" in str(error):
            raise DataError(f"{path}: contains Python objects, which are not read: save arrays of numbers") from None
        raise DataError(f"{path}: a damaged .npz file ({type(error).__name__}): save it again") from None
    if not arrays:
        raise DataError(f"{path}: contains no arrays: save them with numpy.savez")
    if any(names <= arrays.keys() for names in _STATISTICS):
        return describe_statistics(path)
    if len(arrays) == 1:
        return describe_array(next(iter(arrays.values())), path, is_npy=False)
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    text = listed([f"{name} {tuple(shape)}" for name, shape in shapes.items()])
    return Description("arrays", [Fact("arrays", shapes, text)], ["infer reads mels from .npy files: save each with numpy.save"])


def describe_statistics(path: Path) -> Description:
    """A file for --mel_statistics. Raises UsageError."""
    mean, std = (np.array(row) for row in read_statistics(path, None))
    facts = [Fact("bins", mean.size, plural(mean.size, "bin") if mean.size > 1 else "the same for all bins")]
    for name, row in (("means", mean), ("deviations", std)):
        facts.append(Fact(name, [float(row.min()), float(row.max())], f"{row.min():.3g} to {row.max():.3g}"))
    use = command("infer", "--input_mels_dir", "DIR", "--mel_statistics", path)
    return Description("statistics of mels", facts, command=use)
