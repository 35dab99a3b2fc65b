"""TensorBoard's event files, written without tensorboardX's thread, which dies at the first error and then blocks the run."""

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import audio

from hifigan_jax import faults
from hifigan_jax.files import append_whole
from hifigan_jax.training.write_guard import WriteGuard


class EventFile:
    """A new event file in the folder of a run that starts at `step`. TensorBoard then hides what older files have after `step`.

    While the file cannot be written, its events are lost.
    """

    def __init__(self, folder: Path, step: int):
        self._folder, self._step = folder, step
        self._path: Path | None = None
        self._guard = WriteGuard(folder, "nothing is added to TensorBoard until it can be; metrics.jsonl contains all values")
        self._guard.attempt(self._open)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one point per value."""
        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._add(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))

    def audio(self, tag: str, samples: np.ndarray, step: int, sampling_rate: int) -> None:
        """Writes audio [T] in [-1, 1]."""
        self._add(Event(wall_time=time.time(), step=step, summary=audio(tag, samples, sampling_rate)))

    def _add(self, event: Event) -> None:
        def write():
            self._open()
            append_whole(self._path, _record(event))

        self._guard.attempt(write)

    def _open(self) -> None:
        faults.no_space("disk_full.tensorboard")
        if self._path is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files in the order of their names, even if the clock has been set back since the last one.
        newest = max((_seconds(path) for path in self._folder.glob("events.out.tfevents.*")), default=0)
        seconds = max(int(time.time()), newest + 1)
        path = self._folder / f"events.out.tfevents.{seconds:010d}.{socket.gethostname()}.{os.getpid()}"
        start = Event(wall_time=time.time(), file_version="brain.Event:2")
        first = Event(wall_time=time.time(), step=self._step + 1, session_log=SessionLog(status=SessionLog.START))
        append_whole(path, _record(start) + (_record(first) if self._step else b""))
        self._path = path


def _seconds(path: Path) -> int:
    """The time in the name of an event file."""
    text = path.name.split(".")[3]
    return int(text) if text.isdecimal() and len(text) == 10 else 0


def _record(event: Event) -> bytes:
    """An event in TensorFlow's TFRecord format: length, checksum, content, checksum."""
    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", masked_crc32c(length)) + content + struct.pack("<I", masked_crc32c(content))
