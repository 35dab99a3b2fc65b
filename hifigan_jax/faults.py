"""Fault points: named places that fail on request, so that tests can see what a run does about a full disk, a crash or a NaN.

The environment variable HIFIGAN_JAX_FAULT lists them, separated by commas: NAME:FIRST or NAME:FIRST-LAST makes the visits FIRST
to LAST of the point NAME (counted from 1) fail; NAME:FIRST- makes all from FIRST on fail. Without the variable, nothing is
counted, and compiled programs are those without fault points.

    disk_full.save          before a checkpoint is written
    disk_full.arrays        after each part of its arrays
    disk_full.manifest      after all arrays
    disk_full.metrics       metrics.jsonl
    disk_full.tensorboard   TensorBoard's event files
    disk_full.index         recordings.json and mels.json
    kill.before_arrays      the process is killed: before the arrays of a checkpoint are written
    kill.before_manifest    after the arrays
    kill.before_rename      after the manifest
    kill.after_rename       when the checkpoint is complete
    out_of_memory.training  before a training step
    out_of_memory.synthesis before a batch of windows is synthesized
    batch                   the recordings of a training step become NaN
    loss.discriminator, loss.adversarial, loss.feature_matching, loss.mel, generator_gradient, discriminator_gradient
                            in a training step, become NaN
"""

import collections
import errno
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

from hifigan_jax.errors import UsageError, did_you_mean

VARIABLE = "HIFIGAN_JAX_FAULT"
POINTS = (
    *(f"disk_full.{name}" for name in ("save", "arrays", "manifest", "metrics", "tensorboard", "index")),
    *(f"kill.{name}" for name in ("before_arrays", "before_manifest", "before_rename", "after_rename")),
    *("out_of_memory.training", "out_of_memory.synthesis", "batch", "generator_gradient", "discriminator_gradient"),
    *(f"loss.{name}" for name in ("discriminator", "adversarial", "feature_matching", "mel")),
)

_visits: collections.Counter[str] = collections.Counter()


def check() -> None:
    """Raises UsageError if the variable is malformed or names a point that does not exist, which would never fail."""
    for name, _, _ in _entries():
        if name not in POINTS:
            raise UsageError(f"{VARIABLE}: there is no fault point {name!r:.80}{did_you_mean(name, POINTS)}")


def requested(name: str) -> tuple[int, int] | None:
    """The first and last visit of the point `name` that fail, None if none does. Raises UsageError for a malformed variable."""
    return next(((first, last) for point, first, last in _entries() if point == name), None)


def _entries() -> Iterator[tuple[str, int, int]]:
    """The name, first and last visit of each entry of the variable."""
    for entry in filter(None, os.environ.get(VARIABLE, "").split(",")):
        found = re.fullmatch(r"([\w.]+):(\d{1,9})(-(\d{0,9}))?", entry.strip())
        if found is None:
            raise UsageError(f"{VARIABLE}={entry!r:.80}: expected NAME:FIRST, NAME:FIRST-LAST or NAME:FIRST-")
        first = int(found[2])
        yield found[1], first, first if found[3] is None else int(found[4] or 2**31 - 1)


def fires(name: str) -> bool:
    """Counts a visit of the point `name` and returns whether it is to fail."""
    visits = requested(name)
    if visits is None:
        return False
    _visits[name] += 1
    return visits[0] <= _visits[name] <= visits[1]


def no_space(name: str) -> None:
    """Raises OSError as for a full disk if this visit of the point `name` is to fail."""
    if fires(name):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_memory(name: str) -> None:
    """Raises MemoryError if this visit of the point `name` is to fail."""
    if fires(name):
        raise MemoryError


def kill(name: str) -> None:
    """Ends the process without any cleanup, as `kill -9` does, if this visit of the point `name` is to fail."""
    if fires(name):
        os.kill(os.getpid(), signal.SIGKILL)


def poison(name: str, tree: Any, step: Any) -> Any:
    """`tree` with every floating-point leaf NaN at the requested training steps, inside a traced program.

    A visit of such a point is a training step: `step` counts the updates done, so that visit n is step n - 1.
    """
    visits = requested(name)
    if visits is None:
        return tree
    import jax
    import jax.numpy as jnp

    bad = (step + 1 >= visits[0]) & (step + 1 <= visits[1])

    def poisoned(leaf):
        return jnp.where(bad, jnp.nan, leaf).astype(leaf.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(poisoned, tree)
