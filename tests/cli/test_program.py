"""Behavior that all programs share."""

import gc
import signal
import subprocess
import sys
import time

import pytest

from hifigan_jax import cli

pytestmark = pytest.mark.smoke

SIGNALS_IN_PRODUCTS = """
import contextlib, signal
from hifigan_jax.cli import run

with contextlib.suppress(SystemExit):
    run("train", ["--help"])

import jax
import jax.numpy as jnp

jax.config.update("jax_cpu_enable_async_dispatch", False)  # this thread computes, as in training
signal.signal(signal.SIGALRM, lambda *_: None)
convolve = jax.jit(lambda x, w: jax.lax.conv_general_dilated(x, w, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")))
x, w = jnp.ones((2, 512, 32)), jnp.ones((5, 32, 32))
convolve(x, w)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for _ in range(5000):
    convolve(x, w)
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_signal_during_a_matrix_product_is_harmless():
    """Without a separate signal stack, jaxlib 0.10 corrupts its heap here and crashes."""
    result = subprocess.run([sys.executable, "-c", SIGNALS_IN_PRODUCTS], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_an_interrupt_in_a_garbage_collection_ends_the_program(request):
    """Such an interrupt is lost without `repeating_interrupts`."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, handler))
    during = []

    def interrupted(phase, _):
        if not during:
            during.append(phase)
            signal.raise_signal(signal.SIGINT)

    def program():
        with cli.repeating_interrupts():
            gc.callbacks.append(interrupted)  # only now: an earlier collection would lose the interrupt
            gc.collect()
            time.sleep(5)

    before = sys.unraisablehook
    try:
        with pytest.raises(KeyboardInterrupt):
            program()
    finally:
        gc.callbacks.remove(interrupted)
    assert during == ["start"]
    assert sys.unraisablehook is before
