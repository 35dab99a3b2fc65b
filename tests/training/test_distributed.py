"""Detection of several processes, and training in several processes against one."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import jaxlib
import numpy as np
import pytest

from hifigan_jax.errors import UsageError
from hifigan_jax.training.cluster import Cluster, find_cluster

ROOT = pathlib.Path(__file__).parents[2]
BY_USER = {"JAX_COORDINATOR_ADDRESS": "host:1234", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}
SLURM_JOB = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
SLURM_STEP = SLURM_JOB | {"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "8"}
OPEN_MPI_5 = {"OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}
OPEN_MPI_4 = OPEN_MPI_5 | {"OMPI_MCA_orte_hnp_uri": "4096.0;tcp://10.0.0.1:34911"}
TPU_HOST = {"TPU_ML_PLATFORM": "JAX"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        BY_USER | {"JAX_NUM_PROCESSES": "1"},
        SLURM_JOB,  # a batch script or a shell: the job has 8 tasks, but this is one process
        SLURM_STEP | {"SLURM_STEP_NUM_TASKS": "1"},
        OPEN_MPI_4 | {"OMPI_COMM_WORLD_SIZE": "1"},
        SLURM_STEP | OPEN_MPI_4 | {"OMPI_COMM_WORLD_SIZE": "1"},
        {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "a,b"},  # no TPU here
        TPU_HOST | {"TPU_WORKER_HOSTNAMES": "localhost"},
        TPU_HOST | {"TPU_SKIP_MDS_QUERY": "1"},
        TPU_HOST | {"JAX_PLATFORMS": "cpu", "TPU_WORKER_HOSTNAMES": "a,b"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
    ],
)
def test_a_single_process_waits_for_no_other(environment):
    assert find_cluster(environment) is None


@pytest.mark.parametrize(
    ("environment", "cluster"),
    [
        (BY_USER, Cluster("host:1234", 4, 3, (), "deactivate")),
        (SLURM_STEP, Cluster(None, 8, 0, None, "slurm")),
        (SLURM_STEP | {"JAX_COORDINATOR_ADDRESS": "host:1"}, Cluster("host:1", 8, 0, (), "deactivate")),
        (OPEN_MPI_4, Cluster(None, 8, 5, None, "ompi")),
        (SLURM_STEP | OPEN_MPI_4, Cluster(None, 8, 5, None, "ompi")),  # mpirun within a Slurm job
        (OPEN_MPI_5 | {"JAX_COORDINATOR_ADDRESS": "host:1"}, Cluster("host:1", 8, 5, (), "deactivate")),
        (TPU_HOST, Cluster()),
        (TPU_HOST | {"TPU_WORKER_HOSTNAMES": "a,b"}, Cluster()),
        (TPU_HOST | {"TPU_WORKER_HOSTNAMES": "a", "MEGASCALE_NUM_SLICES": "2"}, Cluster()),
    ],
)
def test_one_of_several_processes_is_recognized(environment, cluster):
    assert find_cluster(environment) == cluster


@pytest.mark.parametrize(
    ("of_step", "devices"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, None),  # four processes on a node see four GPUs: each takes its own
        ({"CUDA_VISIBLE_DEVICES": "2"}, ()),  # Slurm gave each process its own GPU
        ({"SLURM_STEP_NUM_TASKS": "2", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, ()),  # one process per node uses all of its GPUs
    ],
)
def test_no_gpu_of_a_slurm_job_is_left_idle(of_step, devices):
    assert find_cluster(SLURM_STEP | of_step).local_device_ids == devices


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"JAX_NUM_PROCESSES": "2"}, "JAX_COORDINATOR_ADDRESS, JAX_PROCESS_ID not set"),
        (BY_USER | {"JAX_PROCESS_ID": "4"}, "JAX_PROCESS_ID 4 is not one of 0 to 3"),
        (BY_USER | {"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES should be a number, not 'two'"),
        (OPEN_MPI_5, "set JAX_COORDINATOR_ADDRESS=HOST:PORT, or install mpi4py"),
    ],
)
def test_an_incomplete_environment_is_refused_by_name(environment, message):
    with pytest.raises(UsageError, match=message):
        find_cluster(environment)


@pytest.fixture
def processes(training_config, tmp_path):
    """processes(name, number, **overrides): starts `number` processes of train.py on one run, with two devices in all.

    `fault` is the HIFIGAN_JAX_FAULT of the last of them.
    """
    started = []

    def processes(name, number, fault="", **overrides):
        config = training_config.replace({"checkpoint_path": str(tmp_path / name), **overrides})
        path = tmp_path / f"{name}.json"
        path.write_text(config.to_json())
        environment = os.environ | {
            "JAX_NUM_CPU_DEVICES": str(2 // number),
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}",
            "JAX_NUM_PROCESSES": str(number),
        }
        command = [sys.executable, ROOT / "train.py", "--config", path]
        of_this = [
            subprocess.Popen(
                command,
                env=environment | {"JAX_PROCESS_ID": str(i), "HIFIGAN_JAX_FAULT": fault if i == number - 1 else ""},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for i in range(number)
        ]
        started.extend(of_this)
        return of_this

    yield processes
    for process in started:
        process.kill()
        process.communicate()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ended(processes):
    """The stdout and stderr of each process, once all have ended with exit code 0."""
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return outputs


@pytest.mark.skipif(not hasattr(jaxlib._jax, "make_gloo_tcp_collectives"), reason="this jaxlib has no collectives for CPUs")
def test_two_processes_train_stop_and_resume_as_one_with_two_devices(processes, tmp_path, leaves):
    options = {"validation_interval": 1000, "discriminators": ["mpd"], "mpd_periods": [2]}  # quick to compile
    one, two = processes("one", 1, **options, max_steps=20), processes("two", 2, **options, max_steps=100_000)
    metrics = tmp_path / "two" / "metrics.jsonl"
    while all(process.poll() is None for process in two) and not (metrics.exists() and "gen_loss" in metrics.read_text()):
        time.sleep(0.02)
    two[1].send_signal(signal.SIGTERM)  # only this process gets the signal; both stop at the same step
    (_, of_first), _ = ended(two)
    (stopped,) = (tmp_path / "two" / "checkpoints").iterdir()
    assert f"stopping at step {int(stopped.name)}, as requested" in of_first
    assert int(stopped.name) < 20
    of_first, of_second = ended(processes("two", 2, **options, max_steps=20))
    assert f"resuming from {stopped}" in of_first[1]
    assert "Steps" in of_first[0]
    assert not any(word in text for text in of_second for word in ("Steps", "validation", "saved"))  # only the first writes
    ended(one)
    assert losses(tmp_path / "two") == {step: pytest.approx(row, rel=1e-4) for step, row in losses(tmp_path / "one").items()}
    for part, expected in leaves(tmp_path / "one", 20).items():
        for name, leaf in leaves(tmp_path / "two", 20)[part].items():
            np.testing.assert_allclose(leaf, expected[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(jaxlib._jax, "make_gloo_tcp_collectives"), reason="this jaxlib has no collectives for CPUs")
def test_all_processes_go_back_at_the_same_step_if_one_has_batches_of_nan(processes, tmp_path):
    options = {"validation_interval": 1000, "checkpoint_interval": 2, "max_skipped_steps": 2, "max_rollbacks": 1}
    (_, of_first), (_, of_second) = ended(processes("run", 2, **options, max_steps=8, fault="batch:3-4"))
    for messages in (of_first, of_second):
        assert messages.count("skipped: ") == 2
        assert "training continues from step 2 with data order 1" in messages
    assert [*losses(tmp_path / "run")] == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(jaxlib._jax, "make_gloo_tcp_collectives"), reason="this jaxlib has no collectives for CPUs")
def test_if_one_process_cannot_read_its_recordings_all_save_the_step_and_end(processes, tmp_path, training_config):
    options = {"validation_interval": 1000, "max_steps": 100_000, "num_workers": 1}
    copies = tmp_path / "recordings"
    shutil.copytree(training_config.data.input_wavs_dir, copies)
    two = processes("run", 2, **options, input_wavs_dir=str(copies))
    metrics = tmp_path / "run" / "metrics.jsonl"
    while all(process.poll() is None for process in two) and not (metrics.exists() and "gen_loss" in metrics.read_text()):
        time.sleep(0.02)
    for path in copies.glob("*.flac"):
        path.unlink()
    outputs = [process.communicate() for process in two]
    assert 3 in [process.returncode for process in two], outputs
    assert {process.returncode for process in two} <= {0, 3}, outputs
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert int(saved.name) == max(losses(tmp_path / "run"))


def losses(run):
    """The loss terms of each step."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: {key: row[key] for key in row if "loss" in key} for row in rows if "training/gen_loss_total" in row}
