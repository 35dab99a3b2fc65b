"""Printing to a stdout that is full or closed."""

import os
import subprocess
import sys

import pytest

import hifigan_jax

PROGRAM = """
import sys
from hifigan_jax.printing import print_line
input()
for number in range(3):
    print_line(f"line {number}", "the program goes on")
sys.exit(7)
"""


def run(stdout):
    environment = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(hifigan_jax.__file__))}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device")
def test_a_full_stdout_is_one_warning():
    with open("/dev/full", "w") as full, run(full) as process:
        messages = process.communicate("\n")[1]
    assert messages.splitlines() == ["stdout: cannot be written: No space left on device: the program goes on"]
    assert process.returncode == 7


def test_a_closed_pipe_is_one_warning():
    with run(subprocess.PIPE) as process:
        process.stdout.close()
        process.stdin.write("\n")
        process.stdin.close()
        messages = process.stderr.read()
    assert messages.splitlines() == ["stdout: cannot be written: Broken pipe: the program goes on"]
    assert process.returncode == 7
