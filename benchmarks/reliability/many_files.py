"""Synthesizes 5,000 recordings with one call of infer.py, and watches memory, files, threads and compilations.

python benchmarks/reliability/many_files.py [--files 5000]
"""

import argparse
import os
import pathlib
import threading

import common
import inputs
import numpy as np
import soundfile
from soak import children_of, growth, usage

from hifigan_jax.runtime import Compilations


class Watch(threading.Thread):
    """Samples this process five times a second, with the number of files that are written."""

    def __init__(self):
        super().__init__(daemon=True)
        self.rows, self.written, self.ended, self.compilations = [], 0, threading.Event(), Compilations()

    def run(self) -> None:
        """Samples until `ended` is set."""
        while not self.ended.wait(0.2):
            self.rows.append((self.written, *usage(), self.compilations.count))

    def on_print(self, text: str) -> None:
        """Counts the files that infer.py names."""
        self.written += text.count(".wav")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    options = parser.parse_args()
    import programs
    from make_tiny import make_tiny

    with common.work_folder() as folder:
        record(folder / "recordings", options.files)
        watch = Watch()
        watch.start()
        flags = {"input_wavs_dir": folder / "recordings", "output_dir": folder / "out"}
        outcome = programs.infer(**flags, checkpoint_file=make_tiny(folder / "tiny"), on_print=watch.on_print)
        watch.ended.set()
        watch.join()
        complete = sum(1 for _ in (folder / "out").glob("*_generated.wav"))
        report(options.files, outcome, complete, np.array(watch.rows))


def record(folder: pathlib.Path, count: int) -> None:
    """Writes recordings of 0.3 to 1.3 s."""
    draw, speech = np.random.default_rng(0), np.concatenate([inputs.sample(number) for number in range(7)])
    folder.mkdir()
    for number in range(count):
        start, length = draw.integers(speech.size - 30_000), draw.integers(6_600, 28_000)
        soundfile.write(folder / f"{number:05d}.wav", speech[start : start + length], inputs.RATE)


def report(files: int, outcome, complete: int, rows: np.ndarray) -> None:
    """Prints the result."""
    slope, more = growth(rows, files)
    children = len(children_of(os.getpid()))
    good = outcome.code == 0 and complete == files and slope <= 1 and max(more) <= 0 and not children
    common.result(
        "R23",
        f"{files:,} recordings: memory per 1,000; files, threads, programs",
        "1 MB; 0, 0, 0",
        f"{slope:.2f} MB; {', '.join(f'{value:+d}' if value else '0' for value in more)}",
        good,
        complete=complete,
        children=children,
        total_compilations=int(rows[-1, 4]),
        megabytes=[[int(number), round(resident / 1e6, 1)] for number, resident in rows[:: max(len(rows) // 20, 1), :2]],
        messages=outcome.messages[-2:] if outcome.code else [],
    )


if __name__ == "__main__":
    main()
