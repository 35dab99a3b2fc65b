"""A generator from one file of weights: a PyTorch checkpoint of any project, or a safetensors file."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hifigan_jax.config import Config, load_config, model_differences, packaged_config, packaged_configs, parse_config
from hifigan_jax.errors import CheckpointError, UsageError
from hifigan_jax.manifest import HINT
from hifigan_jax.models.generator import Conditions
from hifigan_jax.trees import shape_difference
from hifigan_jax.weights.envelopes import is_preferred, state_dicts
from hifigan_jax.weights.safetensors_file import is_safetensors, read_safetensors
from hifigan_jax.weights.torch_file import read_torch_file

logger = logging.getLogger(__name__)


class Generator(NamedTuple):
    """A trained generator: its configuration and its unfolded parameters as NumPy arrays."""

    config: Config
    params: dict[str, Any]
    source: str


def from_file(path: Path, config: str | Path | None) -> Generator:
    """The generator in a file; `load_generator` describes how its configuration is found. Raises CheckpointError, UsageError."""
    content, embedded = read_safetensors(path) if is_safetensors(path) else (read_torch_file(path), None)
    if embedded is not None:
        return _fitting(content, resolved(config, lambda: parse_config(embedded, path, purpose="inference"), str(path)), path)
    if found := config or _config_beside(path):
        chosen = load_config(found, purpose="inference")
        if config is not None:
            _warn_of_differences(Path(config), chosen, path.with_name("config.json"))
        return _fitting(content, chosen, path)
    return _recognized(content, path)


def resolved(config: str | Path | None, own: Callable[[], Config], source: str) -> Config:
    """The configuration of weights that come with their `own`; the JSON file `config` replaces one that is damaged.

    Raises UsageError if `config` describes another model.
    """
    if config is None:
        return own()
    given = load_config(config, purpose="inference")
    try:
        expected = own()
    except (CheckpointError, UsageError) as error:
        logger.warning("%s: using %s instead", str(error).removesuffix(HINT), config)
        return given
    if differing := model_differences(given, expected):
        raise UsageError(f"{config}: contradicts the configuration of {source}: {', '.join(differing)}: omit --config")
    return given


def check_shapes(params: dict[str, Any], config: Config, path: Path) -> None:
    """Raises CheckpointError if the parameters do not have the names and shapes of the configuration's generator."""
    if difference := _shape_difference(params, config):
        raise CheckpointError(
            f"{path}: the weights do not match the configuration: {difference}: pass another JSON with --config"
        )


def _params_in(content: Any, config: Config) -> dict[str, Any]:
    """The parameters of the generator from the state_dict in `content` that its family accepts. Raises CheckpointError."""
    accepted, refusals = {}, []
    for prefix, state_dict in state_dicts(content):
        if any(prefix.startswith(known) for known in accepted):
            continue  # a part of a generator
        try:
            accepted[prefix] = config.generator.params_of(state_dict, config.mel)
        except CheckpointError as error:
            refusals.append(error)
        if is_preferred(prefix) and prefix in accepted:
            break
    if not accepted:
        if isinstance(content, Mapping) and ("mpd" in content or "msd" in content):
            raise CheckpointError("contains discriminators and optimizers: use the g_* file of the same step")
        raise refusals[0] if refusals else CheckpointError("not a state_dict, which maps names to tensors")
    if len(accepted) > 1 and not is_preferred([*accepted][-1]):
        where = " and ".join(prefix.removesuffix(".") for prefix in accepted)
        raise CheckpointError(f"contains several generators, under {where:.100}: save one of them alone")
    return jax.tree.map(lambda leaf: leaf.astype("float32"), [*accepted.values()][-1])


def _fitting(content: Any, config: Config, path: Path) -> Generator:
    try:
        params = _params_in(content, config)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    check_shapes(params, config, path)
    return Generator(config, params, str(path))


def _config_beside(path: Path) -> Path | None:
    """config.json beside the weights, else the only JSON file there that is a configuration."""
    usual = path.with_name("config.json")
    found = [usual] if usual.is_file() else [file for file in sorted(path.parent.glob("*.json")) if _is_config(file)]
    return found[0] if len(found) == 1 else None


def _warn_of_differences(given: Path, config: Config, beside: Path) -> None:
    """Warns if the configuration beside the weights is of another model: one of the two is not theirs."""
    try:
        differing = model_differences(config, load_config(beside, purpose="inference")) if beside.is_file() else []
    except UsageError:
        return  # of another program
    if differing:
        logger.warning("%s: contradicts %s beside the weights, which is ignored: %s", given, beside, ", ".join(differing))


def _is_config(path: Path) -> bool:
    try:
        load_config(path, purpose="inference")
    except UsageError:
        return False
    return True


def _recognized(content: Any, path: Path) -> Generator:
    """Loads the weights with the packaged configuration that has parameters of the same names and shapes."""
    names, refusals = sorted(file.stem for file in packaged_configs().glob("*.json")), {}
    for name in names:
        config = load_config(packaged_config(name))
        try:
            params = _params_in(content, config)
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


def _shape_difference(params: dict[str, Any], config: Config) -> str | None:
    generator = config.generator.build(config.mel)
    conditions = Conditions(jnp.zeros((1, 8, config.mel.num_mels)))
    return shape_difference(params, jax.eval_shape(lambda: generator.init(jax.random.key(0), conditions))["params"])
