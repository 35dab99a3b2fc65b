"""Loading a trained generator: its configuration and its parameters.

The source is the name of a pretrained model, a PyTorch checkpoint, a safetensors file, a folder with `g_*` files of the
reference, a run folder of `train.py`, one checkpoint of a run, or a repository of the Hugging Face Hub.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from flax import traverse_util

from hifigan_jax import checkpoint, run_checkpoints
from hifigan_jax.config import Config, load_config, packaged_config
from hifigan_jax.errors import CheckpointError, UsageError
from hifigan_jax.generator_file import Generator, check_shapes, from_file, resolved
from hifigan_jax.manifest import read_manifest, verify
from hifigan_jax.models.family import DiscriminatorConfig
from hifigan_jax.weights import hub
from hifigan_jax.weights.pretrained import PRETRAINED, pretrained_file
from hifigan_jax.weights.reference_run import generator_files
from hifigan_jax.weights.torch_file import read_torch_file


def load_generator(source: str | Path, config: str | Path | None = None, intact: Sequence[str] = ()) -> Generator:
    """Loads the generator at the path or hf:// address `source`, or the pretrained model of that name if there is no such path.

    The configuration is, in this order: the JSON file `config`; the one embedded in a safetensors file; config.json beside the
    weights; the only other *.json there; the packaged configuration whose tensors have the same names and shapes. A `config`
    that contradicts the one of a pretrained model, of a safetensors file or of a checkpoint of this package is refused.

    Of a run, the newest usable checkpoint is loaded; `intact` names parts that must not be damaged in it besides the generator.
    Raises CheckpointError, and UsageError for an invalid configuration.
    """
    path = Path(source)
    if hub.is_hub(source):
        return _from_hub(source, config)
    if not os.path.exists(path):  # Path.exists raises an OSError for a name that is too long
        known = pretrained_file(str(source))
        own = packaged_config(PRETRAINED[str(source)].config)
        resolved(config, lambda: load_config(own), str(source))
        return from_file(known, config or own)
    if path.is_file():
        return from_file(path, config)
    if (path / "manifest.json").is_file():
        return _from_step(path, config, intact)
    run = path.parent if path.resolve().name == run_checkpoints.FOLDER else path
    if found := run_checkpoints.steps(run):
        return run_checkpoints.first_usable(found, lambda folder: _from_step(folder, config, intact))[0]
    if files := generator_files(path):
        return from_file(files[0], config)
    if run_checkpoints.is_step(path):  # without a manifest
        return _from_step(path, config, intact)
    raise CheckpointError(f"{path}: contains no checkpoint (neither {run_checkpoints.FOLDER}/ nor g_* files)")


def _from_hub(source: str | Path, config: str | Path | None) -> Generator:
    path = hub.fetch(source)
    try:
        return from_file(path, config)
    except (CheckpointError, UsageError) as error:  # names the repository, not a folder of the cache
        raise type(error)(str(error).replace(str(hub.snapshot_of(path)), str(hub.parse(source)))) from None


def _from_step(folder: Path, config: str | Path | None, intact: Sequence[str]) -> Generator:
    chosen = resolved(config, lambda: checkpoint.read_config(folder), str(folder))
    leaves = checkpoint.restore(folder, checkpoint.GENERATOR)
    for part in intact:
        if (folder / part).is_dir():
            verify(folder, read_manifest(folder), part)
    params = traverse_util.unflatten_dict(leaves, sep="/")
    check_shapes(params, chosen, folder)
    return Generator(chosen, params, str(folder))


def paired_section(config: Config) -> DiscriminatorConfig | None:
    """The family's default discriminator, if it is the only one that the configuration uses; else None."""
    default = tuple(config.discriminators) == config.generator.DEFAULT_DISCRIMINATORS
    return next(iter(config.discriminators.values())) if default else None


def paired_discriminator(source: Path, config: Config) -> dict[str, Any] | None:
    """Discriminator parameters from the file beside `source`, for families whose weights come in pairs of files; else None.

    Raises CheckpointError if that file contains no such discriminator.
    """
    names, section = config.generator.TORCH_FILES, paired_section(config)
    beside = names and source.with_name(names[1])
    if not names or section is None or source.name != names[0] or not beside.is_file():
        return None
    try:
        return jax.tree.map(lambda leaf: leaf.astype("float32"), section.params_of(read_torch_file(beside)))
    except CheckpointError as error:
        raise CheckpointError(f"{beside}: {error}") from None
