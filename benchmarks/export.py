"""Compare our exports with Vocoder.decode, and the speed of our ONNX files with that of the reference's own torch export.

    python benchmarks/export.py FOLDER [--checkpoint_file NAME_OR_PATH ...] [--rounds 15 61] [--json docs/results/export.json]

First the audio: of ONNX Runtime, of StableHLO in another process, of sherpa-onnx and of the page in Chromium, with random weights
and with those of --checkpoint_file for the recordings of FOLDER. Then the speed, in ONNX Runtime and OpenVINO, of two files with
the same weights. Every pair of file and runtime has its own process; all run one call in each round, one after another. Needs the
extras `export`, `parity` and `peers`; sherpa-onnx, Chromium and selenium if they are there.
"""

import argparse
import os
from pathlib import Path

from hifigan_jax import runtime

runtime.prepare()

import tables  # noqa: E402
from compare import measure, show  # noqa: E402
from export_accuracy import accuracy, versions  # noqa: E402

from hifigan_jax.audio import SUFFIXES  # noqa: E402
from hifigan_jax.benchmark import about_cpu, write_results  # noqa: E402
from hifigan_jax.config import packaged_config  # noqa: E402

SYSTEMS = ("onnxruntime", "onnxruntime_own", "openvino", "openvino_own")


def speed(options: argparse.Namespace) -> list[dict]:
    """One row per model and pair of file and runtime."""
    settings = argparse.Namespace(
        **{"task": "synthesis", "systems": SYSTEMS, "python": [], "batch_size": 1},
        **{"frames": options.frames, "threads": options.threads},
    )
    rows = []
    for name, rounds in zip(("config_v1", "config_v2"), options.rounds, strict=True):
        found = measure(packaged_config(name), rounds, settings)
        show(found)
        rows += found
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint_file", nargs="+", default=["universal_v1"])
    parser.add_argument("--files", type=int, help="use only the first N files of FOLDER")
    parser.add_argument("--frames", type=int, default=396, help="396 frames are 4.6 s at 22,050 Hz")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, nargs=2, default=(15, 61), metavar=("V1", "V2"))
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES)[: options.files]
    result = {"runtimes": versions(), "accuracy": accuracy(options.checkpoint_file, paths)}
    print(tables.export_accuracy(result), flush=True)
    result["rows"] = speed(options)
    if options.json:
        write_results(options.json, {"cpu": about_cpu(options.threads), "batch_size": 1, "frames": options.frames, **result})


if __name__ == "__main__":
    main()
