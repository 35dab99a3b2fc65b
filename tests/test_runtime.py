import os
import platform
import stat
import subprocess
import sys

import pytest

from hifigan_jax import runtime

KNOWN = runtime.ONEDNN_FLAG + "=true"


@pytest.fixture
def on(monkeypatch):
    """on(jaxlib, platform, machine): a machine that would be these."""

    def on(jaxlib, system="linux", machine="x86_64"):
        monkeypatch.setattr(runtime, "_version", lambda library: jaxlib)
        monkeypatch.setattr(runtime.sys, "platform", system)
        monkeypatch.setattr(runtime.platform, "machine", lambda: machine)

    return on


def flags(before):
    environment = dict(before)
    runtime.use_onednn(environment)
    return environment.get("XLA_FLAGS")


def test_onednn_is_asked_for_where_the_cpu_backend_has_it(on):
    on("0.12.0.1")
    assert flags({}) == KNOWN
    assert flags({"XLA_FLAGS": "--xla_dump_to=d"}) == f"--xla_dump_to=d {KNOWN}"


def test_what_the_user_says_about_onednn_stays(on):
    on("0.12.0.1")
    assert flags({"XLA_FLAGS": runtime.ONEDNN_FLAG + "=false"}) == runtime.ONEDNN_FLAG + "=false"


@pytest.mark.parametrize("where", [("0.10.2",), ("0.12.0", "darwin", "arm64"), ("0.12.0", "linux", "aarch64")], ids=str)
def test_elsewhere_no_flag_is_set_that_would_stop_jax(on, where):
    on(*where)
    assert flags({}) is None


@pytest.mark.smoke
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="measured there alone")
def test_loops_over_few_channels_are_not_unrolled(tmp_path):
    """Unrolled, this one's machine code is several times as long. What the user says stays: the second process has no more."""
    program = (
        "from hifigan_jax import runtime; runtime.prepare(); import jax, jax.numpy as jnp; from flax.linen import leaky_relu;"
        "jax.jit(leaky_relu)(jnp.ones((1, 800, 32)))"
    )
    sizes = []
    for folder, options in (tmp_path / "ours", ""), (tmp_path / "theirs", " --xla_backend_extra_options=xla_none"):
        fresh(tmp_path, program, XLA_FLAGS=f"--xla_cpu_max_isa=AVX2 --xla_dump_to={folder}{options}")
        sizes.append(max(path.stat().st_size for path in folder.glob("*leaky_relu*.o")))
    assert 2 * sizes[0] < sizes[1]


def prepared(tmp_path, *arguments, **environment):
    """What a fresh process has in its environment after `prepare`."""
    program = f"from hifigan_jax import runtime; runtime.prepare({', '.join(arguments)}); import os, jax, jax.numpy as jnp;"
    program += "jax.jit(lambda x: jnp.sin(x) + 1)(jnp.ones(3)); print(os.environ.get('JAX_COMPILATION_CACHE_DIR'))"
    return fresh(tmp_path, program, **environment)


def fresh(tmp_path, program, **environment):
    """What a fresh process that keeps every program prints and complains of."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("JAX_COMP", "JAX_PERS", "XLA_FLAGS"))}
    environment = kept | {"XDG_CACHE_HOME": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"} | environment
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr


def test_compiled_programs_are_kept_for_this_user_alone(tmp_path):
    folder, _ = prepared(tmp_path)
    assert folder.startswith(str(tmp_path / "hifigan_jax" / "programs"))
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert os.listdir(folder)


@pytest.mark.smoke
@pytest.mark.parametrize("chosen", [{}, {"JAX_COMPILATION_CACHE_DIR": "chosen"}], ids=["ours", "the user's"])
def test_programs_that_can_t_be_kept_are_passed_over_in_silence(chosen, tmp_path):
    """jaxlib 0.12 fails to write what calls oneDNN."""
    program = (
        "from hifigan_jax import runtime; runtime.prepare(); import jax, jax.numpy as jnp;"
        "from hifigan_jax.models.convolution import conv1d;"
        "x, kernel = jnp.ones((1, 200, 64)), jnp.ones((3, 64, 64));"
        "print(float(jax.jit(lambda x, kernel: conv1d(x, kernel, padding=1))(x, kernel)[0, 5, 0]))"
    )
    folders = {key: str(tmp_path / folder) for key, folder in chosen.items()}
    assert fresh(tmp_path, program, **folders) == ("192.0", "")


def test_one_program_can_do_without_onednn(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to=d {KNOWN}")
    assert runtime.without_onednn() == {"xla_cpu_experimental_onednn_custom_call": False}
    for other in ("", runtime.ONEDNN_FLAG + "=false"):
        monkeypatch.setenv("XLA_FLAGS", other)
        assert runtime.without_onednn() is None


def test_prepare_warns_if_jax_was_imported_before(tmp_path):
    program = "import jax; from hifigan_jax import runtime; runtime.prepare()"
    assert "jax was imported before runtime.prepare()" in fresh(tmp_path, program)[1]
    twice = "from hifigan_jax import runtime; runtime.prepare(); runtime.prepare()"
    assert fresh(tmp_path, twice) == ("", "")


@pytest.mark.parametrize(("arguments", "enabled"), [("", True), ("onednn=False", False), ("training='float32'", False)])
def test_onednn_is_enabled_only_where_it_pays(arguments, enabled, tmp_path):
    program = f"from hifigan_jax import runtime; runtime.prepare({arguments}); import os; print(os.environ['XLA_FLAGS'])"
    environment = {"XLA_FLAGS": ""}
    available = {}
    runtime.use_onednn(available)
    assert (KNOWN in fresh(tmp_path, program, **environment)[0]) == (enabled and bool(available))


of_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left alone")
for_each_use = pytest.mark.parametrize("use", ["", "training='float32'"], ids=["synthesis", "training"])


@pytest.mark.smoke
@of_glibc
@for_each_use
def test_buffers_do_not_come_anew_from_the_kernel(use, tmp_path):
    """The one of 151 MB between the two products is 37,000 pages."""
    program = (
        f"from hifigan_jax import runtime; runtime.prepare({use}); import resource, jax, jax.numpy as jnp;"
        "x = jnp.ones((6144, 8)); f = jax.jit(lambda x: (x @ x.T) @ x);"
        "faults = lambda: (jax.block_until_ready(f(x)), resource.getrusage(resource.RUSAGE_SELF).ru_minflt)[1];"
        "print(sorted(-faults() + faults() for _ in range(15))[7])"
    )
    assert int(fresh(tmp_path, program)[0]) < 4096


@of_glibc
@for_each_use
def test_blocks_of_any_size_stay_in_the_heap(use, tmp_path):
    """V1's training step has one of more bytes than an int counts. Nothing touches this one: it takes no memory."""
    program = (
        f"from hifigan_jax import runtime; runtime.prepare({use}); import ctypes; libc = ctypes.CDLL(None);"
        "libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p; libc.malloc.argtypes = [ctypes.c_size_t];"
        "libc.free.argtypes = [ctypes.c_void_p]; libc.sbrk.argtypes = [ctypes.c_ssize_t];"
        "block = libc.malloc(3 << 30); end = libc.sbrk(0); libc.free(block);"
        "print(block < end, end - libc.sbrk(0))"
    )
    assert fresh(tmp_path, program)[0] == "True 0"


def test_kept_programs_can_be_turned_off(tmp_path):
    assert prepared(tmp_path, "False")[0] == "None"
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_the_user_chose_is_used(tmp_path):
    chosen = str(tmp_path / "chosen")
    assert prepared(tmp_path, JAX_COMPILATION_CACHE_DIR=chosen)[0] == chosen


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = runtime.compile_cache_folder()
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    said, warning = prepared(tmp_path)
    assert said == "None"
    assert "writable by other users" in warning


def test_a_folder_that_can_t_be_made_costs_the_cache_only(tmp_path):
    (tmp_path / "hifigan_jax").write_text("a file")
    said, warning = prepared(tmp_path)
    assert said == "None"
    assert "compiled programs are not stored" in warning


def test_another_version_or_processor_has_another_folder(monkeypatch):
    folders = {runtime.compile_cache_folder()}
    monkeypatch.setattr(runtime, "_processor", lambda: "another")
    folders.add(runtime.compile_cache_folder())
    monkeypatch.setattr(runtime, "_version", lambda library: "1.2.3")
    folders.add(runtime.compile_cache_folder())
    assert len(folders) == 3
