"""Training in several processes: joining them, and the steps that they must synchronize."""

import contextlib
import logging
from collections.abc import Iterator, Mapping

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hifigan_jax.errors import HifiganError, UsageError
from hifigan_jax.processes import worst
from hifigan_jax.training.cluster import find_cluster
from hifigan_jax.training.stop import Stopped

logger = logging.getLogger(__name__)

TIMEOUT = 300  # seconds to wait for the other processes

_STOPPED = 1000  # larger than any exit code


def join_cluster(environment: Mapping[str, str]) -> None:
    """Joins the other processes that the environment specifies, if any. Must run before the program's first computation.

    Raises UsageError if the environment is incomplete or if the other processes cannot be joined.
    """
    cluster = find_cluster(environment)
    if cluster is None:
        return
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM away from StopRequest
    try:
        jax.distributed.initialize(**cluster._asdict(), initialization_timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"cannot join the other processes: {reason:.200} (see docs/multi-host.md)") from None
    if jax.process_index() > 0:
        logging.getLogger("hifigan_jax").setLevel(logging.WARNING)


class AnotherProcessFailed(HifiganError):
    """This process ends because another one has failed, which explains the reason."""

    def __init__(self, exit_code: int):
        super().__init__("another process failed: see its message")
        self.exit_code = exit_code


@contextlib.contextmanager
def first_process_first() -> Iterator[None]:
    """Runs the block in process 0, then in all others, which can read what process 0 wrote to a shared disk.

    If it raises in one process, it raises in all: Stopped in the others too, else AnotherProcessFailed.
    """
    if jax.process_index() > 0:
        _fail_together()  # if process 0 has failed
    try:
        yield
    except BaseException as error:
        worst(_STOPPED if isinstance(error, Stopped) else getattr(error, "exit_code", 1))
        raise
    if jax.process_index() == 0:
        _fail_together()
    _fail_together()  # if another process has failed


def _fail_together() -> None:
    code = worst(0)
    if code == _STOPPED:
        raise Stopped
    if code:
        raise AnotherProcessFailed(code)


class AnyProcess:
    """Tells all processes whether a flag was true in any of them at the previous call, so that none waits for the others.

    With one process, the answer is that of the current call.
    """

    def __init__(self, mesh: Mesh):
        self.sharded = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self.any = jax.jit(lambda flags: flags.any(), out_shardings=NamedSharding(mesh, PartitionSpec()))
        self.previous = None

    def __call__(self, here: bool) -> bool:
        if jax.process_count() == 1:
            return here
        flags = jax.make_array_from_process_local_data(self.sharded, np.full(jax.local_device_count(), here))
        previous, self.previous = self.previous, self.any(flags)
        return previous is not None and bool(previous)
