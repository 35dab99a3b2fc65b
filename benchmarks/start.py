"""Time the synthesis of one short recording as a complete process, against the reference's inference.py.

    python benchmarks/start.py [--config configs/config_v1.json configs/config_v2.json] [--seconds 4] [--rounds 5]
        [--reference_python PYTHON] [--json FILE]

This is what a user waits for after typing the command: Python's imports, loading weights, compiling or reading compiled programs,
and the synthesis. Weights are random. PYTHON is an interpreter with the extra `parity`. The programs alternate; the first round,
which fills the cache of compiled programs, is not counted.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

import folder

from hifigan_jax.audio import read_audio, write_wav
from hifigan_jax.benchmark import about_cpu, write_results
from hifigan_jax.config import packaged_config

RECORDING = folder.ROOT / "samples" / "librivox_sonnet1_00.flac"


def commands(config: Path, weights: Path, reference_python: str | None) -> dict[str, list[str]]:
    """Return the programs to be timed, by name."""
    flags = ["--checkpoint_file", str(weights), "--config", str(config.resolve())]
    programs = {"hifigan_jax": [sys.executable, "infer.py", *flags]}
    if reference_python:
        programs["reference"] = [reference_python, "benchmarks/reference_inference.py", *flags]
    return programs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = [packaged_config(name) for name in ("config_v1", "config_v2")]
    parser.add_argument("--config", type=Path, nargs="+", default=default, metavar="JSON")
    parser.add_argument("--seconds", type=float, default=4, help="length of the recording")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reference_python", metavar="PYTHON")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    print(f"one recording of {options.seconds:g} s; {about_cpu()}")
    rows = {}
    with tempfile.TemporaryDirectory() as temporary:
        recordings = Path(temporary, "recordings")
        samples, rate = read_audio(RECORDING)
        write_wav(recordings / "recording.wav", samples[: int(options.seconds * rate)], rate)
        for config in options.config:
            weights = Path(temporary, f"g_{config.stem}")
            folder.write_random_weights(weights, str(config))
            programs = commands(config, weights, options.reference_python)
            seconds = folder.measure(programs, recordings, 1, options.rounds)
            rows[config.stem] = {name: {"median": median(times), "seconds": times} for name, times in seconds.items()}
            for name, row in rows[config.stem].items():
                print(f"{config.stem}, {name}: {row['median']:.2f} s")
    if options.json:
        versions = folder.torch_version(options.reference_python) if options.reference_python else {}
        write_results(options.json, {"audio_seconds": options.seconds, "versions": versions, "rows": rows})


if __name__ == "__main__":
    main()
