"""Read and write configurations as JSON files. Flags override the JSON, and the JSON overrides defaults."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from hifigan_jax.config.flat import COMMON, IGNORED_KEYS, SELECTORS, Config, ConfigError, model_keys
from hifigan_jax.conventions import CONVENTIONS
from hifigan_jax.errors import UsageError, shortened
from hifigan_jax.files import atomic_write
from hifigan_jax.models.registry import DISCRIMINATORS, GENERATORS

logger = logging.getLogger(__name__)

Purpose = Literal["training", "inference"]

# Input paths in a JSON are relative to the JSON's folder; paths in flags are relative to the working folder.
INPUT_PATHS = ("input_wavs_dir", "input_mels_dir", "input_mels_statistics", "input_training_file", "input_validation_file")


def load_config(
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    purpose: Purpose = "training",
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration in a JSON file, overridden by `overrides` (from flags) and then by `settings` (from --set).

    With `purpose="inference"`, unknown keys and invalid values of keys that only training uses are ignored: the JSON may be
    another program's. A misspelled required key is reported as missing anyway. Raises UsageError with one line: the file or flag,
    the key, what is wrong and how to fix it.
    """
    return parse_config(_text(path), path, overrides, purpose, settings)


def read_json(path: str | Path) -> Any:
    """The content of a JSON file. Raises UsageError."""
    return _parsed(_text(path), path)


def parse_config(
    text: str,
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    purpose: Purpose = "training",
    settings: Mapping[str, Any] | None = None,
) -> Config:
    """`load_config` for a JSON text from the file `path`. Raises UsageError."""
    overrides, settings = dict(overrides or {}), dict(settings or {})
    content = _json_object(text, path)
    for key, value in content.items():
        if _is_input_path(key, value):
            content[key] = str(Path(path).resolve().parent / value)
    try:
        if purpose == "inference":
            return _for_inference(content, overrides | settings, path)
        return Config.from_flat(content | overrides | settings)
    except ConfigError as error:
        first, others = error.problems[0], len(error.problems) - 1
        key = first.key.partition(".")[0]
        where = "--set " if key in settings else "--" if key in overrides else f"{path}: "
        raise UsageError(where + first.text + (f" (and {others} more)" if others else "")) from None


def _for_inference(content: Mapping[str, Any], overrides: Mapping[str, Any], path: str | Path) -> Config:
    """The configuration without what only training uses and is unknown or invalid in `content`. Raises ConfigError."""
    needed, ignored = model_keys(content | overrides), content.keys() - known_keys() - set(IGNORED_KEYS)

    def without_ignored() -> Config:
        return Config.from_flat({key: content[key] for key in content.keys() - ignored} | overrides, for_training=False)

    try:
        config = without_ignored()
    except ConfigError:
        ignored |= content.keys() - needed  # all, as a valid key can depend on an invalid one
        config = without_ignored()
    if ignored:
        names = ", ".join(sorted(ignored))
        logger.info("%s: ignored keys that are unknown or only used in training: %s", path, names)
    return config


def known_keys() -> set[str]:
    """All keys of all sections, families and discriminators."""
    sections = (*COMMON.values(), *GENERATORS.values(), *DISCRIMINATORS.values())
    return {*SELECTORS, *(key for section in sections for key in section.model_fields)}


def save_config(config: Config, path: Path) -> None:
    """Writes the resolved configuration atomically, with absolute input paths. Raises DiskError."""
    inputs = {key: os.path.abspath(value) for key, value in config.data if _is_input_path(key, value)}
    with atomic_write(path) as temporary:
        Path(temporary).write_text(config.replace(inputs).to_json(), encoding="utf-8")


def _is_input_path(key: str, value: Any) -> bool:
    """Whether a key's value is a path of an input. A mel convention may be a name or the path of a file."""
    if key == "input_mels_convention" and isinstance(value, str):
        return value not in CONVENTIONS and value.endswith(".json")
    return key in INPUT_PATHS and isinstance(value, str) and bool(value)


def packaged_config(name: str) -> Path:
    """The path of a packaged configuration: config_v1, config_v2, config_v3, ..."""
    return packaged_configs() / f"{name}.json"


def packaged_configs() -> Path:
    """The folder of the packaged configurations."""
    package = Path(__file__).resolve().parent.parent
    installed, source_tree = package / "configs", package.parent / "configs"
    return installed if installed.is_dir() else source_tree


def _json_object(text: str, path: str | Path) -> dict[str, Any]:
    try:
        content = _parsed(text, path, object_pairs_hook=_without_duplicates)
    except _Duplicate as error:
        raise UsageError(f"{path}: key {shortened(error.args[0])} is given twice: remove one") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: not a configuration: the JSON must be an object {{...}}")
    return content


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{path}: not a JSON file in UTF-8: save it as UTF-8") from None


def _parsed(text: str, path: str | Path, **options: Any) -> Any:
    try:
        return json.loads(text, **options)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: not a JSON file: {error}") from None
    except (ValueError, RecursionError) as error:  # Python's limits, which no configuration reaches
        reason = "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"
        raise UsageError(f"{path}: not a JSON file: {reason}") from None


class _Duplicate(Exception):
    pass


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise _Duplicate(key)
        content[key] = value
    return content
