"""Compare the speed of hifigan_jax with torch, ONNX Runtime and OpenVINO on the same work.

    python benchmarks/compare.py synthesis --config configs/config_v1.json configs/config_v2.json --rounds 7 31
    python benchmarks/compare.py training --config configs/config_v3.json --batch_size 4 --systems hifigan_jax torch

Every system runs in its own process; all systems run one call in each round, one after another. Weights and mels are random,
which does not change the time. A system is written NAME or NAME:DTYPE, as in openvino:bfloat16. `--python torch=PATH` names the
interpreter of one system, for example because jax supports a Python version that torch has no CPU build for.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from hifigan_jax.benchmark import about_cpu, write_results
from hifigan_jax.config import load_config
from hifigan_jax.flops import generator_flops, training_step_flops

SYSTEMS = Path(__file__).with_name("systems.py")
DEFAULT_SYSTEMS = {"synthesis": ["hifigan_jax", "torch", "onnxruntime", "openvino"], "training": ["hifigan_jax", "torch"]}


class System:
    """A process of systems.py that runs its work once per request."""

    def __init__(self, name: str, config: Path, options: argparse.Namespace, python: str):
        self.name = name
        program, _, dtype = name.partition(":")
        self.dtype = dtype or "float32"
        command = [python, str(SYSTEMS), program, options.task, "--config", str(config), "--compute_dtype", self.dtype]
        for key in ("batch_size", "frames", "threads"):
            command += [f"--{key}", str(getattr(options, key))]
        environment = os.environ | {"OMP_NUM_THREADS": str(options.threads), "TF_CPP_MIN_LOG_LEVEL": "2"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )
        # A short call is disturbed by the call before it: ONNX Runtime's threads keep spinning for 40 ms of CPU time, and the
        # caches contain another system's data. So each round of synthesis starts with an untimed call.
        self.calls = 2 if options.task == "synthesis" else 1
        self.seconds: list[float] = []
        self.about = json.loads(self._line())

    def run_round(self) -> None:
        """Run the work and record the time of its last call."""
        for _ in range(self.calls):
            self.process.stdin.write("\n")
            seconds = float(self._line())
        self.seconds.append(seconds)

    def close(self) -> None:
        """Let the process end."""
        self.process.stdin.close()
        self.process.wait()

    def _line(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} failed")
        return line


def measure(config_path: Path, rounds: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time all systems on one configuration; one row per system."""
    config = load_config(config_path, {"batch_size": options.batch_size})
    pythons = dict(entry.split("=", 1) for entry in options.python)
    names = options.systems or DEFAULT_SYSTEMS[options.task]
    systems = [System(name, config_path, options, pythons.get(name.partition(":")[0], sys.executable)) for name in names]
    for _ in range(rounds):
        for system in systems:
            system.run_round()
    for system in systems:
        system.close()
    if options.task == "synthesis":
        flops = options.batch_size * generator_flops(config, options.frames)
        samples = options.frames * config.mel.hop_size
    else:
        flops, samples = training_step_flops(config), config.optimization.segment_size
    shared = {
        "config": config_path.stem,
        "flops": flops,
        "audio_seconds": options.batch_size * samples / config.mel.sampling_rate,
    }
    return [
        {**shared, "system": system.name.partition(":")[0], "dtype": system.dtype, "median": statistics.median(system.seconds)}
        | {"seconds": system.seconds}
        | system.about
        for system in systems
    ]


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows of one configuration, and how they compare with ours of the same dtype."""
    print(f"{rows[0]['config']}, {rows[0]['audio_seconds']:.2f} s of audio")
    print(f"{'':24}{'median s':>10}{'min':>8}{'max':>8}{'x real time':>13}{'GFLOP/s':>9}{'ours is':>10}")
    ours = {row["dtype"]: row["median"] for row in rows if row["system"] == "hifigan_jax"}
    for row in rows:
        median = row["median"]
        speeds = f"{row['audio_seconds'] / median:13.2f}{row['flops'] / median / 1e9:9.0f}"
        ratio = f"{median / ours[row['dtype']]:8.2f} x" if row["dtype"] in ours else ""
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        name = f"{row['system']} {row['dtype']}"
        print(f"{name:24}{median:10.3f}{min(row['seconds']):8.3f}{max(row['seconds']):8.3f}{speeds}{ratio:>10}  {versions}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=tuple(DEFAULT_SYSTEMS))
    parser.add_argument("--config", type=Path, nargs="+", required=True, metavar="JSON")
    parser.add_argument("--systems", nargs="+", metavar="NAME[:DTYPE]")
    parser.add_argument("--python", nargs="*", default=[], metavar="NAME=PATH")
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--frames", type=int, default=396, help="for synthesis; 396 frames are 4.6 s at 22,050 Hz")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, nargs="+", default=[9], help="one number for all configurations, or one for each")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if len(options.rounds) not in (1, len(options.config)):
        parser.error("--rounds: give one number, or one for each configuration")
    rounds = options.rounds * (len(options.config) if len(options.rounds) == 1 else 1)
    print(f"{options.task}, batch {options.batch_size}, {about_cpu(options.threads)}")
    rows = []
    for config, count in zip(options.config, rounds, strict=True):
        rows += measure(config, count, options)
        show([row for row in rows if row["config"] == config.stem])
    if options.json:
        settings = {"task": options.task, "batch_size": options.batch_size, "frames": options.frames}
        write_results(options.json, {"cpu": about_cpu(options.threads), **settings, "rows": rows})


if __name__ == "__main__":
    main()
