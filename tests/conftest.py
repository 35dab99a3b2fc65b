"""Shapes are checked, silent broadcasting is an error, and everything runs on one CPU device unless a test says otherwise."""

import contextlib
import logging
import os
import pathlib
import resource
import signal
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
# As the programs for training have it, so that tests and their subprocesses share what they compile.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_backend_extra_options=xla_cpu_disable_loop_unrolling"
)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's idle threads would keep the cores from the other process

import jaxtyping

if sys.version_info < (3, 12):  # on one Python: checking takes a good part of the time, and finds the same on all
    jaxtyping.install_import_hook("hifigan_jax", "beartype.beartype")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax import runtime
from hifigan_jax.config import Config, load_config, packaged_config

# Most of the time goes into compiling: programs are kept from run to run, and shared with subprocesses.
kept = os.environ.get("HIFIGAN_JAX_TEST_CACHE") or runtime.compile_cache_folder().parent.with_name("tests")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(pathlib.Path(kept) / runtime.compile_cache_folder().name)
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_numpy_rank_promotion", "raise")
logging.getLogger("hifigan_jax").setLevel(logging.INFO)  # as the programs do


@pytest.fixture(autouse=True)
def own_logger():
    """The programs give our logger a handler on stderr and keep it from the root; the next test gets it as new."""
    yield
    logger = logging.getLogger("hifigan_jax")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.INFO)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def normal(rng):
    """Draws a float32 array of standard normal values: normal(2, 3) has shape (2, 3)."""
    return lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def full_after(tmp_path):
    """full_after(n): a context in which no file can become more than n bytes larger than the largest in this test's folder."""

    @contextlib.contextmanager
    def full_after(count):
        largest = max(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + count, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)

    return full_after


@pytest.fixture(scope="session")
def shared_tiny_config() -> Config:
    """A configuration whose every program compiles in seconds: narrow, with the reference's structure."""
    return load_config(
        packaged_config("config_v3"),
        {
            "upsample_initial_channel": 16,
            "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [[1, 2]],
            "discriminators": ["mpd"],
            "mpd_periods": [2, 3],
            "discriminator_channel_mult": 0.03125,
            "segment_size": 2048,
            "batch_size": 2,
            "num_workers": 2,
        },
    )


@pytest.fixture(scope="session")
def tiny_leaves(shared_tiny_config) -> dict[str, np.ndarray]:
    """Random parameters of the shared generator, by name."""
    from hifigan_jax.models.generator import Conditions
    from hifigan_jax.training.setup import generator_of
    from hifigan_jax.trees import named_leaves

    params = jax.jit(generator_of(shared_tiny_config).init)(jax.random.key(0), Conditions(jnp.zeros((1, 8, 80))))["params"]
    return named_leaves(jax.device_get(params))


@pytest.fixture(scope="session")
def shared_training_config(shared_tiny_config) -> Config:
    """Training on the samples: 6 recordings, 3 batches an epoch, 1 recording to validate on."""
    samples = pathlib.Path(__file__).parent.parent / "samples"
    return shared_tiny_config.replace(
        {
            "input_wavs_dir": str(samples),
            "input_training_file": str(samples / "training.txt"),
            "input_validation_file": str(samples / "validation.txt"),
            "max_steps": 6,
            "summary_interval": 1,
            "validation_interval": 3,
            "checkpoint_interval": 100,
            "stdout_interval": 2,
        }
    )


@pytest.fixture(scope="session")
def sharing():
    """sharing(): a context in which equal training steps and equal vocoders are traced once, whatever test they are made in."""
    from hifigan_jax.synthesis import Vocoder
    from hifigan_jax.training import loop, setup

    make, build, kept = loop.train_step, Vocoder.__init__, {}

    def train_step(config, batches_per_epoch, mesh):
        networks = setup.generator_of(config), setup.discriminator_of(config)
        key = repr((*networks, config.mel, config.losses, config.optimization, batches_per_epoch, mesh))
        if key not in kept:
            kept[key] = make(config, batches_per_epoch, mesh)
        return kept[key]

    def vocoder(self, config, params, devices=None, few_programs=False):
        build(self, config, params, devices, few_programs)
        first = kept.setdefault(repr((self._generator, config.mel, self._sharded)), self)
        self._programs, self._log_mel = first._programs, first._log_mel

    @contextlib.contextmanager
    def sharing():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "train_step", train_step)
            patch.setattr(Vocoder, "__init__", vocoder)
            yield

    sharing.forget = kept.clear
    return sharing


@pytest.fixture
def shared_programs(sharing):
    """What the whole test makes is shared."""
    with sharing():
        yield


@pytest.fixture
def one_scale(monkeypatch):
    """MSD is its first scale alone, the one with spectral norm: each of the others takes as long to compile."""
    from hifigan_jax.models.discriminators.scale.config import ScaleDiscriminatorConfig

    build = ScaleDiscriminatorConfig.build
    monkeypatch.setattr(ScaleDiscriminatorConfig, "build", lambda *arguments: build(*arguments)[:1])


@pytest.fixture
def tiny_config(shared_tiny_config, tmp_path) -> Config:
    """The shared one, with a run's folder for this test alone."""
    return shared_tiny_config.replace({"checkpoint_path": str(tmp_path / "run")})


@pytest.fixture
def training_config(shared_training_config, tmp_path, shared_programs) -> Config:
    """The shared one, with a run's folder for this test alone."""
    return shared_training_config.replace({"checkpoint_path": str(tmp_path / "run")})


@pytest.fixture
def run_of(tmp_path):
    """run_of(config, name, *stops): the folder of a run that was started anew to train until each of these steps."""
    from hifigan_jax.training.loop import train

    def run_of(config, name, *stops):
        for stop in stops:
            train(config.replace({"checkpoint_path": str(tmp_path / name), "max_steps": stop}))
        return tmp_path / name

    return run_of


@pytest.fixture
def leaves():
    """leaves(run, step): all arrays of a run's checkpoint."""
    from hifigan_jax import checkpoint

    def leaves(run, step):
        folder = run / "checkpoints" / f"{step:08d}"
        return {name: checkpoint.restore(folder, name) for name in ("generator", "training")}

    return leaves
