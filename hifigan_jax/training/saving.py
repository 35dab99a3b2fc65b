"""When checkpoints that cannot be written end a run."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hifigan_jax import checkpoint, run_checkpoints
from hifigan_jax.config import Config
from hifigan_jax.errors import DiskError

logger = logging.getLogger(__name__)

MOST_FAILURES = 3  # in a row


class Saver:
    """Saves the checkpoints of a run. If one cannot be written, training continues; the third such failure in a row ends it."""

    def __init__(self, run: Path, config: Config):
        self._run, self._config, self._failures = run, config, 0
        self._folder = _identity(run)

    def save(
        self,
        step: int,
        parts: Mapping[str, checkpoint.Leaves],
        data: Mapping[str, Any],
        last: bool = False,
        settled: bool = True,
    ) -> bool:
        """Whether the checkpoint of `step` has been written; the arguments are those of `run_checkpoints.save`.

        One that is not `settled`, because it is saved between skipped steps, replaces no older one: the run may go back to those.

        Raises DiskError for the third failure in a row, and for any if it is the `last` checkpoint of the run. The result is the
        same in all processes of the run.
        """
        keep = self._config.run.keep_checkpoints if settled else None
        try:
            run_checkpoints.save(self._run, step, parts, self._config, data, keep)
        except DiskError as error:
            self._failures += 1
            if last or self._failures == MOST_FAILURES:
                raise
            logger.warning("%s; training continues (failure %d of %d in a row)", error, self._failures, MOST_FAILURES)
            return False
        self._failures = 0
        if self._folder is not None and (folder := _identity(self._run)) != self._folder:
            self._folder = folder
            logger.warning("%s: was renamed or deleted while training: a new one has the checkpoints from now on", self._run)
        logger.info("saved checkpoint %d", step)
        return True


def _identity(folder: Path) -> tuple[int, int] | None:
    """What distinguishes a folder from another of the same name; None if there is no such folder."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
