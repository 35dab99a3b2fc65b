"""Compares gradients between numbers of devices.

    python benchmarks/reliability/gradients.py

The gradients are those of tests/training/devices.py: one step of SGD, so that no optimizer hides an error.
"""

import json
import os
import subprocess
import sys

import common

DEVICES = common.ROOT / "tests" / "training" / "devices.py"


def main() -> None:
    found = {dtype: distances(dtype, *rest) for dtype, *rest in (("float32", "1", "2", "8"), ("float64", "2", "4"))}
    largest = {dtype: max(row.values()) for dtype, row in found.items()}
    common.result(
        "R6",
        "gradients on 2 to 8 devices: relative, in float32, float64",
        "1e-5, 1e-9",
        "{float32:.0e}, {float64:.0e}".format(**largest),
        largest["float32"] <= 1e-5 and largest["float64"] <= 1e-9,
        distances=found,
    )


def distances(*arguments: str) -> dict[str, float]:
    """The largest distance of each network's gradients; arguments: dtype, micro-batches, numbers of devices."""
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8"}
    command = [sys.executable, str(DEVICES), *arguments]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    rows = json.loads(output.splitlines()[-1])
    return {network: max(row[network] for row in rows) for network in ("discriminator", "generator")}


if __name__ == "__main__":
    main()
