"""Runs of several processes: how they find one another, and what they must do together.

Who is one of several is told by environment variables alone, so that nothing is waited for on a machine by itself: the user's
JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or what mpirun, srun or a TPU pod sets.
"""

import contextlib
import importlib.util
import logging
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hifigan_jax.errors import UsageError

logger = logging.getLogger(__name__)

TIMEOUT = 300  # seconds to wait for the other processes
_ADDRESS, _PROCESSES, _PROCESS = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


class Cluster(NamedTuple):
    """What `jax.distributed.initialize` is told of a cluster. What is None it finds out by itself.

    An empty `local_device_ids` leaves a process all devices that it sees; None leaves it the one of its rank on its machine.
    """

    coordinator_address: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    local_device_ids: tuple[int, ...] | None = None
    cluster_detection_method: str | None = None


class _Launched(NamedTuple):
    """What a launcher says of this process."""

    processes: int
    process: int
    shares_machine: bool
    method: str | None  # by which jax finds the address of process 0; None if it can't


def join_cluster(environment: Mapping[str, str]) -> None:
    """Joins the processes that the environment speaks of, if any. Before the first computation of a program.

    Raises UsageError if the environment says too little, or if the others don't come.
    """
    cluster = find_cluster(environment)
    if cluster is None:
        return
    try:
        jax.distributed.initialize(**cluster._asdict(), initialization_timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"the other processes can't be joined: {reason:.200} (see docs/scaling.md)") from None
    if jax.process_index() > 0:
        logging.getLogger("hifigan_jax").setLevel(logging.WARNING)


def find_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """The cluster of which this process is one of several; None for a process by itself. Raises UsageError."""
    launched = _by_mpirun(environment) or _by_srun(environment)
    if {_ADDRESS, _PROCESSES, _PROCESS} & environment.keys():
        return _as_told(environment, launched)
    if launched is None:
        return _tpu_pod(environment)
    if launched.processes == 1:
        return None
    if launched.method is None:
        raise UsageError(f"Open MPI 5 does not tell where process 0 is: set {_ADDRESS}=HOST:PORT, or install mpi4py")
    return Cluster(None, launched.processes, launched.process, _own_devices(environment, launched), launched.method)


def _as_told(environment, launched) -> Cluster | None:
    """What the user says; numbers that are left out are the launcher's."""
    processes = _number(environment, _PROCESSES) if _PROCESSES in environment else launched and launched.processes
    process = _number(environment, _PROCESS) if _PROCESS in environment else launched and launched.process
    if processes == 1:
        return None
    told = {_ADDRESS: environment.get(_ADDRESS), _PROCESSES: processes, _PROCESS: process}
    missing = [name for name, value in told.items() if value is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} not set: several processes need {_ADDRESS}, {_PROCESSES} and {_PROCESS}")
    if not 0 <= process < processes:
        raise UsageError(f"{_PROCESS} {process} is not one of 0 to {processes - 1} ({_PROCESSES} {processes})")
    return Cluster(told[_ADDRESS], processes, process, (), "deactivate")


def _by_mpirun(environment) -> _Launched | None:
    if "OMPI_COMM_WORLD_SIZE" not in environment:
        return None
    finders = {"ompi": "OMPI_MCA_orte_hnp_uri" in environment, "mpi4py": importlib.util.find_spec("mpi4py") is not None}
    return _Launched(
        _number(environment, "OMPI_COMM_WORLD_SIZE"),
        _number(environment, "OMPI_COMM_WORLD_RANK"),
        _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE") > 1,
        next((name for name, works in finders.items() if works), None),
    )


def _by_srun(environment) -> _Launched | None:
    """A step's own number of tasks counts: that of its job is also seen by shells and scripts, which run once."""
    if not {"SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"} <= environment.keys():
        return None
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS")
    return _Launched(tasks, _number(environment, "SLURM_PROCID"), tasks > _number(environment, "SLURM_STEP_NUM_NODES"), "slurm")


def _tpu_pod(environment) -> Cluster | None:
    """jax, when it is imported, sets TPU_ML_PLATFORM where there are TPUs and TPU_SKIP_MDS_QUERY where there are none."""
    if "TPU_ML_PLATFORM" not in environment or environment.get("JAX_PLATFORMS") == "cpu":
        return None
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if hosts is None:  # Google Compute Engine, whose metadata server knows
        return None if "TPU_SKIP_MDS_QUERY" in environment else Cluster()
    slices = _number(environment, "MEGASCALE_NUM_SLICES") if "MEGASCALE_NUM_SLICES" in environment else 1
    return Cluster() if slices * len(hosts.split(",")) > 1 else None


def _own_devices(environment, launched) -> tuple[int, ...] | None:
    sees_several = "," in environment.get("CUDA_VISIBLE_DEVICES", ",")
    return None if launched.shares_machine and sees_several else ()


def _number(environment, name: str) -> int:
    try:
        return int(environment[name])
    except (KeyError, ValueError):
        raise UsageError(f"{name} should be a number, not {environment.get(name)!r}") from None


@contextlib.contextmanager
def first_process_first() -> Iterator[None]:
    """The block runs in process 0, then in all others: what it wrote to a shared disk is there for them."""
    if jax.process_index() > 0:
        _wait_for_all("the first process")
    try:
        yield
    finally:
        if jax.process_index() == 0:
            _wait_for_all("the first process")


class AnyProcess:
    """Whether a thing was true in any process, one call later: all processes get the same answer, and none waits for it.

    With one process, the answer is immediate.
    """

    def __init__(self, mesh: Mesh):
        self.split = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self.any = jax.jit(lambda flags: flags.any(), out_shardings=NamedSharding(mesh, PartitionSpec()))
        self.before = None

    def __call__(self, here: bool) -> bool:
        if jax.process_count() == 1:
            return here
        flags = jax.make_array_from_process_local_data(self.split, np.full(jax.local_device_count(), here))
        before, self.before = self.before, self.any(flags)
        return before is not None and bool(before)


def _wait_for_all(name: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
