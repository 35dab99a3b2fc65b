"""How processes that train together find each other.

Only environment variables decide whether this process is one of several, so that a single process never waits for others:
JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID from the user, or the variables that mpirun, srun or a TPU pod sets.
"""

import importlib.util
from collections.abc import Mapping
from typing import NamedTuple

from hifigan_jax.errors import UsageError

_ADDRESS, _PROCESSES, _PROCESS = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


class Cluster(NamedTuple):
    """The arguments of `jax.distributed.initialize`, which detects those that are None.

    With empty `local_device_ids`, a process uses all devices that it sees; with None, only the one of its local rank.
    """

    coordinator_address: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    local_device_ids: tuple[int, ...] | None = None
    cluster_detection_method: str | None = None


class _Launched(NamedTuple):
    """This process, as its launcher describes it."""

    processes: int
    process: int
    shares_machine: bool
    method: str | None  # jax's method to find the address of process 0; None if none works


def find_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """The cluster that this process belongs to; None for a single process. Raises UsageError if the environment is incomplete."""
    launched = _by_mpirun(environment) or _by_srun(environment)
    if {_ADDRESS, _PROCESSES, _PROCESS} & environment.keys():
        return _from_user(environment, launched)
    if launched is None:
        return _tpu_pod(environment)
    if launched.processes == 1:
        return None
    if launched.method is None:
        raise UsageError(f"Open MPI 5 does not provide the address of process 0: set {_ADDRESS}=HOST:PORT, or install mpi4py")
    return Cluster(None, launched.processes, launched.process, _local_device_ids(environment, launched), launched.method)


def _from_user(environment, launched) -> Cluster | None:
    """The cluster that the user's variables specify; missing numbers are taken from the launcher."""
    processes = _number(environment, _PROCESSES) if _PROCESSES in environment else launched and launched.processes
    process = _number(environment, _PROCESS) if _PROCESS in environment else launched and launched.process
    if processes == 1:
        return None
    values = {_ADDRESS: environment.get(_ADDRESS), _PROCESSES: processes, _PROCESS: process}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} not set: several processes need {_ADDRESS}, {_PROCESSES} and {_PROCESS}")
    if not 0 <= process < processes:
        raise UsageError(f"{_PROCESS} {process} is not one of 0 to {processes - 1} ({_PROCESSES} {processes})")
    return Cluster(values[_ADDRESS], processes, process, (), "deactivate")


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
    """Reads the tasks of the Slurm step: the job's variables are also set in batch scripts and shells, which run once."""
    if not {"SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"} <= environment.keys():
        return None
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS")
    return _Launched(tasks, _number(environment, "SLURM_PROCID"), tasks > _number(environment, "SLURM_STEP_NUM_NODES"), "slurm")


def _tpu_pod(environment) -> Cluster | None:
    """Reads two variables that importing jax sets: TPU_ML_PLATFORM if there are TPUs, TPU_SKIP_MDS_QUERY if there are none."""
    if "TPU_ML_PLATFORM" not in environment or environment.get("JAX_PLATFORMS") == "cpu":
        return None
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if hosts is None:  # on Google Compute Engine, jax asks the metadata server
        return None if "TPU_SKIP_MDS_QUERY" in environment else Cluster()
    slices = _number(environment, "MEGASCALE_NUM_SLICES") if "MEGASCALE_NUM_SLICES" in environment else 1
    return Cluster() if slices * len(hosts.split(",")) > 1 else None


def _local_device_ids(environment, launched) -> tuple[int, ...] | None:
    sees_several = "," in environment.get("CUDA_VISIBLE_DEVICES", ",")
    return None if launched.shares_machine and sees_several else ()


def _number(environment, name: str) -> int:
    try:
        return int(environment[name])
    except (KeyError, ValueError):
        raise UsageError(f"{name} should be a number, not {environment.get(name)!r}") from None
