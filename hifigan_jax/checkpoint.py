"""Checkpoints on disk: atomic, verified by checksums, self-describing; Orbax writes and reads the arrays.

    <run>/checkpoints/00005000/config.json     the configuration of the weights
                               generator/      Orbax: the generator's parameters, all that inference reads
                               training/       Orbax: everything else that resuming needs
                               manifest.json   shape and dtype of every array, SHA-256 of the files of both; written last

A step gets its final name only when it is complete. Checksums are verified before Orbax opens a file: Orbax restores flipped bits
silently, and after a failed restore its threads keep on logging errors.
"""

import contextlib
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hifigan_jax import faults
from hifigan_jax.config import Config, load_config, model_differences, save_config
from hifigan_jax.errors import CheckpointError, DiskError
from hifigan_jax.processes import worst
from hifigan_jax.trees import first_difference

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"
GENERATOR, TRAINING = "generator", "training"
FORMAT = 1

_RESERVE = 2**18  # bytes beside the arrays: Orbax's own files, the manifest, the configuration

Leaves = Mapping[str, Any]  # path ("conv_pre/bias") -> array


def save(run: Path, step: int, parts: Mapping[str, Leaves], config: Config, data: Mapping[str, Any], keep: int) -> Path:
    """Writes the checkpoint of `step` and returns its folder. Raises DiskError and leaves nothing if it cannot be written.

    `parts` contains the leaves of "generator" and "training"; `data` describes the training data and is read when resuming.
    Only the newest `keep` steps retain their "training" part.
    """
    if jax.process_index() == 0:
        clear_leftovers(run)
    folder = write(run / FOLDER / f"{step:08d}", parts, config, step, data)
    if jax.process_index() == 0:
        _delete_old_training_parts(run, keep)
    return folder


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
            save_config(config, temporary / "config.json")
            described = {name: {path: _describe(leaf) for path, leaf in leaves.items()} for name, leaves in parts.items()}
            files = {name: checksum for part in parts for name, checksum in _checksums(temporary, part).items()}
            manifest = {"format": FORMAT, "step": step, "data": data or {}, "leaves": described, "files": files}
            (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
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
        problem = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if not worst(problem is not None):
        return
    if jax.process_index() == 0:
        shutil.rmtree(temporary, ignore_errors=True)
    reason = problem or "another process failed"
    raise DiskError(f"{final}: checkpoint not written: {reason:.200}: free disk space; older ones are intact")


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


def restore(folder: Path, name: str, target: Leaves | None = None) -> dict[str, Any]:
    """The leaves of one part of a checkpoint, "generator" or "training".

    With `target`, a jax.ShapeDtypeStruct per leaf, the part must have exactly these arrays, which are placed by its shardings;
    without it, the leaves are numpy arrays. Raises CheckpointError if anything is missing, different or damaged.
    """
    import orbax.checkpoint as ocp

    manifest = read_manifest(folder)
    expected = manifest["leaves"].get(name)
    if expected is None or not (folder / name).is_dir():
        raise CheckpointError(f"{folder}: has no {name!r} part (older checkpoints keep only the generator)")
    abstract = {path: np.empty(leaf["shape"], np.dtype(leaf["dtype"])) for path, leaf in expected.items()}
    if target is not None:
        _compare(folder, expected, target)
        abstract = dict(target)
    _verify(folder, name, manifest["files"])
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(folder.resolve() / name, abstract)
    except Exception as error:  # Orbax and TensorStore raise many types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{folder}: {name} cannot be restored: {reason:.200}") from None


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a step. Raises CheckpointError if there is none: the step is then incomplete."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["format"] > FORMAT:
            raise CheckpointError(f"{folder}: written by a newer version: update hifigan_jax")
        return {key: manifest[key] for key in ("step", "data", "leaves", "files")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}: not a complete checkpoint (manifest.json: {type(error).__name__})") from None


def steps(run: Path, part: str) -> list[Path]:
    """The folders of a run's checkpoints that have `part`, newest first."""
    folder = run / FOLDER
    found = [path for path in folder.glob("*") if re.fullmatch(r"\d{8,}", path.name) and (path / part).is_dir()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def clear_leftovers(run: Path) -> None:
    """Deletes the remains of interrupted saves. Only for the process that writes to the run."""
    for path in (run / FOLDER).glob(".*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def check_same_model(folder: Path, config: Config) -> None:
    """Raises CheckpointError, naming the keys, if the models or the mel of the checkpoint differ from those of `config`."""
    stored = load_config(folder / "config.json", purpose="inference")
    differing = model_differences(stored, config, discriminators=True)
    if differing:
        difference = ", ".join(differing)
        raise CheckpointError(f"{folder}: does not match the configuration: {difference}: choose another --checkpoint_path")


def _describe(leaf: Any) -> dict[str, Any]:
    return {"shape": list(np.shape(leaf)), "dtype": str(leaf.dtype)}


def _checksums(folder: Path, part: str) -> dict[str, str]:
    found = {}
    for path in sorted((folder / part).rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _verify(folder: Path, part: str, files: Mapping[str, str]) -> None:
    found = _checksums(folder, part)
    for name, checksum in files.items():
        if name.startswith(part + "/") and found.get(name) != checksum:
            state = "damaged (its checksum differs)" if name in found else "missing"
            raise CheckpointError(f"{folder}: {name} is {state}: use another checkpoint")


def _compare(folder: Path, stored: Mapping[str, Any], wanted: Leaves) -> None:
    found, expected = (
        {path: f"{leaf['shape']} {leaf['dtype']}" for path, leaf in leaves.items()}
        for leaves in (stored, {path: _describe(leaf) for path, leaf in wanted.items()})
    )
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


def _delete_old_training_parts(run: Path, keep: int) -> None:
    for folder in steps(run, TRAINING)[keep:]:
        outgoing = folder / f".{TRAINING}.tmp"
        try:
            (folder / TRAINING).rename(outgoing)  # so that a half-deleted part is never taken for a complete one
        except OSError as error:
            logger.warning("%s: cannot be deleted: %s", folder / TRAINING, error.strerror)
        shutil.rmtree(outgoing, ignore_errors=True)
