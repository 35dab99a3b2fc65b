"""Descriptions of training runs and their checkpoints: ours and the reference's."""

import functools
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_jax.config import Config
from hifigan_jax.errors import CheckpointError, HifiganError
from hifigan_jax.inspection.description import Description, Fact, command
from hifigan_jax.inspection.models import facts_of
from hifigan_jax.inspection.weights import describe_weights, parameter_facts
from hifigan_jax.manifest import FOLDER, Leaf, Manifest, read_manifest, verify
from hifigan_jax.training.run_lock import NAME as LOCK
from hifigan_jax.training.run_lock import NAME_WITHOUT_FLOCK, Owner
from hifigan_jax.weights.reference_run import find_pairs, generator_files

_LAST_LINE = 2**16  # bytes at the end of metrics.jsonl that are read


def describe_step(folder: Path) -> Description:
    """One checkpoint, checked as when it is loaded, without its arrays being restored. Raises CheckpointError."""
    from hifigan_jax.checkpoint import TRAINING

    config, manifest = _checked(folder)
    facts = [
        Fact("step", manifest.step, f"{manifest.step:,}"),
        *facts_of(config),
        *parameter_facts(_shapes(manifest.leaves["generator"])),
    ]
    problem = _training_problem(folder, manifest)
    resumable = problem is None and (folder / TRAINING).is_dir()
    facts.append(Fact("resumable", resumable, "yes" if resumable else "no, only the generator" if problem is None else "no"))
    use = command("infer", "--checkpoint_file", folder, "--input_wavs_dir", "DIR")
    return Description("checkpoint of hifigan_jax", facts, [problem] if problem else [], use)


def describe_run(folder: Path) -> Description:
    """A run of this package: what infer would load from it, and what train would resume from. Raises CheckpointError."""
    from hifigan_jax import checkpoint, run_checkpoints

    found, resumable = run_checkpoints.steps(folder), run_checkpoints.steps(folder, checkpoint.TRAINING)
    if not found:
        raise CheckpointError(f"{folder}: contains no checkpoint yet")
    checked = functools.cache(_checked)  # often, one step is used for both
    (config, manifest), _ = run_checkpoints.first_usable(found, checked)
    problems = [f"{path}: damaged, set aside: delete it" for path in sorted((folder / FOLDER).glob("*.damaged"))]
    facts = [*facts_of(config), *parameter_facts(_shapes(manifest.leaves["generator"]))]
    text = f"{len(found)}, of which {len(resumable)} have what resuming needs"
    facts.append(Fact("checkpoints", len(found), text))
    facts.append(Fact("newest step", manifest.step, f"{manifest.step:,}, which infer loads"))
    use = command("infer", "--checkpoint_file", folder, "--input_wavs_dir", "DIR")
    config_file = folder / checkpoint.CONFIG
    if not config_file.is_file():
        problems.append(f"{config_file} is missing: copy that of a checkpoint")
    try:
        use_for_training = functools.partial(_checked_for_training, checked)
        step = run_checkpoints.first_usable(run_checkpoints.resumable(folder), use_for_training)[0]
        facts.append(Fact("resumes from", step, f"step {step:,}"))
        use = command("train", "--config", config_file, "--checkpoint_path", folder)
    except CheckpointError as error:
        problems.append(str(error))
    facts += [*_last_metrics(folder), *_in_use(folder)]
    return Description("run of hifigan_jax", facts, problems, use)


def describe_reference_run(folder: Path, config: str | Path | None = None) -> Description:
    """A folder with g_* files of the reference, of which infer loads the newest. Raises CheckpointError, UsageError."""
    files, pairs = generator_files(folder), find_pairs(folder)
    newest = describe_weights(files[0], config)
    facts = [*newest.facts, Fact("generators", len(files), f"{len(files)}, of which {len(pairs)} with their do_* file")]
    if not pairs:
        return newest._replace(kind="run of the reference", facts=facts)
    facts.append(Fact("resumes from", pairs[0][0].name))
    use = command("train", "--config", folder / "config.json", "--checkpoint_path", folder)
    return Description("run of the reference", facts, newest.problems, use)


def _checked(folder: Path) -> tuple[Config, Manifest]:
    """The configuration and the manifest of a step whose generator is intact and fits them. Raises CheckpointError."""
    from hifigan_jax.checkpoint import GENERATOR, read_config
    from hifigan_jax.generator_file import check_shapes

    manifest, config = read_manifest(folder), read_config(folder)
    if GENERATOR not in manifest.leaves:
        raise CheckpointError(f"{folder}: has no generator: use another checkpoint")
    verify(folder, manifest, GENERATOR)
    check_shapes(_shapes(manifest.leaves[GENERATOR]), config, folder)
    return config, manifest


def _checked_for_training(checked: Callable[[Path], tuple[Config, Manifest]], folder: Path) -> int:
    from hifigan_jax.checkpoint import TRAINING

    _, manifest = checked(folder)
    if not (folder / TRAINING).is_dir():
        raise CheckpointError(f"{folder}: training cannot be resumed from it: it has only a generator")
    if problem := _training_problem(folder, manifest):
        raise CheckpointError(problem)
    return manifest.step


def _training_problem(folder: Path, manifest: Manifest) -> str | None:
    """Why training cannot resume from a step that has the part for it; None if it can, or if there is no such part."""
    from hifigan_jax.checkpoint import TRAINING

    try:
        if (folder / TRAINING).is_dir():
            verify(folder, manifest, TRAINING)
    except HifiganError as error:
        return str(error)
    return None


def _shapes(leaves: Mapping[str, Leaf]) -> Any:
    """The tree of arrays of these shapes, which take no memory."""
    from flax import traverse_util

    return traverse_util.unflatten_dict(
        {name: np.broadcast_to(np.float32(0), leaf.shape) for name, leaf in leaves.items()}, sep="/"
    )


def _last_metrics(folder: Path) -> list[Fact]:
    """The last complete line of metrics.jsonl."""
    try:
        with open(folder / "metrics.jsonl", "rb") as file:
            file.seek(max(file.seek(0, 2) - _LAST_LINE, 0))
            row = json.loads(file.read().decode().strip().split("\n")[-1])
        text = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return []
    return [Fact("last metrics", row, text)]


def _in_use(folder: Path) -> list[Fact]:
    owner = Owner.named_in(folder / LOCK) or Owner.named_in(folder / NAME_WITHOUT_FLOCK)
    if owner is None or (owner.host == socket.gethostname() and not owner.exists()):
        return []
    return [Fact("in use", owner._asdict(), f"process {owner.pid} on {owner.host} trains in it")]
