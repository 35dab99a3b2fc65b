"""Measures four bars on the reference, jik876/hifi-gan, in torch on the CPU; prints one line of JSON each.

    python benchmarks/reliability/reference.py CHECKOUT RECORDINGS [--kills 20] [--flips 50]

CHECKOUT is a clone of https://github.com/jik876/hifi-gan, RECORDINGS a folder of 16-bit WAV files at 22,050 Hz. Needs torch,
librosa, scipy and matplotlib. A copy of the checkout is changed (PATCHES): to run without a GPU and with today's
torch and librosa, and with discriminators of an eighth of the width, so that a step takes less than a second. Nothing that
saves, restores, or orders the data is changed.
"""

import argparse
import contextlib
import io
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MEL = {"sr": "sampling_rate", "n_fft": "n_fft", "n_mels": "num_mels", "fmin": "fmin", "fmax": "fmax"}
# File, regular expression, replacement
PATCHES = [
    ("train.py", r"torch\.device\('cuda:\{:d\}'\.format\(rank\)\)", "torch.device('cpu')"),
    ("train.py", r"from torch\.utils\.tensorboard import", "from no_logs import"),
    ("train.py", r"pin_memory=True", "pin_memory=False"),
    ("meldataset.py", r"librosa_mel_fn\(s.*\)", f"librosa_mel_fn({', '.join(f'{key}={value}' for key, value in MEL.items())})"),
    ("meldataset.py", r"onesided=True\)", "onesided=True, return_complex=True)"),
    ("meldataset.py", r"spec\.pow\(2\)", "torch.view_as_real(spec).pow(2)"),
]
NO_LOGS = """class SummaryWriter:
    def __init__(self, *_): pass
    def add_scalar(self, *_): pass
    def add_audio(self, *_): pass
    def add_figure(self, *_): pass
"""
NARROW = re.compile(r"(?<=norm_f\(Conv)([12]d\()(\d+), (\d+),")  # the channels of a discriminator's layer
TINY = {
    "resblock": "2",
    "num_gpus": 0,
    "batch_size": 2,
    "learning_rate": 0.0002,
    "adam_b1": 0.8,
    "adam_b2": 0.99,
    "lr_decay": 0.999,
    "seed": 1234,
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "upsample_initial_channel": 16,
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 2]],
    "segment_size": 2048,
    "num_mels": 80,
    "n_fft": 1024,
    "hop_size": 256,
    "win_size": 1024,
    "sampling_rate": 22050,
    "fmin": 0,
    "fmax": 8000,
    "fmax_for_loss": None,
    "num_workers": 0,
}
EPOCHS, BATCHES = 4, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=pathlib.Path)
    parser.add_argument("recordings", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--flips", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        prepare(options.checkout, options.recordings, folder)
        sys.path.insert(0, str(folder / "code"))
        resumes(folder)
        flips(folder, options.flips)
        not_a_number(folder)
        kills(folder, options.kills)


def report(bar: str, figure: str, **detail) -> None:
    """Prints the line of a bar."""
    print(json.dumps({"bar": bar, "figure": figure, **detail}), flush=True)


def prepare(checkout: pathlib.Path, recordings: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes a changed copy of the checkout, lists of the recordings, and the configuration to `folder`."""
    code = folder / "code"
    code.mkdir()
    for name in ("train.py", "env.py", "meldataset.py", "models.py", "utils.py"):
        command = ["git", "-C", str(checkout), "show", f"HEAD:{name}"]
        (code / name).write_text(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for name, pattern, replacement in PATCHES:
        text, count = re.subn(pattern, replacement, (code / name).read_text())
        assert count, (name, pattern)
        (code / name).write_text(text)
    (code / "no_logs.py").write_text(NO_LOGS)
    text = (code / "models.py").read_text()
    (code / "models.py").write_text(NARROW.sub(lambda m: f"{m[1]}{narrow(m[2])}, {narrow(m[3])},", text))
    names = sorted(path.stem for path in recordings.glob("*.wav"))
    (folder / "training.txt").write_text("".join(f"{name}|\n" for name in names[: 2 * BATCHES]))
    (folder / "validation.txt").write_text(f"{names[-1]}|\n")
    (folder / "wavs").symlink_to(recordings.resolve())
    (folder / "config.json").write_text(json.dumps(TINY))


def narrow(channels: str) -> int:
    """An eighth of the channels; 1 stays 1."""
    return max(int(channels) // 8, 1)


def arguments(folder: pathlib.Path, run: str, epochs: int) -> dict[str, str]:
    """The flags of train.py."""
    return {
        "config": str(folder / "config.json"),
        "input_wavs_dir": str(folder / "wavs"),
        "input_training_file": str(folder / "training.txt"),
        "input_validation_file": str(folder / "validation.txt"),
        "checkpoint_path": str(folder / run),
        "training_epochs": str(epochs),
        "stdout_interval": "1",
        "checkpoint_interval": "1",
        "summary_interval": "1000",
        "validation_interval": "1000",
    }


# --- kill -9 during a save ------------------------------------------------------------------------------------------------------


def kills(folder: pathlib.Path, number: int) -> None:
    """Kills a run while it saves and starts it again, `number` times. A start that fails is repaired by hand."""
    numbers, started, newest = random.Random(0), 0, 0
    process = launch(folder)
    assert wait_for(process, r"Saving checkpoint to \S*do_00000003"), "the reference does not train"
    for trial in range(number):
        saving = wait_for(process, r"Saving checkpoint to (\S*)")
        time.sleep(numbers.uniform(0, 0.1))
        process.kill()
        process.wait()
        complete = newest_pair(folder / "killed")
        process = launch(folder)
        resumed = wait_for(process, r"Steps : (\d+)")
        started += resumed is not None
        newest += resumed is not None and int(resumed[1]) == complete + 1
        log(f"kill {trial + 1} during {saving and saving[1][-12:]}: {'started' if resumed else 'failed'}")
        if resumed is None:
            process.kill()
            for path in (folder / "killed").glob("*_????????"):  # what a user would do
                if int(path.name[-8:]) > complete:
                    path.unlink()
            process = launch(folder)
            wait_for(process, r"Steps : (\d+)")
        wait_for(process, r"Saving checkpoint to \S*do_")
    process.kill()
    report("R1", f"{newest} of {number}", starts=started, kills=number, kind="kill -9 within 0.1 s after a save has begun")


def launch(folder: pathlib.Path) -> subprocess.Popen:
    """Starts train.py."""
    flags = [text for name, value in arguments(folder, "killed", 10_000).items() for text in (f"--{name}", value)]
    command = [sys.executable, "-u", "train.py", *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder / "code", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(process: subprocess.Popen, pattern: str) -> re.Match | None:
    """The next line of the process that matches; None if it ends before."""
    for line in process.stdout:
        if found := re.search(pattern, line):
            return found
    return None


def newest_pair(run: pathlib.Path) -> int:
    """The newest step of which both files are complete, 0 if there is none."""
    import torch

    for path in sorted(run.glob("do_????????"), reverse=True):
        with contextlib.suppress(Exception):
            for prefix in ("do_", "g_"):
                torch.load(run / f"{prefix}{path.name[-8:]}", map_location="cpu")
            return int(path.name[-8:])
    return 0


# --- within this process --------------------------------------------------------------------------------------------------------


def train(folder: pathlib.Path, run: str, epochs: int = EPOCHS) -> dict[int, str]:
    """Trains; returns the printed losses by step."""
    import torch
    from env import AttrDict

    from train import train as reference_train

    flags = arguments(folder, run, epochs)
    a = AttrDict({name: int(value) if value.isdigit() else value for name, value in flags.items()})
    a.fine_tuning, a.input_mels_dir = False, ""
    (folder / run).mkdir(exist_ok=True)
    torch.manual_seed(TINY["seed"])
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        reference_train(0, a, AttrDict(TINY))
    return {int(m[1]): m[2] for m in re.finditer(r"Steps : (\d+), (.*), s/b", printed.getvalue())}


def state(run: pathlib.Path, step: int):
    """Everything in a step's two files."""
    import torch

    return [torch.load(run / f"{prefix}{step:08d}", map_location="cpu") for prefix in ("g_", "do_")]


def identical(one, other) -> bool:
    """Whether two nested structures of tensors are bit-identical."""
    import torch

    if isinstance(one, torch.Tensor):
        same_type = isinstance(other, torch.Tensor) and one.dtype == other.dtype and one.shape == other.shape
        return same_type and one.contiguous().numpy().tobytes() == other.contiguous().numpy().tobytes()
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(identical(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(identical, one, other))
    return one == other


def resumes(folder: pathlib.Path) -> None:
    """Resumes from every step and compares the losses that follow with those of an uninterrupted run."""
    straight = train(folder, "straight")
    again = train(folder, "again")
    last, exact = max(straight), 0
    for step in range(1, last):
        (folder / "resumed").mkdir()
        for prefix in ("g_", "do_"):
            shutil.copy(folder / "straight" / f"{prefix}{step:08d}", folder / "resumed")
        resumed = train(folder, "resumed")
        following = [value for at, value in straight.items() if at > step]
        exact += following == [value for at, value in resumed.items() if at > step][: len(following)]
        shutil.rmtree(folder / "resumed")
    report("R3", f"{exact} of {last - 1}", repeated_run_is_identical=straight == again, steps=last)


def flips(folder: pathlib.Path, number: int) -> None:
    """Flips one bit of the newest step at a time and loads it as train.py does."""
    numbers, run = random.Random(0), folder / "straight"
    newest = max(int(path.name[-8:]) for path in run.glob("do_????????"))
    paths = [run / f"{prefix}{newest:08d}" for prefix in ("g_", "do_")]
    sizes, original = [path.stat().st_size for path in paths], state(run, newest)
    noticed = harmless = 0
    for _ in range(number):
        position = numbers.randrange(sum(sizes))
        path, offset = (paths[0], position) if position < sizes[0] else (paths[1], position - sizes[0])
        content = path.read_bytes()
        changed = bytearray(content)
        changed[offset] ^= 1 << numbers.randrange(8)
        path.write_bytes(changed)
        try:
            harmless += identical(state(run, newest), original)
        except Exception:
            noticed += 1
        path.write_bytes(content)
    figure = f"{noticed + harmless} of {number}"
    report("R8", figure, noticed=noticed, harmless=harmless, silently_wrong=number - noticed - harmless)


def not_a_number(folder: pathlib.Path) -> None:
    """One sample of one recording is NaN in one batch."""
    import meldataset
    import torch

    load, calls = meldataset.load_wav, iter(range(1, 10_000))

    def poisoned(path):
        samples, rate = load(path)
        if next(calls) == 2 * BATCHES + 1:  # first batch of the second epoch
            samples = samples.astype("float32")
            samples[:] = float("nan")
        return samples, rate

    meldataset.load_wav, normalize = poisoned, meldataset.normalize
    meldataset.normalize = lambda audio: audio if audio[0] != audio[0] else normalize(audio)  # librosa refuses NaN
    train(folder, "nan")
    steps = sorted(int(path.name[-8:]) for path in (folder / "nan").glob("g_????????"))
    generators = {step: state(folder / "nan", step)[0]["generator"].values() for step in steps}
    bad = [step for step, leaves in generators.items() if not all(torch.isfinite(leaf).all() for leaf in leaves)]
    report("R11", f"{len(bad)} of {len(steps)} saved steps are NaN", bad=bad)


def log(text: str) -> None:
    """Prints progress on stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main()
