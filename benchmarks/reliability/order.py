"""Compares the recordings and crops of every batch between numbers of threads and processes and orders of the file system.

python benchmarks/reliability/order.py
"""

import hashlib
import itertools
import os
import random

import common
import numpy as np

from hifigan_jax import data
from hifigan_jax.config import load_config
from hifigan_jax.recordings import load_corpus

THREADS, PROCESSES, ORDERS, BATCHES = (0, 1, 2, 4), (1, 2, 4), 3, 30


def main() -> None:
    with common.work_folder() as folder:
        common.inputs.record(folder / "in", *(f"more/{number}.flac" for number in range(20)))
        path = common.configuration(folder, batch_size=4, segment_size=8192)
        found = {}
        for order in range(ORDERS):
            config = load_config(path)
            with shuffled_folders(order):
                corpus = load_corpus(config, folder / f"index{order}.json")
            for threads, processes in itertools.product(THREADS, PROCESSES):
                found[order, threads, processes] = digest(corpus, config, threads, processes)
    sequences = set(found.values())
    what = "batches with other threads, processes, orders of files"
    common.result("R5", what, "one sequence", f"{len(sequences)} in {len(found)} settings", len(sequences) == 1)


def digest(corpus, config, threads: int, processes: int) -> str:
    """A digest of the samples of all batches, whose rows come from `processes` processes in turn."""
    streams = [
        data.iterate(data.training_batches(corpus, config, process, processes), 0, threads) for process in range(processes)
    ]
    total = hashlib.sha256()
    for _ in range(BATCHES):
        total.update(np.concatenate([next(stream).audio for stream in streams]).tobytes())
    return total.hexdigest()


def shuffled_folders(seed: int):
    """Within the block, os.scandir, and with it os.walk and pathlib, lists a folder in a random order."""
    numbers, scandir = random.Random(seed), os.scandir

    class Shuffled:
        def __init__(self, path="."):
            with scandir(path) as found:
                listed = sorted(found, key=lambda entry: entry.name)
            numbers.shuffle(listed)
            self.entries = iter(listed)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __iter__(self):
            return self.entries

        def __next__(self):
            return next(self.entries)

    return common.replaced(os, "scandir", Shuffled)


if __name__ == "__main__":
    main()
