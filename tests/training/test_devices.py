import json
import os
import pathlib
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).with_name("devices.py")


@pytest.mark.parametrize(
    ("dtype", "micro_batches", "numbers", "of_discriminator", "of_generator"),
    [("float32", 1, ["2", "8"], 1e-5, 2e-4), ("float64", 2, ["4"], 1e-9, 1e-9)],
)
def test_any_number_of_devices_computes_the_gradients_of_one_and_exchanges_only_them(
    dtype, micro_batches, numbers, of_discriminator, of_generator
):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8"}
    command = [sys.executable, PROGRAM, dtype, str(micro_batches), *numbers]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout.splitlines()[-1])
    assert [row["devices"] for row in rows] == [int(number) for number in numbers]
    for row in rows:
        assert row["discriminator"] <= of_discriminator, row
        assert row["generator"] <= of_generator, row  # signs of the L1 losses flip with rounding
        assert row["all_reduces"] == 2, row  # one per network: its gradient and its losses
        assert row["values_all_reduced"] == row["parameters"] + 5, row
        assert row["other_collectives"] == [], row
        if micro_batches == 1:  # a loop's body is counted once
            assert row["share_of_flops"] == pytest.approx(1 / row["devices"], rel=0.05), row
