"""The folder of a run: created or checked before training, without the remains of interrupted saves."""

import itertools
import logging
import os
from pathlib import Path

import jax

from hifigan_jax import checkpoint, run_checkpoints
from hifigan_jax.config import Config, load_config, model_differences, save_config
from hifigan_jax.errors import CheckpointError, DiskError, UsageError
from hifigan_jax.manifest import MismatchError
from hifigan_jax.weights.reference_run import find_pairs

logger = logging.getLogger(__name__)


def open_run_folder(config: Config) -> Path:
    """The folder of the run, created if it is missing, with the configuration in it. Raises CheckpointError and DiskError."""
    folder = Path(config.run.checkpoint_path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"{folder}: cannot be created: {error.strerror} (--checkpoint_path)") from None
    _check_writable(folder / run_checkpoints.FOLDER)
    resumes = _check_own_checkpoints(folder, config)
    if jax.process_index() == 0:
        run_checkpoints.clear_leftovers(folder)
        if not resumes:
            _keep_foreign_config(folder / checkpoint.CONFIG, config)
        save_config(config, folder / checkpoint.CONFIG)
    return folder


def _check_writable(folder: Path) -> None:
    """Raises DiskError if checkpoints could not be saved in this folder: the run would end without one, after hours."""
    if os.path.lexists(folder) and not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
        raise DiskError(f"{folder}: is not a folder that can be written: rename it, or choose another --checkpoint_path")


def _check_own_checkpoints(folder: Path, config: Config) -> bool:
    """Whether there are checkpoints. Raises CheckpointError if none, or a newer one, is of another model or version."""
    problems = []
    for step in run_checkpoints.resumable(folder):
        try:
            checkpoint.check_same_model(step, config)
            return True
        except MismatchError:
            raise
        except CheckpointError as error:  # perhaps damaged: an older step can be intact
            problems.append(error)
    if problems:
        raise problems[-1]
    return False


def _keep_foreign_config(path: Path, config: Config) -> None:
    """Keeps a config.json that no run of this package wrote under another name.

    Raises CheckpointError if it describes another model: weights in this folder would then be read with the wrong configuration.
    """
    if not path.is_file() or not path.stat().st_size:
        return
    try:
        theirs = load_config(path, purpose="inference")
    except UsageError as error:
        raise CheckpointError(f"{error}: a file of another program: choose another --checkpoint_path") from None
    resumed = bool(find_pairs(path.parent))  # from the reference's files
    stem = "config_reference" if resumed else "config_original"
    kept = path.with_name(f"{stem}.json")
    if theirs.to_json() == path.read_text(encoding="utf-8") and (kept.exists() or not resumed):
        return  # of an earlier start of this run
    if differing := model_differences(theirs, config, discriminators=resumed):
        raise CheckpointError(f"{path}: of another model: {', '.join(differing)}: choose another --checkpoint_path")
    more = (path.with_name(f"{stem}_{number}.json") for number in itertools.count(2))
    kept = next(name for name in itertools.chain([kept], more) if not name.exists())
    try:
        path.rename(kept)
    except OSError as error:
        raise DiskError(f"{path}: cannot be renamed to {kept.name}: {error.strerror}") from None
    logger.info("%s: renamed to %s", path, kept.name)
