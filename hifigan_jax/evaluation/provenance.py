"""What produced a file of results: command, commit, date, processor, versions."""

import functools
import importlib.metadata
import platform
import time
from collections.abc import Iterable
from typing import Any

from hifigan_jax.machine import commit, processor


def provenance(command: str, packages: Iterable[str]) -> dict[str, Any]:
    """The facts that a reader needs to repeat `command`; `packages` are listed with their versions."""
    return {
        "command": command,
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "cpu": processor(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in sorted(set(packages))},
    }


@functools.cache
def version(package: str) -> str | None:
    """The version of an installed package, None if it is not installed."""
    if package == "hifigan-jax":  # not installed if it runs from a clone
        return importlib.import_module("hifigan_jax").__version__
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
