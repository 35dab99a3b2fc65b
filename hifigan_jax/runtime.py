"""Settings that must be made before JAX starts: the compilation cache, CPU code generation, the memory allocator."""

import contextlib
import ctypes
import hashlib
import importlib.metadata
import logging
import os
import platform
import stat
import sys
import warnings
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from hifigan_jax.errors import OutOfMemory

logger = logging.getLogger(__name__)

# oneDNN's convolutions are 1.2 to 2 times as fast as XLA's own in float32. Older versions of jaxlib reject the flag.
ONEDNN_FLAG = "--xla_cpu_experimental_onednn_custom_call"
ONEDNN_SINCE = (0, 12)

# XLA's CPU backend fully unrolls loops over up to 32 channels, and LLVM then fails to vectorize many of them. The elementwise
# operations of the generator's last stages become 3 to 5 times as slow.
_UNROLLING_FLAG = "--xla_backend_extra_options"
_NO_UNROLLING = "xla_cpu_disable_loop_unrolling"

# Parameters of glibc's mallopt: the number of separately mapped blocks, the free memory kept at the heap's end (-1: any amount),
# the number of heaps.
_M_MMAP_MAX, _M_TRIM_THRESHOLD, _M_ARENA_MAX = -4, -1, -8


def prepare(compile_cache: bool = True, training: str | None = None, onednn: bool = True) -> None:
    """Configures JAX for a program; call it before anything imports jax. Existing environment variables take precedence.

    With `compile_cache`, compiled programs are stored in `compile_cache_folder()`. `training` is the compute dtype of a training
    program, None for synthesis. `onednn` permits oneDNN's convolutions. They are faster, but their programs cannot be stored and
    are compiled in every process; they are never used to train in float32, where the backward passes are slower with them.
    CPU programs then run on the calling thread. Logs a warning, and does nothing, if jax has been imported without this call.
    """
    if "jax" in sys.modules:
        if _UNROLLING_FLAG not in os.environ.get("XLA_FLAGS", ""):
            logger.warning("jax was imported before runtime.prepare(), which now has no effect: call it first")
        return
    _set_xla_flag(os.environ, _UNROLLING_FLAG, _NO_UNROLLING)
    if onednn and training != "float32":
        use_onednn(os.environ)
    if _onednn_enabled():  # jaxlib 0.12 cannot store these programs, and the user cannot do anything about it
        warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry .*MemoryError", UserWarning)
    keep_memory(one_heap=not training)
    if compile_cache and "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := _private(compile_cache_folder())):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # Run programs on the calling thread; there is no environment variable for this. The buffers of a training step are one block
    # of gigabytes from the heap of the executing thread. Only the main thread's heap can grow to that size; from any other,
    # glibc would map and unmap the block in every step. In synthesis, which uses one heap, small allocations of other threads
    # between two calls would fragment the freed block, and the heap would keep growing.
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)


def use_onednn(environment: MutableMapping[str, str]) -> None:
    """Enables oneDNN's convolutions if XLA's CPU backend has them: on x86-64 Linux with jaxlib 0.12 or newer."""
    available = tuple(int(part) for part in _version("jaxlib").split(".")[:2]) >= ONEDNN_SINCE
    if available and sys.platform == "linux" and platform.machine() == "x86_64":
        _set_xla_flag(environment, ONEDNN_FLAG, "true")


def without_onednn() -> dict[str, bool] | None:
    """Compiler options that disable oneDNN's convolutions in one program; None if they are not enabled."""
    return {ONEDNN_FLAG.removeprefix("--"): False} if _onednn_enabled() else None


def keep_memory(one_heap: bool) -> None:
    """Makes glibc keep freed memory; otherwise each call would get its buffers from the kernel again, page by page.

    With `one_heap`, all threads share a heap, so that a call reuses the buffers of the last one on any thread. Training leaves it
    off: its threads would contend for the heap.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), *([(_M_ARENA_MAX, 1)] if one_heap else [])):
            libc.mallopt(option, value)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, NumPy or JAX raised this exception because memory does not suffice."""
    if isinstance(error, MemoryError):
        return True
    signs = ("RESOURCE_EXHAUSTED", "Out of memory", "YNNPACK operation failed")  # the last: XLA's matrix products on CPUs
    return type(error).__name__ == "JaxRuntimeError" and any(sign in str(error) for sign in signs)


@contextlib.contextmanager
def explaining_memory(advice: str) -> Iterator[None]:
    """Raises OutOfMemory with this advice if memory does not suffice for the block."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"memory does not suffice: {advice}") from None
        raise


class Compilations:
    """Counts the programs that JAX compiles from now on, and the seconds spent on it."""

    def __init__(self):
        import jax.monitoring

        self.count, self.seconds = 0, 0.0
        jax.monitoring.register_event_duration_secs_listener(self._on_event)

    def _on_event(self, event: str, duration: float, **_) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.count += 1
            self.seconds += duration


def compile_cache_folder() -> Path:
    """Folder of stored programs; a separate one for each version of JAX and each kind of processor, as programs fit no other."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    versions = "-".join(f"{name}{_version(name)}" for name in ("jax", "jaxlib"))
    return base / "hifigan_jax" / "programs" / f"{versions}-{platform.machine()}-{_processor()}"


def _set_xla_flag(environment: MutableMapping[str, str], flag: str, value: str) -> None:
    """Adds a flag to XLA_FLAGS unless it is already there."""
    flags = environment.get("XLA_FLAGS", "")
    if flag not in flags:
        environment["XLA_FLAGS"] = f"{flags} {flag}={value}".strip()


def _onednn_enabled() -> bool:
    return f"{ONEDNN_FLAG}=true" in os.environ.get("XLA_FLAGS", "")


def _private(folder: Path) -> Path | None:
    """Creates a folder that only this user can access; None, with a warning, if that fails or if others can write to it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        logger.warning("%s: %s: compiled programs are not stored", folder, error.strerror)
        return None
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        logger.warning("%s: writable by other users: compiled programs are not stored", folder)
        return None
    return folder


def _version(library: str) -> str:
    return importlib.metadata.version(library)


def _processor() -> str:
    """A short hash of the processor's features, since a program may contain instructions that other processors lack."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return hashlib.sha256(features.encode()).hexdigest()[:8]
