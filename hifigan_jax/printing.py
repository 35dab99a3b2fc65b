"""Lines on stdout, which may be full or closed."""

import errno
import logging
import os
import sys

logger = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Printer:
    """Prints lines at once. If stdout is full, warns and prints again as soon as it can; if it is closed, prints nothing more."""

    def __init__(self, consequence: str):
        self._consequence, self._full = consequence, False

    def __call__(self, line: object) -> None:
        """Prints a line, if possible."""
        try:
            print(line, flush=True)
            self._full = False
        except (OSError, ValueError) as error:  # ValueError: closed by Python code
            if not self._full:
                logger.warning("stdout: cannot be written: %s: %s", getattr(error, "strerror", None) or error, self._consequence)
            self._full = getattr(error, "errno", None) in _FULL
            if not self._full:
                _discard_stdout()


def flush_stdout() -> None:
    """Writes what is left for stdout, if possible; Python would otherwise fail at the end of the program, with exit code 120."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _discard_stdout()
    except AttributeError:  # there is no stdout
        pass


def _discard_stdout() -> None:
    """Directs stdout to nowhere, as Python's documentation of SIGPIPE recommends; what it still buffers is then lost as well."""
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is no file
        sys.stdout = None
