"""A generator from one file of weights: a PyTorch checkpoint of any project, or a safetensors file."""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hifigan_jax.config import Config, load_config, model_differences, packaged_config, packaged_configs, parse_config
from hifigan_jax.errors import CheckpointError, UsageError
from hifigan_jax.manifest import HINT, MismatchError
from hifigan_jax.models.generator import Conditions
from hifigan_jax.trees import shape_difference
from hifigan_jax.weights.envelopes import Candidate, is_preferred, state_dicts
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
    content, embedded = read_weights(path)
    return from_content(content, embedded, path, config)


def read_weights(path: Path) -> tuple[Any, str | None]:
    """The content of a file of weights, and the JSON text of the configuration embedded in it or None. Raises CheckpointError."""
    return read_safetensors(path) if is_safetensors(path) else (read_torch_file(path), None)


def from_content(content: Any, embedded: str | None, path: Path, config: str | Path | None) -> Generator:
    """The generator in what `read_weights` returned for the file `path`. Raises CheckpointError, UsageError."""
    if embedded is not None:
        return _fitting(content, resolved(config, lambda: parse_config(embedded, path, purpose="inference"), str(path)), path)
    if config is not None:
        chosen = load_config(config, purpose="inference")
        _warn_of_differences(Path(config), chosen, path.with_name("config.json"))
        return _fitting(content, chosen, path)
    if beside := _config_beside(path):
        return _fitting(content, beside, path)
    return _recognized(content, path)


def resolved(config: str | Path | None, own: Callable[[], Config], source: str) -> Config:
    """The configuration of weights that come with their `own`; the JSON file `config` replaces one that is damaged.

    Raises MismatchError if `config` describes another model.
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
        raise MismatchError(f"{config}: contradicts the configuration of {source}: {', '.join(differing)}: omit --config")
    return given


def check_shapes(params: dict[str, Any], config: Config, path: Path) -> None:
    """Raises CheckpointError if the parameters do not have the names and shapes of the configuration's generator."""
    if difference := _shape_difference(params, config):
        raise CheckpointError(
            f"{path}: the weights do not match the configuration: {difference}: pass another JSON with --config"
        )


def _params_in(content: Any, candidates: Sequence[Candidate], config: Config) -> dict[str, Any]:
    """The parameters of the generator from the candidate in `content` that its family accepts. Raises CheckpointError."""
    accepted, refusals = {}, []
    for prefix, state_dict in candidates:
        if any(prefix.startswith(known) for known in accepted):
            continue  # a part of a generator
        try:
            accepted[prefix] = config.generator.params_of(state_dict, config.mel)
        except CheckpointError as error:
            refusals.append(error)
        if is_preferred(prefix) and prefix in accepted:
            break  # preferred candidates come first
    if not accepted:
        if isinstance(content, Mapping) and ("mpd" in content or "msd" in content):
            raise CheckpointError("contains discriminators and optimizers: use the g_* file of the same step")
        raise refusals[0] if refusals else CheckpointError("not a state_dict, which maps names to tensors")
    if len(accepted) > 1:
        where = " and ".join(prefix.removesuffix(".") for prefix in accepted)
        raise CheckpointError(f"contains several generators, under {where:.100}: save one of them alone")
    return jax.tree.map(lambda leaf: leaf.astype("float32"), next(iter(accepted.values())))


def _fitting(content: Any, config: Config, path: Path) -> Generator:
    try:
        params = _params_in(content, state_dicts(content), config)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    check_shapes(params, config, path)
    return Generator(config, params, str(path))


def _config_beside(path: Path) -> Config | None:
    """config.json beside the weights, else the only JSON file there that is a configuration. Raises UsageError."""
    usual = path.with_name("config.json")
    if usual.is_file():
        return load_config(usual, purpose="inference")
    found = []
    for file in sorted(path.parent.glob("*.json")):
        with contextlib.suppress(UsageError):  # of something else
            found.append(load_config(file, purpose="inference"))
    return found[0] if len(found) == 1 else None


def _warn_of_differences(given: Path, config: Config, beside: Path) -> None:
    """Warns if the configuration beside the weights is of another model: one of the two is not theirs."""
    try:
        differing = model_differences(config, load_config(beside, purpose="inference")) if beside.is_file() else []
    except UsageError:
        return  # of another program
    if differing:
        logger.warning("%s: contradicts %s beside the weights, which is ignored: %s", given, beside, ", ".join(differing))


def _recognized(content: Any, path: Path) -> Generator:
    """Loads the weights with the packaged configuration that has parameters of the same names and shapes."""
    names, refusals = sorted(file.stem for file in packaged_configs().glob("*.json")), {}
    candidates = state_dicts(content)
    for name in names:
        config = load_config(packaged_config(name))
        try:
            params = _params_in(content, candidates, config)
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
    frames = 1, 8, config.mel.num_mels
    expected = jax.eval_shape(lambda: generator.init(jax.random.key(0), Conditions(jnp.zeros(frames))))
    return shape_difference(params, expected["params"])
