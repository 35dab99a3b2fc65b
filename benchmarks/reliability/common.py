"""What the programs in this folder share: a tiny run, ways to start it, its arrays and losses, and the line of a result.

Each program prints one line of JSON per bar: its name, what is done, the target, the figure, whether it passes, and the command.
"""

import contextlib
import json
import multiprocessing
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "reliability"), str(ROOT / "tests" / "weights")]

import inputs  # noqa: E402
import numpy as np  # noqa: E402

from hifigan_jax import runtime  # noqa: E402

# jaxlib's default level takes minutes for all programs of this folder; the arithmetic of a run is the same in every process.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
runtime.prepare(training="float32")

from hifigan_jax.benchmark import command_line  # noqa: E402

Arrays = Mapping[str, np.ndarray]
WORK = re.compile(r"(/[\w.-]+)+/hifigan-jax-\w+/")  # the folder of `work_folder` in messages


def result(bar: str, what: str, target: str, figure: str, passed: bool, **more: Any) -> None:
    """Prints the line of a bar; `more` is detail that goes into the file of results alone."""
    row = {"bar": bar, "what": what, "target": target, "figure": figure, "passed": bool(passed)}
    print(WORK.sub("", json.dumps(row | {"command": program_line()} | more)), flush=True)


def program_line() -> str:
    """The command that runs this program again."""
    return command_line(sys.argv).replace("python reliability/", "python benchmarks/reliability/", 1)


def note(text: str) -> None:
    """Prints progress on stderr."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def work_folder() -> Iterator[pathlib.Path]:
    """A temporary folder with seven recordings in `in`."""
    with tempfile.TemporaryDirectory(prefix="hifigan-jax-") as name:
        folder = pathlib.Path(name)
        inputs.record(folder / "in", *inputs.RUN)
        yield folder


def configuration(folder: pathlib.Path, run: str = "run", **changes: Any) -> pathlib.Path:
    """Writes the JSON of a tiny run in `folder`/`run`; `changes` override its keys."""
    paths = {"checkpoint_path": str(folder / run), "input_wavs_dir": str(folder / "in")}
    return inputs.write_json(folder / f"{run}.json", inputs.TRAINING | paths | changes)


# --- runs within this process ---------------------------------------------------------------------------------------------------


def train(config: pathlib.Path, **flags: Any):
    """The outcome of `train.py` in this process: code, printed, messages. An exception that it does not catch is a message."""
    import programs

    try:
        return programs.train(config=config, **flags)
    except Exception:
        return programs.Outcome(1, [], traceback.format_exc().splitlines())


@contextlib.contextmanager
def shared_programs() -> Iterator[None]:
    """Runs of equal configurations within this process trace and compile their training step once."""
    from hifigan_jax.training import loop

    make, kept = loop.train_step, {}

    def train_step(config, *arguments, **options):
        key = repr((config.generator, config.discriminators, config.mel, config.losses, config.optimization, arguments, options))
        if key not in kept:
            kept[key] = make(config, *arguments, **options)
        return kept[key]

    loop.train_step = train_step
    try:
        yield
    finally:
        loop.train_step = make


@contextlib.contextmanager
def one_scale() -> Iterator[None]:
    """MSD is its first scale alone, the one with spectral norm: each of the others takes as long to compile."""
    from hifigan_jax.models.discriminators.scale.config import ScaleDiscriminatorConfig as Scales

    build = Scales.build
    with replaced(Scales, "build", lambda *arguments, **options: build(*arguments, **options)[:1]):
        yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[Any]:
    """`owner.name` is `value` within the block; yields what it was."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield before
    finally:
        setattr(owner, name, before)


# --- runs in other processes ----------------------------------------------------------------------------------------------------


def start(arguments: list[str], log: pathlib.Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen:
    """Starts `train.py` as a user does; stdout and stderr are appended to `log`."""
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    with open(log, "ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(environment or {})})


class Forks:
    """Starts programs in processes that have imported the package before, which halves the time until they train."""

    def __init__(self, *modules: str):
        """`modules` are imported before; by default, those of `train.py`."""
        self._context = multiprocessing.get_context("forkserver")
        modules = modules or ("hifigan_jax.cli.train", "hifigan_jax.training.loop", "orbax.checkpoint")
        self._context.set_forkserver_preload(["common", *modules])

    def start(
        self, arguments: list[str], log: pathlib.Path, before: Callable[[], None] | None = None, command: str = "train"
    ) -> multiprocessing.process.BaseProcess:
        """Starts a command, which calls `before` first; stdout and stderr are appended to `log`."""
        process = self._context.Process(target=_run, args=(command, arguments, str(log), before))
        process.start()
        return process


def _run(command: str, arguments: list[str], log: str, before: Callable[[], None] | None) -> None:
    from hifigan_jax.cli import run

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    if before is not None:
        before()
    sys.exit(run(command, arguments))


def wait_until(condition: Callable[[], bool], alive: Callable[[], bool], limit: float = 600) -> bool:
    """Waits until `condition()`; False if the process has ended before, or after `limit` seconds."""
    end = time.monotonic() + limit
    while not condition():
        if not alive() or time.monotonic() > end:
            return condition()
        time.sleep(0.02)
    return True


# --- what a run has written -----------------------------------------------------------------------------------------------------


def newest_step(run: pathlib.Path) -> int:
    """The newest step on disk that can be resumed, by the names of its files alone; 0 if there is none."""
    folders = [path for path in (run / "checkpoints").glob("*") if re.fullmatch(r"\d{8,}", path.name)]
    complete = [path for path in folders if (path / "training").is_dir() and (path / "manifest.json").is_file()]
    return max((int(path.name) for path in complete), default=0)


def arrays(run: pathlib.Path, step: int) -> dict[str, np.ndarray]:
    """All arrays of a checkpoint by "part/name": parameters, moments, spectral vectors, position."""
    from hifigan_jax import checkpoint

    folder = run / "checkpoints" / f"{step:08d}"
    parts = {part: checkpoint.restore(folder, part) for part in (checkpoint.GENERATOR, checkpoint.TRAINING)}
    return {f"{part}/{name}": np.asarray(leaf) for part, leaves in parts.items() for name, leaf in leaves.items()}


def different(found: Arrays, expected: Arrays) -> list[str]:
    """The names of the arrays that are not bit-identical."""
    missing = found.keys() ^ expected.keys()
    equal = {name for name in found.keys() & expected.keys() if _bits(found[name]) == _bits(expected[name])}
    return sorted(missing | (found.keys() - equal))


def _bits(array: np.ndarray) -> tuple[Any, ...]:
    return array.dtype, array.shape, array.tobytes()


def losses(run: pathlib.Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl that report a training step, without times."""
    rows = (json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    timeless = ({key: value for key, value in row.items() if "second" not in key} for row in rows)
    return [row for row in timeless if "training/gen_loss_total" in row]


def last_reported(run: pathlib.Path) -> int:
    """The step of the last complete line of metrics.jsonl, 0 if there is none."""
    try:
        with open(run / "metrics.jsonl", "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            found = re.findall(rb'\{"step": (\d+),[^\n]*\}\n', file.read())
    except OSError:
        return 0
    return int(found[-1]) if found else 0
