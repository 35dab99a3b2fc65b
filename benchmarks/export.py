"""Compare the speed of our ONNX files with that of the reference's own torch export, in ONNX Runtime and OpenVINO.

    python benchmarks/export.py [--rounds 15 61] [--json docs/results/export.json]

Both files contain the same weights. Every pair of file and runtime has its own process; all run one call in each round, one after
another. Needs the extras `export`, `parity` and `peers`.
"""

import argparse
import os
from pathlib import Path

from compare import measure, show

from hifigan_jax.benchmark import about_cpu, write_results
from hifigan_jax.config import packaged_config

SYSTEMS = ("onnxruntime", "onnxruntime_own", "openvino", "openvino_own")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=396, help="396 frames are 4.6 s at 22,050 Hz")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, nargs=2, default=(15, 61), metavar=("V1", "V2"))
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    settings = argparse.Namespace(
        **{"task": "synthesis", "systems": SYSTEMS, "python": [], "batch_size": 1},
        **{"frames": options.frames, "threads": options.threads},
    )
    rows = []
    for name, rounds in zip(("config_v1", "config_v2"), options.rounds, strict=True):
        found = measure(packaged_config(name), rounds, settings)
        show(found)
        rows += found
    if options.json:
        write_results(options.json, {"cpu": about_cpu(options.threads), "batch_size": 1, "frames": options.frames, "rows": rows})


if __name__ == "__main__":
    main()
