"""Train each family at reduced width on the sample recordings and record its loss curves.

    python benchmarks/learning.py FOLDER [--families melgan istftnet] [--steps 200] [--json FILE] [--figure PNG]

The runs are written to FOLDER. Each starts from the family's own JSON, made narrow by SETTINGS. The figure needs the extra
`figures`.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from hifigan_jax.benchmark import write_results
from hifigan_jax.config import packaged_config

ROOT = pathlib.Path(__file__).parent.parent
SAMPLES = ROOT / "samples"
COMMON = {
    "batch_size": 6,
    "num_workers": 2,
    "stdout_interval": 10,
    "summary_interval": 5,
    "validation_interval": 25,
    "checkpoint_interval": 1000,
}
SETTINGS = {
    "istftnet": COMMON | {"upsample_initial_channel": 128, "discriminator_channel_mult": 0.125, "learning_rate": 5e-4},
    "melgan": COMMON | {"upsample_initial_channel": 128, "discriminator_channel_mult": 0.25},
}
CURVES = {"validation mel error": "validation/mel_spec_error", "feature matching": "training/gen_loss_feature_matching"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--families", nargs="+", choices=SETTINGS, default=[*SETTINGS])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--figure", type=pathlib.Path)
    options = parser.parse_args()
    curves = {}
    for family in options.families:
        run = options.folder / family
        train(family, run, options.steps)
        curves[family] = {name: curve(run, tag) for name, tag in CURVES.items()}
        for name, points in curves[family].items():
            first, last = smoothed(points)
            print(f"{family}, {name}: {first:.4f} at the start, {last:.4f} at step {points[-1][0]} ({last / first - 1:+.0%})")
    if options.json:
        write_results(options.json, {"settings": SETTINGS, "curves": curves})
    if options.figure:
        draw(curves, options.figure)


def train(family: str, run: pathlib.Path, steps: int) -> None:
    """Run train.py; an interrupted run is resumed."""
    flags = {
        "config": packaged_config(family),
        "input_wavs_dir": SAMPLES,
        "input_training_file": SAMPLES / "training.txt",
        "input_validation_file": SAMPLES / "validation.txt",
        "checkpoint_path": run,
        "max_steps": steps,
    }
    command = [sys.executable, ROOT / "train.py", *(f"--{name}={value}" for name, value in flags.items())]
    for key, value in SETTINGS[family].items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    subprocess.run(command, check=True)


def curve(run: pathlib.Path, tag: str) -> list[tuple[int, float]]:
    """Return the (step, value) pairs of one metric."""
    rows = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [(row["step"], row[tag]) for row in rows if tag in row]


def smoothed(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Return the means of the first and the last tenth of a curve, at least one point each."""
    count = max(len(points) // 10, 1)
    values = [value for _, value in points]
    return sum(values[:count]) / count, sum(values[-count:]) / count


def draw(curves: dict, path: pathlib.Path) -> None:
    """Draw one panel per metric."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(CURVES), figsize=(9, 3), layout="constrained")
    for panel, name in zip(panels, CURVES, strict=True):
        for family, found in curves.items():
            panel.plot(*zip(*found[name], strict=True), label=family)
        panel.set(title=name, xlabel="step", ylim=(0, None))
        panel.legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
