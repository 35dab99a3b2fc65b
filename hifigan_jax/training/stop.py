"""Signals that ask a run to stop."""

import signal


class StopRequest:
    """A context in which the first SIGINT, SIGTERM or SIGUSR1 sets `requested` and a second one ends the program."""

    SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))

    def __init__(self):
        self.requested = False

    def __enter__(self) -> "StopRequest":
        self._handlers = {number: signal.signal(number, self._request) for number in self.SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _request(self, number, _) -> None:
        if self.requested:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.requested = True
