"""Time the data loader alone, to compare with the time of a training step.

    python benchmarks/loader.py --config JSON [--input_wavs_dir DIR] [--batches 200] [--step_seconds S] [--json FILE]

Reads the first batches as train.py does and discards them. `--step_seconds` is the measured time of a step with the same batch
size (`hifigan-jax benchmark training`); the ratio of the two is printed.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from hifigan_jax.benchmark import about_cpu, write_results
from hifigan_jax.config import load_config
from hifigan_jax.data import iterate, training_batches
from hifigan_jax.recordings import load_corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--input_wavs_dir")
    parser.add_argument("--batch_size", type=int)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--step_seconds", type=float)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    given = {key: getattr(options, key) for key in ("input_wavs_dir", "batch_size") if getattr(options, key)}
    config = load_config(options.config, given)
    with tempfile.TemporaryDirectory() as folder:
        corpus = load_corpus(config, Path(folder) / "recordings.json")
    batches = iterate(training_batches(corpus, config), 0, config.data.num_workers)
    next(batches)
    start = time.perf_counter()
    for _ in range(options.batches):
        next(batches)
    seconds = (time.perf_counter() - start) / options.batches
    workers = f"{config.data.num_workers} reader threads, {os.cpu_count()} cores"
    setting = f"{len(corpus.training)} recordings, batch {config.optimization.batch_size}, {workers}"
    print(f"{Path(options.config).stem}, {setting}; {about_cpu()}")
    print(f"{1000 * seconds:.2f} ms a batch, {config.optimization.batch_size / seconds:.0f} rows/s")
    if options.step_seconds:
        print(f"{options.step_seconds / seconds:.0f} batches in the {options.step_seconds:g} s of one step")
    if options.json:
        write_results(options.json, {"setting": setting, "seconds_per_batch": seconds, "step_seconds": options.step_seconds})


if __name__ == "__main__":
    main()
