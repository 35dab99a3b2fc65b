"""Configurations from and to JSON files. A flag overrides the JSON, the JSON overrides the default."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from hifigan_jax.config.flat import CHOICES, COMMON, IGNORED_KEYS, Config, ConfigError
from hifigan_jax.errors import UsageError
from hifigan_jax.files import atomic_write
from hifigan_jax.models.registry import DISCRIMINATORS, GENERATORS

logger = logging.getLogger(__name__)

# Inputs in a JSON are relative to the JSON, as its author sees them; flags are relative to the working folder.
INPUT_PATHS = ("input_wavs_dir", "input_mels_dir", "input_training_file", "input_validation_file")


def load_config(
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    unknown_keys: Literal["refuse", "ignore"] = "refuse",
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration of a JSON file, with `overrides` (from flags) and then `settings` (from --set) put over it.

    `unknown_keys="ignore"` is for the JSON beside somebody else's weights, where a foreign key of its training decides nothing
    and a misspelt one that matters is missed anyway. Raises UsageError, one line that names the file or flag, the key, what is
    wrong and how to mend it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path}: not a JSON file: {error}") from None
    return parse_config(text, path, overrides, unknown_keys, settings)


def parse_config(
    text: str,
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    unknown_keys: Literal["refuse", "ignore"] = "refuse",
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """`load_config` of a JSON text; `path` is where it came from. Raises UsageError."""
    overrides, settings = dict(overrides or {}), dict(settings or {})
    content = _json_object(text, path)
    if unknown_keys == "ignore":
        foreign = content.keys() - known_keys() - set(IGNORED_KEYS)
        if foreign:
            logger.info("%s: unknown keys, ignored: %s", path, ", ".join(sorted(foreign)))
        content = {key: value for key, value in content.items() if key not in foreign}
    for key in INPUT_PATHS:
        if isinstance(content.get(key), str):
            content[key] = str(Path(path).resolve().parent / content[key])
    try:
        return Config.from_flat(content | overrides | settings)
    except ConfigError as error:
        first, more = error.problems[0], len(error.problems) - 1
        key = first.key.partition(".")[0]
        where = "--set " if key in settings else "--" if key in overrides else f"{path}: "
        raise UsageError(where + first.text + (f" (and {more} more)" if more else "")) from None


def known_keys() -> set[str]:
    """The keys of all sections, families and discriminators."""
    sections = (*COMMON.values(), *GENERATORS.values(), *DISCRIMINATORS.values())
    return {*CHOICES, *(key for section in sections for key in section.model_fields)}


def save_config(config: Config, path: Path) -> None:
    """Writes the resolved configuration, whole or not at all; inputs become absolute paths. Raises DiskError."""
    inputs = {key: value and os.path.abspath(value) for key, value in config.data if key in INPUT_PATHS}
    with atomic_write(path) as temporary:
        Path(temporary).write_text(config.replace(inputs).to_json(), encoding="utf-8")


def packaged_config(name: str) -> Path:
    """The path of one of the configurations that come with the package: config_v1, config_v2, config_v3, ..."""
    return packaged_configs() / f"{name}.json"


def packaged_configs() -> Path:
    """The folder of the configurations that come with the package."""
    package = Path(__file__).resolve().parent.parent
    installed, source_tree = package / "configs", package.parent / "configs"
    return installed if installed.is_dir() else source_tree


def _json_object(text: str, path: str | Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a configuration: the JSON should be an object {{...}}")
    return content
