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
    """Prints the result. In float32, the generator's L1 losses flip signs with rounding, hence its larger bound."""
    found = {}
    for dtype, micro_batches, numbers in (("float32", "1", ("2", "8")), ("float64", "2", ("4",))):
        command = [sys.executable, str(DEVICES), dtype, micro_batches, *numbers]
        environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8"}
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        rows = json.loads(output.splitlines()[-1])
        for network in ("discriminator", "generator"):
            found[f"{dtype} {network}"] = max(row[network] for row in rows)
    bounds = {"float32 discriminator": 1e-5, "float32 generator": 2e-4, "float64 discriminator": 1e-9, "float64 generator": 1e-9}
    common.result(
        "R6",
        "gradients on 2 to 8 devices: D, G in float32; in float64",
        "1e-5, 2e-4; 1e-9",
        "{float32 discriminator:.0e}, {float32 generator:.0e}; {float64 generator:.0e}".format(**found),
        all(found[name] <= bound for name, bound in bounds.items()),
        distances=found,
    )


if __name__ == "__main__":
    main()
