"""Checkpoints on disk: atomic, verified by checksums, self-describing; Orbax writes and reads the arrays.

    <run>/checkpoints/00005000/config.json     the configuration of the weights
                               generator/      Orbax: the generator's parameters, all that inference reads
                               training/       Orbax: everything else that resuming needs
                               manifest.json   SHA-256 of all the above and of itself (see manifest.py); written last

A step gets its final name only when it is complete. Checksums are verified before a file is used: Orbax restores flipped bits
silently, and after a failed restore its threads keep on logging errors.
"""

import contextlib
import errno
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hifigan_jax import faults
from hifigan_jax.config import Config, load_config, model_differences, save_config
from hifigan_jax.errors import CheckpointError, DiskError, UsageError
from hifigan_jax.manifest import HINT, Leaf, MismatchError, describe, read_manifest, verify, write_manifest
from hifigan_jax.processes import worst
from hifigan_jax.runtime import is_out_of_memory
from hifigan_jax.trees import first_difference

logger = logging.getLogger(__name__)

GENERATOR, TRAINING = "generator", "training"
CONFIG = "config.json"

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
_RESERVE = 2**18  # bytes beside the arrays: Orbax's own files, the manifest, the configuration

Leaves = Mapping[str, Any]  # path ("conv_pre/bias") -> array


def write(
    folder: Path, parts: Mapping[str, Leaves], config: Config, step: int = 0, data: Mapping[str, Any] | None = None
) -> Path:
    """Writes one checkpoint as `folder`, atomically, and returns its path. Raises DiskError, in all processes if in any."""
    final = folder.resolve()
    temporary = final.with_name(f".{final.name}.tmp")
    with _succeeding_everywhere(final, temporary):
        if jax.process_index() == 0:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            _check_space(temporary, parts)
    with _succeeding_everywhere(final, temporary):
        faults.kill("kill.before_arrays")
        _write_arrays(temporary, parts)
        if jax.process_index() == 0:
            faults.kill("kill.before_manifest")
            faults.no_space("disk_full.manifest")
            save_config(config, temporary / CONFIG)
            described = {name: {path: describe(leaf) for path, leaf in leaves.items()} for name, leaves in parts.items()}
            write_manifest(temporary, step, described, data or {})
            faults.kill("kill.before_rename")
            _replace_folder(temporary, final)
            faults.kill("kill.after_rename")
    return final


@contextlib.contextmanager
def _succeeding_everywhere(final: Path, temporary: Path) -> Iterator[None]:
    """If the block fails in any process, removes the temporary folder and raises DiskError in all processes."""
    problem = None
    try:
        yield
    except Exception as error:  # Orbax and TensorStore report a full disk with many types
        problem = _problem(error)
    if not worst(problem is not None):
        return
    if jax.process_index() == 0:
        _remove_what_is_still_written(temporary)
    raise DiskError(f"{final}: checkpoint not written: {problem or 'another process failed'}; older ones are intact")


def _remove_what_is_still_written(folder: Path) -> None:
    """Deletes the folder of a failed save, in which threads of TensorStore may create files for a moment after the failure."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
        if not folder.exists():
            return


def _problem(error: Exception) -> str:
    """Why a checkpoint could not be written, and how to fix it."""
    if is_out_of_memory(error):
        return "memory does not suffice: close other programs"
    if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
        return f"{error.strerror}: check the folder above it"
    return f"{_first_line(error):.200}: free disk space"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _check_space(folder: Path, parts: Mapping[str, Leaves]) -> None:
    """Raises OSError if the disk has not enough space for the arrays. Orbax would only notice when it is full."""
    faults.no_space("disk_full.save")
    disk = shutil.disk_usage(folder)
    needed = _RESERVE + sum(leaf.nbytes for leaves in parts.values() for leaf in leaves.values())
    if disk.total and disk.free < needed:  # some network file systems tell no sizes
        raise OSError(f"{needed / 1e6:.0f} MB are needed, {disk.free / 1e6:.0f} MB are free")


def _write_arrays(folder: Path, parts: Mapping[str, Leaves]) -> None:
    """Writes the arrays with Orbax, whose threads would log several tracebacks before the exception arrives here."""
    import orbax.checkpoint as ocp  # on demand: the import takes a quarter of a second

    if not isinstance(sys.unraisablehook, _IgnoringLateResults):
        sys.unraisablehook = _IgnoringLateResults(sys.unraisablehook)  # stays: the results come later
    log = logging.getLogger("absl")
    log.addFilter(_nothing)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            for name, leaves in parts.items():
                checkpointer.save(folder / name, leaves)
                checkpointer.wait_until_finished()
                faults.no_space("disk_full.arrays")
    finally:
        log.removeFilter(_nothing)


def _nothing(_: logging.LogRecord) -> bool:
    return False


class _IgnoringLateResults:
    """A hook for unraisable exceptions: TensorStore passes what it finishes after a failed save to Orbax's event loop.

    That is closed by then, and each result would print a traceback.
    """

    def __init__(self, before: Callable[[Any], Any]):
        self._before = before

    def __call__(self, unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == "Event loop is closed"):
            self._before(unraisable)


def restore(folder: Path, name: str, target: Leaves | None = None) -> dict[str, Any]:
    """The leaves of one part of a checkpoint, "generator" or "training".

    With `target`, a jax.ShapeDtypeStruct per leaf, the part must have exactly these arrays, which are placed by its shardings;
    without it, the leaves are numpy arrays, and all floating-point ones float32. Raises CheckpointError if anything is missing,
    different or damaged.
    """
    import orbax.checkpoint as ocp

    manifest = read_manifest(folder)
    expected = manifest.leaves.get(name)
    if expected is None or not (folder / name).is_dir():
        why = " (older checkpoints keep only the generator)" if name == TRAINING else HINT
        raise CheckpointError(f"{folder}: has no {name!r} part{why}")
    if target is not None:
        _compare(folder, expected, target)
    verify(folder, manifest, name)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(folder.resolve() / name, dict(target) if target is not None else _placeholders(expected))
    except Exception as error:  # Orbax and TensorStore raise many types
        if is_out_of_memory(error):  # the checkpoint is intact
            raise
        raise CheckpointError(f"{folder}: {name} cannot be restored: {_first_line(error):.200}") from None


def read_config(folder: Path) -> Config:
    """The configuration of a step. Raises CheckpointError if it is missing, damaged or invalid."""
    verify(folder, read_manifest(folder), CONFIG)
    try:
        return load_config(folder / CONFIG, purpose="inference")
    except UsageError as error:
        raise CheckpointError(f"{error}{HINT}") from None


def check_same_model(folder: Path, config: Config) -> None:
    """Raises CheckpointError, naming the keys, if the models or the mel of the checkpoint differ from those of `config`.

    It is a MismatchError if the checksums show that this is no damage.
    """
    differing = model_differences(read_config(folder), config, discriminators=True)
    if differing:
        difference = ", ".join(differing)
        problem = f"{folder}: does not match the configuration: {difference}: choose another --checkpoint_path"
        raise (MismatchError if CONFIG in read_manifest(folder).files else CheckpointError)(problem)


def _placeholders(leaves: Mapping[str, Leaf]) -> dict[str, np.ndarray]:
    """Arrays that take no memory: Orbax restores NumPy arrays of their shapes and dtypes in their place."""
    dtypes = {path: np.float32 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.dtype for path, leaf in leaves.items()}
    return {path: np.broadcast_to(np.empty((), dtypes[path]), leaf.shape) for path, leaf in leaves.items()}


def _compare(folder: Path, stored: Mapping[str, Leaf], wanted: Leaves) -> None:
    found = {path: str(leaf) for path, leaf in stored.items()}
    expected = {path: str(describe(leaf)) for path, leaf in wanted.items()}
    if difference := first_difference(found, expected):
        raise CheckpointError(f"{folder}: {difference}: the checkpoint does not match the configuration")


def _replace_folder(temporary: Path, final: Path) -> None:
    outgoing = final.with_name(f".{final.name}.old.tmp")
    shutil.rmtree(outgoing, ignore_errors=True)
    if final.exists():
        final.rename(outgoing)
    try:
        temporary.rename(final)
    except OSError:
        if outgoing.exists():
            outgoing.rename(final)
        raise
    shutil.rmtree(outgoing, ignore_errors=True)
