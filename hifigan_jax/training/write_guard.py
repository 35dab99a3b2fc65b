"""Writes that may fail without ending the run."""

import logging
from collections.abc import Callable
from pathlib import Path

from hifigan_jax.errors import DiskError

logger = logging.getLogger(__name__)


class WriteGuard:
    """Attempts writes to one output; warns about the first failure in a row, and reports the first success after it."""

    def __init__(self, output: Path, consequence: str):
        self._output, self._consequence, self._failing = output, consequence, False

    def attempt(self, write: Callable[[], None]) -> bool:
        """Calls `write` and returns whether it succeeded."""
        try:
            write()
        except (OSError, DiskError) as error:
            if not self._failing:
                reason = getattr(error, "strerror", None) or str(error).removeprefix(f"{self._output}: cannot be written: ")
                logger.warning("%s: cannot be written: %s: %s", self._output, reason, self._consequence)
            self._failing = True
            return False
        if self._failing:
            logger.info("%s: can be written again", self._output)
        self._failing = False
        return True
