import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax import benchmark
from hifigan_jax.cli import run
from hifigan_jax.models.generator import Conditions
from hifigan_jax.runtime import Compilations
from hifigan_jax.training.setup import generator_of

pytestmark = pytest.mark.smoke


@pytest.fixture
def config_file(tiny_config, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(tiny_config.to_json())
    return str(path)


@pytest.fixture(autouse=True)
def small_products(monkeypatch):
    monkeypatch.setattr(benchmark, "PRODUCT_SIZES", (64,))


@pytest.mark.parametrize(("task", "lines"), [("synthesis", 2), ("training", 1)])
def test_every_length_has_its_line_and_its_row(task, lines, config_file, tmp_path, capsys):
    target = tmp_path / "numbers.json"
    arguments = [task, "--config", config_file, "--frames", "8", "16", "--rounds", "3", "--json", str(target)]
    assert run("benchmark", arguments) == 0
    shown = capsys.readouterr().out.splitlines()
    content = json.loads(target.read_text())
    assert {"command", "commit", "date", "about"} < content.keys()
    rows = content["rows"]
    assert len(rows) == lines
    assert len(shown) == 3 + lines
    for row in rows:
        assert row["median"] == sorted(row["seconds"])[1] > 0
        assert row["flops"] > 0
        assert row["peak_bytes"] > 1e6


def test_random_weights_are_a_generators_and_compile_nothing(tiny_config, normal):
    generator, conditions = generator_of(tiny_config), Conditions(normal(1, 30, 80) * 2 - 5)
    first = jax.eval_shape(generator.init, jax.random.key(0), conditions)["params"]
    compiling = Compilations()
    random = benchmark.random_params(tiny_config)
    assert compiling.seconds == 0
    assert jax.tree.map(np.shape, random) == jax.tree.map(np.shape, first)
    audio = generator.apply({"params": jax.tree.map(jnp.asarray, random)}, conditions)
    assert 1e-3 < np.std(audio) < 0.5  # neither so low that numbers are denormal and slow, nor at the tanh's ends


def test_a_recorded_command_can_be_repeated_and_names_no_absolute_path():
    arguments = ["/home/me/hifigan_jax/benchmarks/compare.py", "training", "--config", "configs/config_v1.json"]
    arguments += ["--python", "torch=/opt/python3.11/bin/python", "--json", "/tmp/training.json"]
    expected = "training --config configs/config_v1.json --python torch=python --json training.json"
    assert benchmark.command_line(arguments) == f"python benchmarks/compare.py {expected}"
    assert benchmark.command_line(["/usr/bin/hifigan-jax", "benchmark"]) == "hifigan-jax benchmark"


def test_a_missing_configuration_gets_one_line(capsys):
    assert run("benchmark", ["synthesis", "--config", "missing.json"]) == 2
    assert capsys.readouterr().err == "error: missing.json: cannot be read: No such file or directory\n"
