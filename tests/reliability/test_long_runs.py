"""The programs of benchmarks/reliability with small counts: what they promise holds."""

import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks" / "reliability"
HELPERS = {"common", "run", "reference"}
SHORT = {  # see docs/reliability.md
    "many_files": "with few files, the number of open ones varies by one from sample to sample",
    "memory": "XLA's CPU runtime ends the process at some failed allocations",
    "soak": "TensorStore keeps 257 bytes for each array of a save",
}
PROGRAMS = [
    pytest.param(name, marks=pytest.mark.xfail(reason=SHORT[name], strict=False) if name in SHORT else ())
    for name in sorted({path.stem for path in FOLDER.glob("*.py")} - HELPERS)
]


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_bar_of_a_program_holds(name):
    if name == "envelopes":
        pytest.importorskip("torch")
    command = [sys.executable, FOLDER / "run.py", "--quick", "--only", f"{name}.py"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
