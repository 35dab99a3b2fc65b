"""Train the reference in torch and hifigan_jax from the same weights on the same batches, and compare their losses.

    python benchmarks/trajectory.py FOLDER --dtype float64 --steps 10
    python benchmarks/trajectory.py FOLDER --dtype float32 --steps 20 --control [--json FILE] [--figure FILE]

FOLDER contains recordings at the configuration's sampling rate. Needs the extra `parity` (and `figures` for --figure).
`--control` also trains the reference with one thread instead of two: GAN training amplifies rounding, so that in float32
hifigan_jax cannot be closer to the reference than the reference is to itself.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from hifigan_jax.benchmark import about, write_results
from hifigan_jax.config import Config, load_config, packaged_config
from hifigan_jax.data import Batch, iterate, training_batches
from hifigan_jax.models.discriminators.torch_names import discriminator_state_dicts
from hifigan_jax.models.hifigan.torch_names import generator_state_dict
from hifigan_jax.recordings import load_corpus
from hifigan_jax.training.setup import first_state, mesh_over, train_step
from hifigan_jax.training.state import TrainState

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "parity"))

TERMS = ("discriminator", "generator", "adversarial", "feature_matching", "mel")


def batches(config: Config, steps: int, dtype: str) -> tuple[list[np.ndarray], int]:
    """Return the first training batches of input_wavs_dir, and the number of batches per epoch."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = load_corpus(config, Path(folder) / "recordings.json")
    stream = iterate(training_batches(corpus, config), 0, 1)
    return [next(stream).audio.astype(dtype) for _ in range(steps)], corpus.batches_per_epoch(config.optimization.batch_size)


def start(config: Config, dtype: str) -> TrainState:
    """Return the state of a new run as numpy arrays; its values are drawn in float32."""
    state = jax.device_get(jax.jit(lambda: first_state(config))())
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if leaf.dtype == np.float32 else leaf, state)


def train_ours(config: Config, state: TrainState, inputs: list[np.ndarray], per_epoch: int) -> list[dict[str, float]]:
    """Return the loss terms of each step of hifigan_jax."""
    step = train_step(config, per_epoch, mesh_over(config, jax.devices()[:1]))
    compiled = step.lower(state, Batch(inputs[0], None)).compile()
    rows = []
    for audio in inputs:
        state, metrics = compiled(state, Batch(audio, None))
        rows.append({name: float(metrics[name]) for name in TERMS})
    return rows


def train_reference(
    config: Config, state: TrainState, inputs: list[np.ndarray], per_epoch: int, threads: int
) -> list[dict[str, float]]:
    """Return the loss terms of each step of the reference in torch."""
    import peer
    import torch

    torch.set_num_threads(threads)
    weights = generator_state_dict(state.generator.params), *discriminator_state_dicts(state.discriminator.params, state.spectral)
    trainer = peer.Trainer(config, list(weights))
    optimizers, decay = (trainer.optim_g, trainer.optim_d), config.optimization.lr_decay
    schedulers = [torch.optim.lr_scheduler.ExponentialLR(optimizer, decay) for optimizer in optimizers]
    rows = []
    for number, audio in enumerate(inputs, 1):
        rows.append(trainer.step(audio))
        if number % per_epoch == 0:
            for scheduler in schedulers:
                scheduler.step()
    return rows


def differences(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> list[float]:
    """Return the largest relative difference of any loss term, for each step."""
    return [max(abs(a[name] - b[name]) / abs(b[name]) for name in TERMS) for a, b in zip(ours, theirs, strict=True)]


def draw(path: str, curves: dict[str, list[dict[str, float]]]) -> None:
    """Draw the loss terms of all runs, by step."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(TERMS), figsize=(14, 2.6), layout="constrained")
    for axis, name in zip(axes, TERMS, strict=True):
        for (label, rows), style in zip(curves.items(), ("-", "o", "--"), strict=False):
            axis.plot(range(1, len(rows) + 1), [row[name] for row in rows], style, label=label, markersize=3)
        axis.set(title=name, xlabel="step")
    axes[0].legend()
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--config", default=packaged_config("config_v3"))
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure")
    options = parser.parse_args()
    config = load_config(options.config, {"input_wavs_dir": options.folder, "batch_size": options.batch_size})
    inputs, per_epoch = batches(config, options.steps, options.dtype)
    initial = start(config, options.dtype)
    jax.config.update("jax_enable_x64", options.dtype == "float64")

    import torch

    setting = f"{Path(options.config).stem}, batch {config.optimization.batch_size}, {options.dtype}"
    print(f"{setting}; {about(jax.devices())}, torch {torch.__version__}")
    curves, start_time = {}, time.perf_counter()
    curves["reference"] = train_reference(config, initial, inputs, per_epoch, threads=2)
    curves["hifigan_jax"] = train_ours(config, initial, inputs, per_epoch)
    if options.control:
        curves["reference, 1 thread"] = train_reference(config, initial, inputs, per_epoch, threads=1)
    apart = {name: differences(rows, curves["reference"]) for name, rows in curves.items() if name != "reference"}
    print(f"largest relative difference of any loss term from the reference ({time.perf_counter() - start_time:.0f} s)")
    print("step  generator's loss  " + "  ".join(f"{name:>20}" for name in apart))
    for i, row in enumerate(curves["reference"]):
        print(f"{i + 1:4}  {row['generator']:16.6f}  " + "  ".join(f"{values[i]:20.2e}" for values in apart.values()))
    for name, values in apart.items():
        print(f"{name}: at most {max(values[:9]):.2e} up to step 9, at most {max(values):.2e} up to step {len(values)}")
    if options.json:
        versions = {"torch": torch.__version__}
        write_results(options.json, {"setting": setting, "versions": versions, "curves": curves, "relative_difference": apart})
    if options.figure:
        draw(options.figure, curves)


if __name__ == "__main__":
    main()
