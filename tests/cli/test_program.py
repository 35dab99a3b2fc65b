"""Behavior that all programs share."""

import subprocess
import sys

import pytest

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
