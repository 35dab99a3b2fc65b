"""Signals during anything: the first is noted, the second ends the process."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import hifigan_jax
from hifigan_jax.training.stop import Stopped, StopRequest

BUSY = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"  # minutes in C, without Python's lock: as XLA compiles
SLEEPING = "time.sleep(600)"
WAITING = "threading.Event().wait(600)"
PROGRAM = """
import hashlib, threading, time
from hifigan_jax.training.stop import StopRequest
with StopRequest():
    print("ready", flush=True)
    {activity}
"""


@pytest.mark.parametrize("number", StopRequest.SIGNALS)
@pytest.mark.parametrize("activity", [BUSY, SLEEPING, WAITING])
def test_a_second_signal_ends_the_process_whatever_it_does(activity, number):
    environment = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(hifigan_jax.__file__))}
    command = [sys.executable, "-c", PROGRAM.format(activity=activity)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        messages = process.communicate(timeout=30)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert messages == "second signal: ended without saving\n"


def test_the_first_signal_is_noted_and_everything_is_as_before_afterwards():
    handlers = [signal.getsignal(number) for number in StopRequest.SIGNALS]
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for number in StopRequest.SIGNALS:
        with StopRequest() as stop:
            stop.check()
            os.kill(os.getpid(), number)
            with pytest.raises(Stopped):
                stop.check()
            assert threading.active_count() == threads + 1
    assert [signal.getsignal(number) for number in StopRequest.SIGNALS] == handlers
    assert signal.set_wakeup_fd(wakeup) == wakeup
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, files)


def test_other_signals_do_not_count():
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        with StopRequest() as stop:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGUSR2)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_in_another_thread_signals_are_left_alone():
    handler, found = signal.getsignal(signal.SIGTERM), []

    def use():
        with StopRequest() as stop:
            found.append((stop.requested, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert found == [(False, handler)]
