"""Signals that ask a run to stop."""

import contextlib
import os
import signal
import threading


class Stopped(Exception):
    """A stop was requested before the first step."""


class StopRequest:
    """A context in which the first SIGINT, SIGTERM or SIGUSR1 sets `requested`, and a second one ends the process at once.

    Python runs signal handlers between two of its own instructions, so not while XLA compiles. A thread that the signal itself
    wakes therefore ends the process. Without effect in threads other than the main one, where signals cannot be handled.
    """

    SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))

    def __init__(self):
        self.requested = False
        self._exit, self._ending = contextlib.ExitStack(), threading.Lock()

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            with contextlib.ExitStack() as exit:
                self._watch(exit)
                for number in self.SIGNALS:
                    exit.callback(signal.signal, number, signal.signal(number, self._request))
                self._exit = exit.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self._exit.close()

    def check(self) -> None:
        """Raises Stopped if a stop has been requested."""
        if self.requested:
            raise Stopped

    def _request(self, number, _) -> None:
        if self.requested:  # where another library receives the wake-up, as uvloop does while Orbax writes
            self._end(number)
        self.requested = True

    def _watch(self, exit: contextlib.ExitStack) -> None:
        """Starts the thread that counts signals; `exit` stops it."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        thread = threading.Thread(target=self._count, args=(reader,), name="signals", daemon=True)
        thread.start()
        exit.callback(os.close, reader)
        exit.callback(thread.join)
        exit.callback(os.close, writer)  # ends the thread
        exit.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writer, warn_on_full_buffer=False))

    def _count(self, reader: int) -> None:
        """Ends the process at the second signal whose number arrives at the file descriptor `reader`; returns at its end."""
        received = 0
        while number := os.read(reader, 1):
            received += number[0] in self.SIGNALS
            if received == 2:
                self._end(number[0])

    def _end(self, number: int) -> None:
        if self._ending.acquire(blocking=False):  # the handler and the thread can arrive here at the same time
            with contextlib.suppress(OSError):
                os.write(2, b"second signal: ended without saving\n")
            os._exit(128 + number)
