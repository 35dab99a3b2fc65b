"""Work over processes, with a progress bar on terminals."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from hifigan_jax.errors import HifiganError

Task, Result = TypeVar("Task"), TypeVar("Result")
_BAR = 24  # characters


def run(function: Callable[[Task], Result], tasks: Sequence[Task], jobs: int, label: str) -> Iterator[Result]:
    """Yields the results in the order in which they finish. With one job or task, everything runs in this process.

    The processes are spawned, and end at once when the caller is interrupted or killed.
    """
    if min(jobs, len(tasks)) <= 1:
        yield from progress(map(function, tasks), len(tasks), label)
        return
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), multiprocessing.get_context("spawn"), _prepare_worker)
    try:
        with _interrupts_held():  # the processes inherit this: the parent ends them
            futures = [pool.submit(function, task) for task in tasks]
        yield from progress((future.result() for future in as_completed(futures)), len(tasks), label)
    except BrokenProcessPool:
        raise HifiganError("a process ended unexpectedly, perhaps for lack of memory: lower the number of jobs") from None
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def progress(results: Iterable[Any], total: int, label: str) -> Iterator[Any]:
    """The same results, with a bar on stderr if that is a terminal."""
    shown = total > 0 and sys.stderr.isatty()
    start = time.monotonic()
    try:
        for done, result in enumerate(results, 1):
            if shown:
                left = (time.monotonic() - start) / done * (total - done)
                bar = "#" * (_BAR * done // total)
                print(f"\r{label} [{bar:{_BAR}}] {done}/{total}, {left:.0f} s left ", end="", file=sys.stderr, flush=True)
            yield result
    finally:
        if shown:
            print(file=sys.stderr)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Delays Ctrl-C in this thread until the block ends."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _end_with_parent() -> None:
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _prepare_worker() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # read when torch is imported
