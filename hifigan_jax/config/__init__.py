"""Configurations: on disk, one flat JSON with the reference's keys and ours; in memory, sections validated without jax."""

import importlib

# Imported lazily to avoid a cycle: `files` and `flat` import all families, and these import `config.sections`.
_SUBMODULES = {
    "files": ("INPUT_PATHS", "load_config", "packaged_config", "packaged_configs", "parse_config", "save_config"),
    "flat": ("Config", "model_differences"),
    "sections": ("Data", "Losses", "Mel", "Optimization", "Run"),
}
__all__ = sorted(name for names in _SUBMODULES.values() for name in names)


def __getattr__(name: str):
    for module, names in _SUBMODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"hifigan_jax.config.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
