"""Recordings that cannot be read any more in the middle of a run."""

import logging
import threading
from pathlib import Path

from hifigan_jax.errors import DataError, DiskError
from hifigan_jax.files import refuse_special

logger = logging.getLogger(__name__)

WARNINGS = 20  # the number of files that are named in the log


class SetAside:
    """Files set aside: each is logged once and listed in a text file, one line per problem. Can be used from several threads."""

    def __init__(self, listing: Path | None = None):
        self._listing, self._paths, self._lock = listing, set(), threading.Lock()

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    def __len__(self) -> int:
        return len(self._paths)

    def add(self, path: str, problem: DataError) -> None:
        """Sets `path` aside; does nothing if it already is."""
        with self._lock:
            if path in self._paths:
                return
            self._paths.add(path)
            count = len(self._paths)
        if count <= WARNINGS:
            logger.warning("set aside: %s", problem)
        if count == WARNINGS:
            logger.warning("files set aside from now on are only listed%s", f" in {self._listing}" if self._listing else "")
        self._list(problem)

    def _list(self, problem: DataError) -> None:
        if self._listing is None:
            return
        try:
            refuse_special(self._listing)  # a pipe would block
            with self._listing.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{problem}\n")
        except OSError as error:
            logger.warning("%s: cannot be written: %s", self._listing, error.strerror)
            self._listing = None
        except DiskError as error:
            logger.warning("%s", error)
            self._listing = None
