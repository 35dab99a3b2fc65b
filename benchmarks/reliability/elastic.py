"""Resumes a run on other numbers of devices and processes, and back.

    python benchmarks/reliability/elastic.py

Runs of 20 steps: 10 on one device, 5 on 2 devices, on 4, or on two processes with one device each, and 5 on one device again.
Each is compared with 20 steps on one device. All begin on one device because the first steps of this tiny run amplify rounding.
"""

import pathlib
import shutil
import socket

import common
import numpy as np

STEPS = 20
SETTINGS = {"batch_size": 4, "num_workers": 1, "checkpoint_interval": STEPS}
ONE = (1, 1)  # devices of each process, processes
LAYOUTS = {"2 devices": (2, 1), "4 devices": (4, 1), "2 processes": (1, 2)}


def main() -> None:
    with common.work_folder() as folder:
        common.inputs.record(folder / "in", *(f"{number}.wav" for number in range(20)))
        train(folder, "begun", ONE, STEPS // 2)
        train(folder, "begun", ONE, STEPS, name="straight")
        report_elastic(folder)


def train(folder: pathlib.Path, source: str, layout: tuple[int, int], steps: int, name: str | None = None) -> None:
    """Trains `source`, or a copy of it named `name`, until `steps` on this layout."""
    devices, processes = layout
    if name is not None:
        shutil.copytree(folder / source, folder / name)
    config = common.configuration(folder, name or source, **SETTINGS)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    cluster = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": str(processes)}
    environments = [cluster | {"JAX_PROCESS_ID": str(number)} if processes > 1 else {} for number in range(processes)]
    arguments, log = ["--config", str(config), "--max_steps", str(steps)], folder / "log"
    started = [common.start(arguments, log, {"JAX_NUM_CPU_DEVICES": str(devices), **more}) for more in environments]
    codes = [process.wait() for process in started]
    common.note(f"{name or source}, step {steps}: {codes}")
    assert not any(codes), log.read_text()


def report_elastic(folder: pathlib.Path) -> None:
    """Resumes on other layouts and prints the result."""
    expected, of_losses = common.arrays(folder / "straight", STEPS), common.losses(folder / "straight")
    distances, of_loss = {}, {}
    for name, layout in LAYOUTS.items():
        train(folder, "begun", layout, STEPS * 3 // 4, name)
        train(folder, name, ONE, STEPS)
        distances[name] = distance(common.arrays(folder / name, STEPS), expected)
        pairs = zip(common.losses(folder / name), of_losses, strict=True)
        of_loss[name] = max(abs(a[key] - b[key]) / abs(b[key]) for a, b in pairs for key in b if "loss" in key)
    common.result(
        "R4",
        "resume on 2 or 4 devices or 2 processes, then on 1: parameters",
        "<= 1e-5",
        f"{max(distances.values()):.1e}",
        max(distances.values()) <= 1e-5 and max(of_loss.values()) <= 1e-3,  # other recordings would give other losses
        distances=distances,
        losses=of_loss,
    )


def distance(found: common.Arrays, expected: common.Arrays) -> float:
    """The larger of the relative L2 distances of both networks' parameters."""
    networks = ("generator/", "training/discriminator/params/")
    return max(
        np.sqrt(sum(np.sum((found[name].astype(np.float64) - expected[name]) ** 2) for name in names))
        / np.sqrt(sum(np.sum(expected[name].astype(np.float64) ** 2) for name in names))
        for names in ([name for name in expected if name.startswith(network)] for network in networks)
    )


if __name__ == "__main__":
    main()
