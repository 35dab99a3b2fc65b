"""Resumes a training run from every kind of step and compares the rest with an uninterrupted run.

    python benchmarks/reliability/resume.py [--resumes 100]

The uninterrupted run has 12 steps in 4 epochs of 3 batches, two discriminators (one with spectral norm), an adversarial loss from
step 4 on and a learning rate that decays every epoch. It saves every step. Each trial takes its state at a step, the first trials
at steps 1 to 11 in turn, trains to a random later step, stops, resumes, and so on to the end, with a random number of threads
that read recordings.
"""

import argparse
import itertools
import pathlib
import random
import shutil

import common

STEPS = 12
SETTINGS = {
    "discriminators": ["mpd", "msd"],
    "discriminator_channel_mult": 0.125,
    "adversarial_from_step": 4,
    "lr_decay": 0.9,
    "validation_interval": 5,
    "checkpoint_interval": 1,
    "keep_checkpoints": STEPS,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resumes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    problems: list[str] = []
    with common.work_folder() as folder, common.shared_programs(), common.one_scale():
        outcome = common.train(common.configuration(folder, "straight", **SETTINGS), max_steps=STEPS)
        assert outcome.code == 0, outcome.messages
        trial = Trial(folder, random.Random(options.seed))
        starts = itertools.chain(range(1, STEPS), iter(lambda: trial.random.randint(1, STEPS - 1), None))
        resumes = 0
        while resumes < options.resumes:
            stops = trial.stops(next(starts))
            resumes += len(stops)
            problems += trial.resume(stops)
            common.note(f"{resumes} resumes, {len(problems)} problems")
    common.result(
        "R3",
        "resume from any step: state and losses, against no stop",
        f"{options.resumes} identical",
        f"{resumes - len(problems)} of {resumes}",
        not problems,
        problems=problems,
    )


class Trial:
    """Runs that start from a state of the uninterrupted run."""

    def __init__(self, folder: pathlib.Path, numbers: random.Random):
        self.folder, self.random = folder, numbers
        self.losses = common.losses(folder / "straight")
        self.arrays = {step: common.arrays(folder / "straight", step) for step in range(1, STEPS + 1)}

    def stops(self, start: int) -> list[int]:
        """The steps that a trial trains to, one resume each; begins with `start`, where nothing is trained."""
        later = [step for step in range(start + 1, STEPS) if self.random.random() < 0.3]
        self.start = start
        return [*later, STEPS]

    def resume(self, stops: list[int]) -> list[str]:
        """Trains to each of `stops` in turn; returns a line per difference."""
        run = self.folder / "resumed"
        shutil.rmtree(run, ignore_errors=True)
        (run / "checkpoints").mkdir(parents=True)
        for name in ("config.json", "recordings.json", "metrics.jsonl"):
            shutil.copy(self.folder / "straight" / name, run)
        step = f"{self.start:08d}"
        shutil.copytree(self.folder / "straight" / "checkpoints" / step, run / "checkpoints" / step)
        for stop in stops:
            settings = SETTINGS | {"checkpoint_interval": self.random.choice([1, 1000]), "num_workers": self.random.randint(0, 4)}
            outcome = common.train(common.configuration(self.folder, "resumed", **settings), max_steps=stop)
            if outcome.code or not outcome.about(f"resuming from {run}"):
                return [f"{self.start}, {stops}: {outcome.messages}"]
            if names := common.different(common.arrays(run, stop), self.arrays[stop]):
                return [f"from {self.start} to {stop}: {len(names)} arrays differ: {names[:3]}"]
        return [] if common.losses(run) == self.losses else [f"{self.start}, {stops}: the losses differ"]


if __name__ == "__main__":
    main()
