"""metrics.jsonl: one flat object per line, the step and floats."""

import collections
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from hifigan_jax import faults
from hifigan_jax.files import append_whole, atomic_write, refuse_special
from hifigan_jax.training.write_guard import WriteGuard

logger = logging.getLogger(__name__)

_MOST_WAITING = 1000  # lines
_LONGEST_LINE = 2**20  # bytes


class MetricsFile:
    """The metrics.jsonl of a run that starts at `step`: lines after `step` are removed, since their steps are trained again.

    While the file cannot be written, the newest lines wait in memory.
    """

    def __init__(self, path: Path, step: int):
        self._path, self._step, self._opened = path, step, False
        self._waiting: collections.deque[str] = collections.deque(maxlen=_MOST_WAITING)
        self._guard = WriteGuard(path, f"the last {_MOST_WAITING} lines are kept in memory until it can be")
        self.flush()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one line, after those that could not be written before."""
        self._waiting.append(json.dumps({"step": step, **values}) + "\n")
        self.flush()

    def flush(self) -> None:
        """Attempts to write the lines that wait."""
        if self._guard.attempt(self._write):
            self._waiting.clear()

    def _write(self) -> None:
        faults.no_space("disk_full.metrics")
        refuse_special(self._path)  # a pipe would block
        if not self._opened:
            keep_up_to(self._path, self._step)
            self._opened = True
        append_whole(self._path, "".join(self._waiting).encode())


def keep_up_to(path: Path, step: int) -> None:
    """Removes from a metrics.jsonl the lines after `step` and all that is no line of ours, and warns about the latter.

    The lines that remain are not changed. Raises OSError and DiskError; the file is then as before.
    """
    if not path.exists():
        return
    with open(path, "rb") as file:
        steps = [(_step_of(line), line.endswith(b"\n")) for line in _lines(file)]
    if all(found is not None and found <= step and complete for found, complete in steps):
        return
    with open(path, "rb") as file, atomic_write(path.resolve()) as temporary, open(temporary, "wb") as kept:
        for (found, complete), line in zip(steps, _lines(file), strict=True):
            if found is not None and found <= step:
                kept.write(line if complete else line + b"\n")
    unknown = sum(found is None and complete for found, complete in steps)  # an incomplete one: the run was killed
    if unknown:
        logger.warning("%s: %d damaged lines are removed", path, unknown)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; longer ones than ours ever are come in parts."""
    return iter(lambda: file.readline(_LONGEST_LINE), b"")


def _step_of(line: bytes) -> int | None:
    """The step of a line that we may have written, else None."""
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError):  # not UTF-8, not JSON, too long a number, nested too deeply
        return None
    step = row.get("step") if isinstance(row, dict) else None
    return step if type(step) is int and step >= 0 else None
