"""The folder of a run: created or checked before training, without the remains of interrupted saves."""

from pathlib import Path

import jax

from hifigan_jax import checkpoint
from hifigan_jax.config import Config, save_config
from hifigan_jax.errors import DiskError
from hifigan_jax.weights.reference_run import find_pairs


def open_run_folder(config: Config) -> Path:
    """The folder of the run, created if it is missing, with the configuration in it. Raises CheckpointError and DiskError."""
    folder = Path(config.run.checkpoint_path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(f"{folder}: cannot be created: {error.strerror} (--checkpoint_path)") from None
    for newest in checkpoint.steps(folder, checkpoint.TRAINING)[:1]:
        checkpoint.check_same_model(newest, config)
    if jax.process_index() == 0:
        checkpoint.clear_leftovers(folder)
        _keep_reference_config(folder, config)
        save_config(config, folder / "config.json")
    return folder


def _keep_reference_config(folder: Path, config: Config) -> None:
    """Keeps the config.json of a run of the reference in `folder` under another name; refuses a run of another model."""
    original, kept = folder / "config.json", folder / "config_reference.json"
    if find_pairs(folder) and original.is_file() and not kept.exists():
        checkpoint.check_same_model(folder, config)
        original.replace(kept)
