"""What produced a file of results: command, commit, date, processor, versions."""

import functools
import importlib.metadata
import platform
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def provenance(command: str, packages: Iterable[str]) -> dict[str, Any]:
    """The facts that a reader needs to repeat `command`; `packages` are listed with their versions."""
    return {
        "command": command,
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d"),
        "cpu": _processor(),
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


def _commit() -> str | None:
    """The commit of the clone that this file lies in, None for an installed package."""
    here = Path(__file__).parent
    try:
        result = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True)
    except OSError:
        return None
    return result.stdout.strip() or None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
