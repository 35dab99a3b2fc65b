"""Loading a trained generator: its configuration and its parameters.

The source is the name of a pretrained model, a PyTorch checkpoint, a safetensors file, a folder with `g_*` files of the
reference, a run folder of `train.py`, or one checkpoint of a run.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import traverse_util

from hifigan_jax import checkpoint
from hifigan_jax.config import Config, load_config, packaged_config, packaged_configs, parse_config
from hifigan_jax.errors import CheckpointError
from hifigan_jax.models.family import DiscriminatorConfig
from hifigan_jax.models.generator import Conditions
from hifigan_jax.trees import shape_difference
from hifigan_jax.weights.pretrained import PRETRAINED, pretrained_file
from hifigan_jax.weights.safetensors_file import is_safetensors, read_safetensors
from hifigan_jax.weights.torch_file import read_torch_file

logger = logging.getLogger(__name__)

GENERATOR_KEYS = ("generator", "model_g")  # where PyTorch checkpoints of various projects store the generator's state_dict


class Generator(NamedTuple):
    """A trained generator: its configuration and its unfolded parameters as NumPy arrays."""

    config: Config
    params: dict[str, Any]
    source: str


def load_generator(source: str | Path, config: str | Path | None = None) -> Generator:
    """Loads the generator at the path `source`, or the pretrained model of that name if the path does not exist.

    The configuration is, in this order: the JSON file `config`; the one embedded in a safetensors file; config.json beside the
    weights; the only other *.json there; the packaged configuration whose tensors have the same names and shapes. Raises
    CheckpointError, and UsageError for an invalid configuration.
    """
    path = Path(source)
    if not path.exists():
        known = pretrained_file(str(source))
        return _from_file(known, config or packaged_config(PRETRAINED[str(source)].config))
    if path.is_file():
        return _from_file(path, config)
    if (path / "manifest.json").is_file():
        return _from_step(path, config)
    run = path.parent if path.resolve().name == checkpoint.FOLDER else path
    if found := checkpoint.steps(run, checkpoint.GENERATOR):
        return _newest_valid(found, config)
    if files := sorted(path.glob("g_*")):
        return _from_file(files[-1], config)
    raise CheckpointError(f"{path}: contains no checkpoint (neither {checkpoint.FOLDER}/ nor g_* files)")


def _newest_valid(folders: list[Path], config: str | Path | None) -> Generator:
    for folder in folders:
        try:
            return _from_step(folder, config)
        except CheckpointError as error:
            logger.warning("%s; trying the previous one", error)
    raise CheckpointError(f"{folders[0].parent}: none of its {len(folders)} checkpoints is usable")


def _from_step(folder: Path, config: str | Path | None) -> Generator:
    resolved = load_config(config or folder / "config.json", unknown_keys="ignore")
    params = traverse_util.unflatten_dict(checkpoint.restore(folder, checkpoint.GENERATOR), sep="/")
    _check_shapes(params, resolved, folder)
    return Generator(resolved, params, str(folder))


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


def _from_file(path: Path, config: str | Path | None) -> Generator:
    state_dict, embedded = read_safetensors(path) if is_safetensors(path) else (_generator_in(path), None)
    if config is None and embedded is not None:
        resolved = parse_config(embedded, path, unknown_keys="ignore")
    elif found := config or _config_beside(path):
        resolved = load_config(found, unknown_keys="ignore")
    else:
        return _recognized(state_dict, path)
    try:
        params = _params(state_dict, resolved)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    _check_shapes(params, resolved, path)
    return Generator(resolved, params, str(path))


def _params(state_dict: Any, config: Config) -> dict[str, Any]:
    return jax.tree.map(lambda leaf: leaf.astype("float32"), config.generator.params_of(state_dict, config.mel))


def _generator_in(path: Path) -> Any:
    content = read_torch_file(path)
    if isinstance(content, dict) and ("mpd" in content or "msd" in content):
        raise CheckpointError(f"{path}: contains discriminators and optimizers: use the g_* file of the same step")
    key = next((key for key in GENERATOR_KEYS if isinstance(content, dict) and key in content), None)
    return content if key is None else content[key]


def _config_beside(path: Path) -> Path | None:
    usual = path.with_name("config.json")
    candidates = [usual] if usual.is_file() else list(path.parent.glob("*.json"))
    return candidates[0] if len(candidates) == 1 else None


def _recognized(state_dict: Any, path: Path) -> Generator:
    """Loads the weights with the packaged configuration that has parameters of the same names and shapes."""
    names, refusals = sorted(file.stem for file in packaged_configs().glob("*.json")), {}
    for name in names:
        config = load_config(packaged_config(name))
        try:
            params = _params(state_dict, config)
        except CheckpointError as error:
            refusals[name] = str(error)
            continue
        if _shape_difference(params, config) is None:
            logger.info("%s: no configuration beside it; using %s, whose tensors have the same shapes", path, name)
            return Generator(config, params, str(path))
    if len(refusals) == len(names):
        raise CheckpointError(f"{path}: {'; '.join(dict.fromkeys(refusals.values()))}")
    raise CheckpointError(
        f"{path}: no configuration beside it, and its shapes match none of {', '.join(names)}: pass its JSON with --config"
    )


def _check_shapes(params: dict[str, Any], config: Config, path: Path) -> None:
    difference = _shape_difference(params, config)
    if difference:
        raise CheckpointError(
            f"{path}: the weights do not match the configuration: {difference}: pass another JSON with --config"
        )


def _shape_difference(params: dict[str, Any], config: Config) -> str | None:
    generator = config.generator.build(config.mel)
    conditions = Conditions(jnp.zeros((1, 8, config.mel.num_mels)))
    return shape_difference(params, jax.eval_shape(lambda: generator.init(jax.random.key(0), conditions))["params"])
