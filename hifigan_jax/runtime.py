"""What must be settled before jax starts (kept programs, faster convolutions and loops on CPUs, memory that is kept), and what it
compiles after that."""

import ctypes
import hashlib
import importlib.metadata
import logging
import os
import platform
import stat
import sys
import warnings
from collections.abc import MutableMapping
from pathlib import Path

logger = logging.getLogger(__name__)

# oneDNN's convolutions: 1.2 to 2 times faster than XLA's own in float32. Older jaxlibs know no such flag and would stop at it.
ONEDNN_FLAG = "--xla_cpu_experimental_onednn_custom_call"
ONEDNN_SINCE = (0, 12)

# XLA's CPU backend unrolls loops over up to 32 channels whole, and LLVM then leaves many of them to one number at a time: those
# of the generator's last stages, activations and sums, take 1.5 times as long in the whole, 3 to 5 times by themselves.
_LOOPS_FLAG = "--xla_backend_extra_options"
_LOOPS_KEPT = "xla_cpu_disable_loop_unrolling"

# Of glibc's mallopt: how many blocks may be mapped singly, how much may lie free at the heap's end (-1: any amount; an int could
# say 2 GB at most), how many heaps there may be.
_M_MMAP_MAX, _M_TRIM_THRESHOLD, _M_ARENA_MAX = -4, -1, -8


def prepare(compile_cache: bool = True, training: str | None = None) -> None:
    """For programs, before anything imports jax (later it does nothing); what the environment already says is left alone.

    With `compile_cache`, compiled programs are kept in `compile_cache_folder()`. `training` is the type that a program
    for training computes in: float32's backward passes are faster without oneDNN's convolutions. CPUs run a program on the
    thread that calls it.
    """
    if "jax" in sys.modules:
        return
    _ask_xla(os.environ, _LOOPS_FLAG, _LOOPS_KEPT)
    if training != "float32":
        use_onednn(os.environ)
    if _onednn_is_asked_for():  # jaxlib 0.12 can't write programs that call it into any cache: nothing that a user could mend
        warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry .*MemoryError", UserWarning)
    keep_memory(one_heap=not training)
    if compile_cache and "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := _private(compile_cache_folder())):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # A training step's buffers, gigabytes in one block, come from the heap of the thread that runs it. The caller's grows as far
    # as needed; those of jax's threads are too small for such a block, which would never be kept. In the one heap of synthesis,
    # small blocks that other threads take between two calls would lie where the large one was, and the heap would grow by another
    # large one, and again. There is no variable for this.
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)


def use_onednn(environment: MutableMapping[str, str]) -> None:
    """Asks XLA for oneDNN's convolutions where its CPU backend has them: x86-64 Linux, jaxlib 0.12 or newer."""
    known = tuple(int(part) for part in _version("jaxlib").split(".")[:2]) >= ONEDNN_SINCE
    if known and sys.platform == "linux" and platform.machine() == "x86_64":
        _ask_xla(environment, ONEDNN_FLAG, "true")


def without_onednn() -> dict[str, bool] | None:
    """Compiler options for one program to have XLA's own convolutions although oneDNN's were asked for; None if they weren't."""
    return {ONEDNN_FLAG.removeprefix("--"): False} if _onednn_is_asked_for() else None


def keep_memory(one_heap: bool) -> None:
    """Tells glibc to keep what is freed: a program's buffers would else come anew from the kernel, page by page, each time.

    With `one_heap`, for synthesis, whichever thread runs a call finds what the last one left; training's threads would wait for
    each other there.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), *([(_M_ARENA_MAX, 1)] if one_heap else [])):
            libc.mallopt(option, value)


class Compilations:
    """How many programs jax has compiled since this was made, and the seconds that they took."""

    def __init__(self):
        import jax.monitoring

        self.count, self.seconds = 0, 0.0
        jax.monitoring.register_event_duration_secs_listener(self._hear)

    def _hear(self, event: str, duration: float, **_) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.count += 1
            self.seconds += duration


def compile_cache_folder() -> Path:
    """Where compiled programs are kept: one folder per versions and processor, as they serve no other."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    versions = "-".join(f"{name}{_version(name)}" for name in ("jax", "jaxlib"))
    return base / "hifigan_jax" / "programs" / f"{versions}-{platform.machine()}-{_processor()}"


def _ask_xla(environment: MutableMapping[str, str], flag: str, value: str) -> None:
    """Sets a flag of XLA that the environment doesn't mention."""
    flags = environment.get("XLA_FLAGS", "")
    if flag not in flags:
        environment["XLA_FLAGS"] = f"{flags} {flag}={value}".strip()


def _onednn_is_asked_for() -> bool:
    return f"{ONEDNN_FLAG}=true" in os.environ.get("XLA_FLAGS", "")


def _private(folder: Path) -> Path | None:
    """The folder, made for this user alone; None, with a warning, where others could put programs into it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        logger.warning("%s: %s: compiled programs are not kept", folder, error.strerror)
        return None
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        logger.warning("%s: others can write there: compiled programs are not kept", folder)
        return None
    return folder


def _version(library: str) -> str:
    return importlib.metadata.version(library)


def _processor() -> str:
    """A short name for what the processor can do: a program of another one may hold instructions that this one lacks."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return hashlib.sha256(features.encode()).hexdigest()[:8]
