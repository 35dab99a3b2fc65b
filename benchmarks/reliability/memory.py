"""Synthesizes and trains where memory does not suffice.

    python benchmarks/reliability/memory.py

First, batches of synthesis are refused on purpose, once to twelve times: it must write the same audio, in smaller batches. Then
each program runs in a process of its own, whose address space is limited to what it has once it has started and some megabytes
more. It must finish, or print one line about the missing memory. XLA's CPU runtime does not always report a failed
allocation: on a thread of its own, `std::bad_alloc` ends the process. These runs count as failed.
"""

import os
import pathlib
import re
import resource
from typing import NamedTuple

import common
import inputs
import numpy as np
import soundfile
from make_tiny import make_tiny

REFUSALS = range(1, 13)
BATCH_FRAMES = 8192  # as on a GPU; on a CPU, a batch is one window
MEGABYTES = (1000, 700, 500, 400, 300, 200, 150, 100, 75, 50)  # for synthesis
TRAINING_MEGABYTES = (1000, 500, 250)
FORKS = common.Forks()


def main() -> None:
    with common.work_folder() as folder:
        checkpoint = make_tiny(folder / "model", upsample_initial_channel=128)
        speech = np.concatenate([inputs.sample(number) for number in range(7)])
        (folder / "long").mkdir()
        for number in range(4):
            soundfile.write(folder / "long" / f"{number}.wav", np.roll(speech, number * 1000)[: 20 * inputs.RATE], inputs.RATE)
        Synthesis(folder, checkpoint).report()
        report_training(folder)


class Conditions(NamedTuple):
    """What a process finds when it has started: visits of a fault point that fail, megabytes beyond what it has by then."""

    refusals: int = 0
    megabytes: int | None = None

    def __call__(self) -> None:
        import jax

        from hifigan_jax.platforms import PLATFORMS

        if self.refusals:
            os.environ["HIFIGAN_JAX_FAULT"] = f"out_of_memory.synthesis:1-{self.refusals}"
            PLATFORMS["cpu"] = PLATFORMS["cpu"]._replace(batch_frames=BATCH_FRAMES)
        jax.block_until_ready(jax.jit(lambda x: x + 1)(0))  # the threads of XLA and of the compiler exist then
        if self.megabytes is not None:
            status = pathlib.Path("/proc/self/status").read_text()
            now = 1024 * int(re.search(r"VmSize:\s+(\d+) kB", status)[1])
            resource.setrlimit(resource.RLIMIT_AS, (now + self.megabytes * 10**6,) * 2)


class Synthesis:
    """Synthesizes the same recordings under various conditions."""

    def __init__(self, folder: pathlib.Path, checkpoint: pathlib.Path):
        self.folder, self.checkpoint = folder, checkpoint
        code, text, self.expected = self._run(Conditions())
        assert code == 0, text

    def report(self) -> None:
        """Prints both results."""
        differences = []
        for count in REFUSALS:
            code, text, audio = self._run(Conditions(refusals=count))
            halved = code == 0 and "it is halved" in text
            differences.append(distance(audio, self.expected) if halved else float("inf"))
            common.note(f"{count} batches refused: difference {differences[-1]:.1g}")
        same = sum(difference <= 1e-5 for difference in differences)
        common.result(
            "R22",
            "1 to 12 batches refused: computed in parts, same audio (1e-5)",
            f"{len(REFUSALS)} of {len(REFUSALS)}",
            f"{same} of {len(REFUSALS)}",
            same == len(REFUSALS),
            largest_difference=max(differences),
        )
        outcomes = {}
        for size in MEGABYTES:
            code, text, audio = self._run(Conditions(megabytes=size))
            outcomes[size] = self._outcome(code, text, audio)
            common.note(f"synthesis with {size} MB more: {outcomes[size]}")
        good = sum(outcome in ("done", "explained") for outcome in outcomes.values())
        common.result(
            "R22",
            f"synthesis with {MEGABYTES[0]:,} to {MEGABYTES[-1]} MB: done, or one line that explains",
            f"{len(MEGABYTES)} of {len(MEGABYTES)}",
            f"{good} of {len(MEGABYTES)}",
            good == len(MEGABYTES),
            outcomes=outcomes,
        )

    def _run(self, conditions: Conditions) -> tuple[int, str, dict[str, np.ndarray]]:
        output = self.folder / "out"
        arguments = ["--input_wavs_dir", str(self.folder / "long"), "--checkpoint_file", str(self.checkpoint)]
        code, text = run("infer", [*arguments, "--output_dir", str(output)], conditions, self.folder)
        audio = {path.name: soundfile.read(path, dtype="float32")[0] for path in sorted(output.glob("*.wav"))}
        for path in output.glob("*"):
            path.unlink()
        return code, text, audio

    def _outcome(self, code: int, text: str, audio: dict[str, np.ndarray]) -> str:
        if code == 0:
            return "done" if distance(audio, self.expected) <= 1e-5 else "other audio"
        if code > 0 and "memory does not suffice" in text and "Traceback" not in text:
            return "explained"
        return ended(code, text)


def report_training(folder: pathlib.Path) -> None:
    """Trains batches that need more than each limit and prints the result."""
    config = common.configuration(folder, segment_size=2**21, batch_size=6)
    outcomes = {}
    for size in TRAINING_MEGABYTES:
        code, text = run("train", ["--config", str(config), "--max_steps", "1"], Conditions(megabytes=size), folder)
        explained = code > 0 and "Traceback" not in text and re.search(r"memory does not suffice.*batch_size", text)
        outcomes[size] = "explained" if explained else ended(code, text)
        common.note(f"training with {size} MB more: {outcomes[size]}")
    good = sum(outcome == "explained" for outcome in outcomes.values())
    common.result(
        "R22",
        "training without enough memory: one line with advice",
        f"{len(outcomes)} of {len(outcomes)}",
        f"{good} of {len(outcomes)}",
        good == len(outcomes),
        outcomes=outcomes,
    )


def run(command: str, arguments: list[str], conditions: Conditions, folder: pathlib.Path) -> tuple[int, str]:
    """Exit code and output of a program under these conditions."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    process = FORKS.start(arguments, log, conditions, command)
    process.join()
    return process.exitcode, log.read_text(errors="replace")


def ended(code: int, text: str) -> str:
    """How a process ended that should not have."""
    return f"exit code {code}: " + next((line for line in text.splitlines() if re.search("rror|terminate", line)), "")[:100]


def distance(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """The largest difference of 16-bit audio beyond the one step that rounding may make; inf if files or lengths differ."""
    if found.keys() != expected.keys() or any(found[name].shape != expected[name].shape for name in found):
        return float("inf")
    return max(0.0, max(float(np.abs(found[name] - expected[name]).max()) for name in found) - 1 / 32768)


if __name__ == "__main__":
    main()
