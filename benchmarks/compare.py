"""Lets hifigan_jax and other implementations do the same work in turns, in child processes, and prints medians and ratios.

    python benchmarks/compare.py synthesis --config configs/config_v1.json
    python benchmarks/compare.py training --config configs/config_v3.json --batch_size 4 --contenders hifigan_jax torch

Weights are random, the mel is noise of a log-mel's spread; neither changes the time. `--python hifigan_jax=PATH` names the
interpreter for one contender: torch has a ready CPU build for fewer versions of Python than jax has. Contenders may be written
NAME:DTYPE, as in openvino:bfloat16; each of ours is compared with every other.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from hifigan_jax.benchmark import processor
from hifigan_jax.config import load_config
from hifigan_jax.flops import generator_flops, training_step_flops

HERE = Path(__file__).parent


class Contender:
    """A child process that does its work once each time it is told to."""

    def __init__(self, name: str, options: argparse.Namespace, python: str):
        self.name = name
        program, _, dtype = name.partition(":")
        command = [python, str(HERE / "contenders.py"), program, options.task, "--config", str(options.config)]
        command += ["--batch_size", str(options.batch_size), "--frames", str(options.frames), "--threads", str(options.threads)]
        command += ["--compute_dtype", dtype or "float32"]
        environment = os.environ | {"OMP_NUM_THREADS": str(options.threads), "TF_CPP_MIN_LOG_LEVEL": "2"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )
        # A call of synthesis is as short as what the one before leaves behind: ONNX Runtime's threads go on turning, for 40 ms of
        # processor time in a trial, and the caches hold the other's data. So in each turn a call that isn't timed comes first.
        self.calls = 2 if options.task == "synthesis" else 1
        self.seconds: list[float] = []
        self.about = json.loads(self._line())

    def go(self) -> None:
        """One round."""
        for _ in range(self.calls):
            self.process.stdin.write("\n")
            seconds = float(self._line())
        self.seconds.append(seconds)

    def end(self) -> None:
        """Lets the process end."""
        self.process.stdin.close()
        self.process.wait()

    def _line(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} failed")
        return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("synthesis", "training"))
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--contenders", nargs="+", default=["hifigan_jax", "torch", "onnxruntime", "openvino"])
    parser.add_argument("--python", nargs="*", default=[], metavar="NAME=PATH")
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--frames", type=int, default=396, help="of synthesis; 396 are 4.6 s")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = load_config(options.config, {"batch_size": options.batch_size})
    pythons = dict(entry.split("=", 1) for entry in options.python)
    contenders = [Contender(name, options, pythons.get(name.partition(":")[0], sys.executable)) for name in options.contenders]
    for _ in range(options.rounds):
        for contender in contenders:
            contender.go()
    for contender in contenders:
        contender.end()

    if options.task == "synthesis":
        flops = options.batch_size * generator_flops(config, options.frames)
        audio = options.batch_size * options.frames * config.mel.hop_size / config.mel.sampling_rate
    else:
        flops = training_step_flops(config)
        audio = options.batch_size * config.optimization.segment_size / config.mel.sampling_rate
    machine = f"{processor()}, {options.threads} threads, {platform.system()}"
    print(f"{options.task}, {options.config.stem}, batch {options.batch_size}, {audio:.2f} s of audio; {machine}")
    print(f"{'':24}{'median s':>10}{'min':>8}{'max':>8}{'x real time':>13}{'GFLOP/s':>9}")
    rows = {}
    for contender in contenders:
        median = statistics.median(contender.seconds)
        rows[contender.name] = {"seconds": contender.seconds, "median": median} | contender.about
        low, high = min(contender.seconds), max(contender.seconds)
        versions = ", ".join(f"{name} {version}" for name, version in contender.about["versions"].items())
        print(
            f"{contender.name:24}{median:10.3f}{low:8.3f}{high:8.3f}{audio / median:13.2f}{flops / median / 1e9:9.0f}  {versions}"
        )
    ours = [name for name in rows if name.startswith("hifigan_jax")]
    for name in ours:
        for other in (row for row in rows if row not in ours):
            print(f"{name} is {rows[other]['median'] / rows[name]['median']:.2f} x as fast as {other}")
    if options.json:
        content = {"task": options.task, "config": options.config.stem, "machine": machine, "flops": flops, "rows": rows}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
