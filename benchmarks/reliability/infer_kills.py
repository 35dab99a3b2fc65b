"""Kills infer.py at random moments, restarts it with --skip_existing, and compares its files with those of an uninterrupted run.

    python benchmarks/reliability/infer_kills.py [--kills 20]

After each kill, every WAV file there must be complete: none is ever visible in parts.
"""

import argparse
import pathlib
import random
import shutil
import time

import common
import inputs
import numpy as np
import soundfile

from hifigan_jax import audio
from hifigan_jax.errors import HifiganError

FILES = 60  # per kill, at most


class Folder:
    """A folder of recordings that is synthesized in several processes, each of which is killed."""

    def __init__(self, folder: pathlib.Path, kills: int, seed: int):
        from make_tiny import make_tiny

        self.folder, self.output, self.random = folder, folder / "killed", random.Random(seed)
        self.forks, self.problems, self.complete_after = common.Forks("hifigan_jax.cli.infer", "hifigan_jax.synthesis"), [], []
        self.model = make_tiny(folder / "tiny")
        speech = np.concatenate([inputs.sample(number) for number in range(7)])
        (folder / "recordings").mkdir()
        for number in range(kills * FILES):
            start = self.random.randrange(speech.size - 70_000)
            path = folder / "recordings" / f"{number:04d}.wav"
            soundfile.write(path, speech[start : start + self.random.randrange(5_000, 70_000)], inputs.RATE)

    def start(self, output: pathlib.Path, *flags: str):
        """A process that synthesizes all recordings into `output`."""
        arguments = ["--input_wavs_dir", str(self.folder / "recordings"), "--output_dir", str(output)]
        arguments += ["--checkpoint_file", str(self.model), *flags]
        return self.forks.start(arguments, self.folder / "log", command="infer")

    def kill(self, number: int) -> None:
        """Starts a process and kills it; three of four times after it has written a file."""
        before, process = self.written(), self.start(self.output, "--skip_existing")
        if number % 4:
            common.wait_until(lambda: self.written() > before, process.is_alive)
            time.sleep(self.random.uniform(0, 0.6))
        else:
            time.sleep(self.random.uniform(0, 8))
        process.kill()
        process.join()
        self.check(number, before)

    def written(self) -> int:
        """The number of WAV files in the output folder."""
        return sum(1 for _ in self.output.glob("*.wav"))

    def check(self, number: int, before: int) -> None:
        """Every file with a name of an output must be complete."""
        for path in self.output.glob("*.wav"):
            expected = (self.folder / "recordings" / path.name.replace("_generated", "")).stat().st_size - 44
            try:
                samples, _ = audio.wav_length(path)
            except HifiganError as error:
                self.problems.append(f"kill {number}: {error}")
            else:
                if samples != expected // 2 // 256 * 256:
                    self.problems.append(f"kill {number}: {path.name} has {samples} samples")
        self.complete_after.append(self.written() - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with common.work_folder() as folder:
        run = Folder(folder, options.kills, options.seed)
        for number in range(options.kills):
            run.kill(number)
            common.note(f"kill {number + 1}: {run.written()} files, problems {len(run.problems)}")
        codes = [finished(run.start(run.output, "--skip_existing")), finished(run.start(folder / "straight"))]
        report(run, options.kills, codes)
        shutil.rmtree(folder / "recordings")


def finished(process) -> int:
    """The exit code of a process."""
    process.join()
    return process.exitcode


def report(run: Folder, kills: int, codes: list[int]) -> None:
    """Prints the result: the names of the files, and their samples."""
    names, expected = ({path.name for path in folder.iterdir()} for folder in (run.output, run.folder / "straight"))
    steps = [difference(run.output / name, run.folder / "straight" / name) for name in sorted(names & expected)]
    problems = run.problems + [f"only in one folder: {name}" for name in sorted(names ^ expected)]
    problems += [f"exit codes {codes}"] if any(codes) else []
    largest = max(steps, default=0)
    common.result(
        "R20",
        f"`infer.py --skip_existing` after {kills} kills: files, samples",
        "same, <= 1 step of 16 bits",
        f"same, {largest} step" if not problems else f"{len(problems)} problems, {largest} steps",
        not problems and largest <= 1,
        files_with_different_samples=sum(step > 0 for step in steps),
        files=len(expected),
        new_files_per_process=run.complete_after,
        problems=problems[:50],
    )


def difference(one: pathlib.Path, other: pathlib.Path) -> int:
    """The largest difference of the samples; 65536 if the numbers of samples differ."""
    first, second = (soundfile.read(path, dtype="int16")[0].astype(int) for path in (one, other))
    return int(np.abs(first - second).max()) if first.size == second.size else 65536


if __name__ == "__main__":
    main()
