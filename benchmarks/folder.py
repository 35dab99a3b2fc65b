"""Time infer.py on a folder of recordings, as complete processes, against the reference's inference.py.

    python benchmarks/folder.py [--files 100] [--config JSON] [--checkpoint_file G] [--compute_dtype float32 bfloat16]
        [--reference_python PYTHON] [--json FILE]

The recordings are 1 to 12 s long, cut from the sample clips, in a temporary folder. Weights are random unless a PyTorch file is
given. PYTHON is an interpreter with the extra `parity`. The programs alternate, and each ratio is a median over rounds. The first
round, in which programs may have to be compiled, is not counted.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from hifigan_jax.audio import read_audio, write_wav
from hifigan_jax.benchmark import about_cpu, random_params, write_results
from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.weights.reference_run import write_generator

ROOT = Path(__file__).parent.parent
SHORTEST, LONGEST = 1, 12  # seconds


def make_recordings(folder: Path, count: int, seed: int) -> float:
    """Write `count` recordings, cut from the repeated sample clips; return their total length in seconds."""
    clips, rates = zip(*(read_audio(path) for path in sorted((ROOT / "samples").glob("*.flac"))), strict=True)
    loop, rate = np.tile(np.concatenate(clips), 2), rates[0]
    random = np.random.default_rng(seed)
    lengths = (random.uniform(SHORTEST, LONGEST, count) * rate).astype(int)
    for number, length in enumerate(lengths):
        start = random.integers(loop.size - length)
        write_wav(folder / f"{number:04d}.wav", loop[start : start + length], rate)
    return float(lengths.sum() / rate)


def write_random_weights(path: Path, config_path: str) -> None:
    """Write a generator with random weights as a PyTorch file."""
    write_generator(path, random_params(load_config(config_path)))


def timed(command: list[str], recordings: Path, count: int) -> tuple[float, str]:
    """Return the seconds that one process takes for all recordings, and its stderr."""
    with tempfile.TemporaryDirectory() as output:
        folders = ["--input_wavs_dir", str(recordings), "--output_dir", output]
        start = time.perf_counter()
        result = subprocess.run([*command, *folders], cwd=ROOT, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        assert len(list(Path(output).iterdir())) == count
    return seconds, result.stderr


def torch_version(python: str) -> dict[str, str]:
    """Return the version of torch that another interpreter has."""
    script = "import importlib.metadata; print(importlib.metadata.version('torch'))"
    return {"torch": subprocess.run([python, "-c", script], check=True, capture_output=True, text=True).stdout.strip()}


def measure(commands: dict[str, list[str]], recordings: Path, count: int, repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each program, by round; the programs alternate."""
    seconds = {name: [] for name in commands}
    for number in range(1 + repeats):
        for name, command in commands.items():
            took, log = timed(command, recordings, count)
            if number:
                seconds[name].append(took)
            summary = re.findall(r"\d+ compilations", log)
            print(f"{name}: {took:.2f} s {summary}", flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--config", default=str(packaged_config("config_v2")))
    parser.add_argument("--checkpoint_file")
    parser.add_argument("--compute_dtype", nargs="+", default=["float32"], choices=("float32", "bfloat16"))
    parser.add_argument("--reference_python")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recordings, weights = Path(folder, "recordings"), options.checkpoint_file
        audio = make_recordings(recordings, options.files, options.seed)
        if weights is None:
            weights = str(Path(folder, "g_random"))
            write_random_weights(Path(weights), options.config)
        flags = ["--checkpoint_file", os.path.abspath(weights), "--config", os.path.abspath(options.config)]
        ours = [sys.executable, "infer.py", *flags, "--compute_dtype"]
        commands = {f"hifigan_jax {dtype}": [*ours, dtype] for dtype in options.compute_dtype}
        if options.reference_python:
            commands["reference"] = [options.reference_python, "benchmarks/reference_inference.py", *flags]
        print(f"{options.files} recordings, {audio:.0f} s, {Path(options.config).stem}; {about_cpu()}", flush=True)
        seconds = measure(commands, recordings, options.files, options.repeats)
    result = {"config": Path(options.config).stem, "files": options.files, "audio_seconds": audio, "seconds": dict(seconds)}
    for name, values in seconds.items():
        print(f"{name:22} {median(values):.2f} s, {audio / median(values):.1f} x real time")
    if options.reference_python:
        reference = seconds.pop("reference")
        ratios = {name: median(np.divide(reference, own)) for name, own in seconds.items()}
        result |= {"times_the_reference": ratios, "versions": torch_version(options.reference_python)}
        for name, ratio in ratios.items():
            print(f"{name} is {ratio:.2f} times as fast as the reference")
    if options.json:
        write_results(options.json, result)


if __name__ == "__main__":
    main()
