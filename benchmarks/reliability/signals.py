"""Sends each stop signal to a run in each phase, once and twice.

    python benchmarks/reliability/signals.py

First signals, in training step 4, its validation, its save, and while it waits for data: the run must end with exit code 0 and a
checkpoint of the step that it was in, or of the next one if no step was in progress. Second signals come while the program is in
a call that does not return: the compiler, or a wait for a lock in each of the other phases. It must end within a second.
"""

import ctypes
import functools
import os
import pathlib
import signal
import time

import common

SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1")
PHASES = ("step", "validation", "save", "data")
STEP = 4  # the step in which the first signal arrives
SETTINGS = {"validation_interval": STEP, "checkpoint_interval": STEP, "max_steps": 50}


def main() -> None:
    with common.work_folder() as folder:
        report_first(folder)
        report_second(folder)


def report_first(folder: pathlib.Path) -> None:
    """Sends one signal in each case and prints the result."""
    problems = []
    with common.shared_programs():
        for name, phase in ((name, phase) for name in SIGNALS for phase in PHASES):
            run = f"{name}-{phase}"
            with common.replaced(*at(phase, functools.partial(os.kill, os.getpid(), getattr(signal, name)))):
                outcome = common.train(common.configuration(folder, run, **SETTINGS))
            saved = common.newest_step(folder / run)
            stopped = bool(outcome.about(f"stopping at step {saved}, as requested"))
            if outcome.code or not stopped or saved not in (STEP, STEP + 1) or common.last_reported(folder / run) != saved:
                problems.append(f"{run}: exit code {outcome.code}, step {saved}: {outcome.messages[-3:]}")
    total = len(SIGNALS) * len(PHASES)
    common.result(
        "R7",
        "SIGTERM, SIGINT, SIGUSR1 in any phase: that step is saved",
        f"{total} of {total}",
        f"{total - len(problems)} of {total}",
        not problems,
        problems=problems,
    )


def report_second(folder: pathlib.Path) -> None:
    """Sends two signals in each case and prints the result."""
    seconds, forks = {}, common.Forks()
    for name, phase in ((name, phase) for name in SIGNALS for phase in ("compilation", *PHASES)):
        run, number = f"two-{name}-{phase}", getattr(signal, name)
        marker = folder / f"{run}.marker"
        config = common.configuration(folder, run, **SETTINGS)
        flags = ["--config", str(config)]
        if phase == "compilation":
            log_compilation = functools.partial(_watch_compilation, marker)
            process = forks.start([*flags, "--no_compile_cache"], folder / "log", log_compilation)
        else:
            process = forks.start(flags, folder / "log", functools.partial(_block, phase, marker))
        common.wait_until(marker.exists, process.is_alive)
        os.kill(process.pid, number)
        time.sleep(0.3)
        alive, sent = process.is_alive(), time.monotonic()
        os.kill(process.pid, number)
        process.join(15)
        seconds[run] = time.monotonic() - sent
        if not alive or process.exitcode in (0, None):
            seconds[run] = float("inf")
        common.note(f"{run}: {seconds[run]:.2f} s, exit code {process.exitcode}")
        process.kill()
    slowest = max(seconds.values())
    common.result(
        "R7",
        "a second signal, also during compilation: time to exit",
        "< 1 s",
        f"{slowest:.2f} s",
        slowest < 1,
        seconds=seconds,
    )


def at(phase: str, action):
    """An object, the name of its attribute, and the value that calls `action` once in this phase of step STEP."""
    from hifigan_jax import data, run_checkpoints
    from hifigan_jax.training import loop, validation

    if phase == "step":
        return loop, "train_step", functools.partial(_acting_step, loop.train_step, action)
    if phase == "data":
        return data, "iterate", functools.partial(_acting_stream, data.iterate, action)
    owner, name = {"validation": (validation.Validator, "run"), "save": (run_checkpoints, "save")}[phase]
    original = getattr(owner, name)

    def acting(*arguments, **options):
        if STEP in arguments:
            action()
        return original(*arguments, **options)

    return owner, name, acting


def _acting_step(make, action, *arguments, **options):
    step, calls = make(*arguments, **options), iter(range(1, 1_000_000))

    def acting(*inputs):
        if next(calls) == STEP:
            action()
        return step(*inputs)

    return acting


def _acting_stream(iterate, action, *arguments, **options):
    for number, batch in enumerate(iterate(*arguments, **options), 1):
        if number == STEP + 1:
            action()
        yield batch


def _block(phase: str, marker: pathlib.Path) -> None:
    """The process blocks in this phase, in a call that does not return."""
    setattr(*at(phase, functools.partial(_never_return, marker)))


def _never_return(marker: pathlib.Path) -> None:
    marker.touch()
    signal.alarm(120)  # should this program be gone
    library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(128)
    for _ in range(2):  # the second time, it waits for itself; no signal interrupts that
        library.pthread_mutex_lock(mutex)


def _watch_compilation(marker: pathlib.Path) -> None:
    """Writes `marker` when XLA begins to compile the training step, which then takes seconds."""
    from jax._src import compiler

    compile_or_get_cached = compiler.compile_or_get_cached

    def watched(backend, computation, *arguments, **options):
        if "step" in str(computation.operation.attributes["sym_name"]):
            marker.touch()
        return compile_or_get_cached(backend, computation, *arguments, **options)

    compiler.compile_or_get_cached = watched


if __name__ == "__main__":
    main()
