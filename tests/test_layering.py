"""Who may import whom: a module sees its own layer and those below it."""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

import hifigan_jax

PACKAGE = pathlib.Path(hifigan_jax.__file__).parent

CONVOLUTIONS = {"models.convolution", "models.convolution_cpu", "models.convolution_xla"}
LAYERS = [
    {"errors"},
    {"config", "audio", "losses", "windows", "runtime", *CONVOLUTIONS},
    {"mel", "mel_file", "recordings", "data", "models.layers", "models.hifigan", "models.discriminators"}
    | {"weights", "weights.torch_file", "weights.torch_writer", "weights.safetensors_file", "weights.jik876"}
    | {"weights.reference_run", "weights.pretrained"},
    {"models", "checkpoint", "generator_source", "streaming", "flops"},
    {"synthesis", "training", "training.state", "training.step", "training.stop", "training.logging", "training.validation"}
    | {"training.reference", "training.start", "training.setup", "training.loop", "training.accumulation", "training.distributed"}
    | {"exchange", "benchmark"},
    {"", "cli", "cli.train", "cli.infer", "cli.convert", "cli.options", "cli.benchmark"},
]
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}


def module_name(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


TREES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def imports(tree):
    """Everything that is imported, anywhere: `from a.b import c` counts as a.b and a.b.c, as c may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(module):
    names = {
        name.removeprefix("hifigan_jax").removeprefix(".") for name in imports(TREES[module]) if name.startswith("hifigan_jax")
    }
    return (names & TREES.keys()) - {"", module}


def libraries(module):
    return {name.partition(".")[0] for name in imports(TREES[module])}


def test_every_module_has_its_layer():
    assert TREES.keys() == LEVEL.keys()


@pytest.mark.parametrize("module", TREES)
def test_a_module_imports_from_its_own_layer_and_below(module):
    assert {name for name in own_imports(module) if LEVEL[name] > LEVEL[module]} == set()


def test_no_modules_import_one_another():
    graphlib.TopologicalSorter({module: own_imports(module) for module in TREES}).prepare()


def test_models_see_no_config_and_losses_no_models():
    for module in ("convolution", "layers", "hifigan", "discriminators"):
        assert own_imports(f"models.{module}") <= {"models.layers", *CONVOLUTIONS}
    assert own_imports("losses") == set()


def test_weights_are_mapped_without_models():
    for module in (name for name in TREES if name.startswith("weights.")):
        assert {name for name in own_imports(module) if not name.startswith("weights.")} <= {"errors", "audio"}
        assert libraries(module).isdisjoint({"jax", "flax", "optax"})


def test_libraries_stay_where_they_belong():
    assert {module for module in TREES if "torch" in libraries(module)} == set()
    assert {module.partition(".")[0] for module in TREES if "optax" in libraries(module)} == {"training"}
    assert {module for module in TREES if "orbax" in libraries(module)} == {"checkpoint"}
    assert {module for module in TREES if "grain" in libraries(module)} == {"data"}


@pytest.mark.parametrize(
    "modules", ["config, hifigan_jax.audio, hifigan_jax.data, hifigan_jax.recordings", "cli.train", "cli.infer"]
)
def test_jax_is_not_imported_before_it_is_needed(modules):
    program = f"import sys, hifigan_jax.{modules}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def forbidden(node):
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    options = {option.arg: option.value for option in node.keywords}
    switched_on = [options[name] for name in ("allow_pickle", "shell") if name in options]
    harmless = all(isinstance(value, ast.Constant) and value.value is False for value in switched_on)
    return not harmless or name in {"eval", "exec", "pickle.load", "pickle.loads", "os.system", "os.popen", "yaml.load"}


@pytest.mark.parametrize("module", TREES)
def test_nothing_runs_what_a_file_says(module):
    assert [ast.unparse(node) for node in ast.walk(TREES[module]) if forbidden(node)] == []


def test_the_check_for_dangerous_calls_finds_them():
    for call in (
        "eval('1')",
        "pickle.load(f)",
        "np.load(p, allow_pickle=True)",
        "subprocess.run('ls', shell=True)",
        "f(shell=x)",
    ):
        assert forbidden(ast.parse(call, mode="eval").body)
    for call in ("np.load(p, allow_pickle=False)", "pickle.Unpickler(f).load()", "jax.eval_shape(f)"):
        assert not forbidden(ast.parse(call, mode="eval").body)
