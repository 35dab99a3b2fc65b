"""The configuration: one flat JSON on disk, the reference's keys and ours; sections in memory, validated without jax."""

import importlib

# By need: families and discriminators, which `files` and `flat` list, import this package's `sections` themselves.
_HOMES = {
    "files": ("INPUT_PATHS", "load_config", "packaged_config", "packaged_configs", "parse_config", "save_config"),
    "flat": ("Config", "model_differences"),
    "sections": ("Data", "Losses", "Mel", "Optimization", "Run"),
}
__all__ = sorted(name for names in _HOMES.values() for name in names)


def __getattr__(name: str):
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"hifigan_jax.config.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
