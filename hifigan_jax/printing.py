"""Lines on stdout."""

import logging
import os
import sys

logger = logging.getLogger(__name__)


def print_line(text: object, consequence: str) -> None:
    """Prints a line at once. If stdout is full or closed, warns, and prints nothing from then on.

    Python would otherwise end the program at the first line that cannot be written, or return 120 at its end.
    """
    try:
        print(text, flush=True)
    except (OSError, ValueError) as error:  # ValueError: closed by Python code
        reason = getattr(error, "strerror", None) or str(error)
        logger.warning("stdout: cannot be written: %s: %s", reason, consequence)
        _discard_stdout()


def _discard_stdout() -> None:
    """Directs stdout to nowhere, as Python's documentation of SIGPIPE recommends; what it still buffers is then lost as well."""
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is no file
        sys.stdout = None
