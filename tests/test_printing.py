"""Printing to a stdout that is full or closed."""

import os
import subprocess
import sys

import pytest

import hifigan_jax

PROGRAM = """
import sys
from hifigan_jax.printing import Printer, flush_stdout
printer = Printer("the program continues")
for number in range(4):
    input()
    printer(f"line {number}")
    print("printed", file=sys.stderr, flush=True)
flush_stdout()
sys.exit(7)
"""
FULL = "stdout: cannot be written: No space left on device: the program continues\n"


def start(program, stdout):
    """A program that prints a line for each one that it reads."""
    environment = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(hifigan_jax.__file__))}
    pipes = {"stdin": subprocess.PIPE, "stdout": stdout, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", program], **pipes, text=True, env=environment)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device")
def test_a_full_stdout_is_one_warning():
    with open("/dev/full", "w") as full, start(PROGRAM, full) as process:
        messages = process.communicate("\n" * 4)[1]
    assert messages.replace("printed\n", "") == FULL
    assert process.returncode == 7


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device")
def test_lines_appear_again_when_there_is_space(tmp_path):
    printed = tmp_path / "printed"
    space = f"os.dup2(os.open({str(printed)!r}, os.O_WRONLY | os.O_CREAT), sys.stdout.fileno())"
    with open("/dev/full", "w") as full, start("import os" + PROGRAM.replace("input()", f"if input(): {space}"), full) as process:
        messages = process.communicate("\n\nnow\n\n")[1]
    assert messages.replace("printed\n", "") == FULL
    assert printed.read_text().splitlines()[-2:] == ["line 2", "line 3"]
    assert process.returncode == 7


def test_a_closed_pipe_is_one_warning():
    with start(PROGRAM, subprocess.PIPE) as process:
        process.stdout.close()
        process.stdin.write("\n" * 4)
        process.stdin.close()
        messages = process.stderr.read()
    assert messages.replace("printed\n", "") == "stdout: cannot be written: Broken pipe: the program continues\n"
    assert process.returncode == 7
