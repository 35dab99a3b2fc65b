"""Allowed imports: a module imports only from its own layer and those below it."""

import ast
import fnmatch
import graphlib
import pathlib
import subprocess
import sys

import pytest

import hifigan_jax
from hifigan_jax import config

PACKAGE = pathlib.Path(hifigan_jax.__file__).parent

# From the lowest to the highest. A module belongs to the first layer with a matching pattern.
LAYERS = {
    "values": [
        *("errors", "faults", "conventions", "filterbank", "files", "folders", "printing", "audio", "wav_header", "losses"),
        *("machine", "platforms", "runtime", "trees", "web"),
        *("config", "config.sections", "models", "models.convolution*"),
    ],
    "parts": [
        *("mel", "mel_file", "mel_conversion", "mel_guard", "mel_pairs"),
        *("file_lists", "file_index", "recordings", "set_aside", "data"),
        *("config.*", "models.*", "weights", "weights.*"),
    ],
    "assembly": [
        *("manifest", "processes", "checkpoint", "run_checkpoints", "loading", "generator_file", "flops"),
        # Metrics are below training, which may measure them in validation.
        *("evaluation.metric", "evaluation.metrics", "evaluation.metrics.*", "evaluation.registry", "evaluation.provenance"),
        *("evaluation.spectra", "evaluation.world", "evaluation.seeds", "evaluation.torchaudio"),
    ],
    "behavior": [
        *("synthesis", "synthesis.*", "training", "training.*", "export", "export.*", "convert", "publish", "benchmark"),
    ],
    "evaluation": ["evaluation", "evaluation.*", "inspection", "inspection.*"],
    "programs": ["", "cli", "cli.*"],
}
WITHOUT_JAX = [
    "errors",
    "faults",
    "conventions",
    "filterbank",
    "files",
    "folders",
    "file_lists",
    "audio",
    "wav_header",
    "losses",
    "machine",
    "platforms",
    "recordings",
    "data",
]
WITHOUT_JAX += ["mel_file", "mel_conversion", "mel_guard", "mel_pairs", "set_aside"]
WITHOUT_JAX += ["config", "config.*", "models.registry", "models.family", "models.*config", "models.*torch_names"]
WITHOUT_JAX += ["synthesis", "synthesis.folder", "synthesis.targets"]
WITHOUT_JAX += ["weights.*", "evaluation", "evaluation.*", "training.validation_metrics"]
WITHOUT_JAX += ["training.cluster", "training.run_lock", "training.stop", "file_index", "printing", "inspection", "inspection.*"]


def module_name(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


TREES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def matches(module, patterns):
    return any(fnmatch.fnmatchcase(module, pattern) for pattern in patterns)


def level(module):
    return next(i for i, patterns in enumerate(LAYERS.values()) if matches(module, patterns))


def imports(tree):
    """All imports, also inside functions: `from a.b import c` counts as a.b and a.b.c, as c may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


# The package `config` imports its names lazily; they count as imports of their submodules.
SUBMODULES = {f"config.{name}": f"config.{module}" for module, names in config._SUBMODULES.items() for name in names}


def own_imports(module):
    found = {name for name in imports(TREES[module]) if name.startswith("hifigan_jax")}
    names = {name.removeprefix("hifigan_jax").removeprefix(".") for name in found}
    return ({SUBMODULES.get(name, name) for name in names} & TREES.keys()) - {"", module}


def libraries(module):
    return {name.partition(".")[0] for name in imports(TREES[module])}


def modules_like(*patterns):
    found = [module for module in TREES if matches(module, patterns)]
    assert found, patterns
    return found


@pytest.mark.parametrize("module", TREES)
def test_every_module_has_a_layer(module):
    assert any(matches(module, patterns) for patterns in LAYERS.values())


def test_every_pattern_matches_a_module():
    for pattern in (*(pattern for patterns in LAYERS.values() for pattern in patterns), *WITHOUT_JAX):
        assert modules_like(pattern)


@pytest.mark.parametrize("module", TREES)
def test_a_module_imports_from_its_own_layer_and_below(module):
    assert {name for name in own_imports(module) if level(name) > level(module)} == set()


def test_there_are_no_import_cycles():
    graphlib.TopologicalSorter({module: own_imports(module) for module in TREES}).prepare()


def test_lazy_imports_of_config_count_as_imports_of_its_submodules():
    assert {"config.flat", "config.files"} <= own_imports("checkpoint")
    assert SUBMODULES["config.Config"] == "config.flat"


def test_models_import_only_sections_and_losses_import_nothing():
    for module in modules_like("models.*"):
        assert {name for name in own_imports(module) if name.startswith("config")} <= {"config.sections"}
    assert own_imports("losses") == own_imports("conventions") == set()


def test_weights_do_not_import_models():
    for module in modules_like("weights.*", "models.*torch_names"):
        own = {name for name in own_imports(module) if not matches(name, ["weights.*", "models.*torch_names"])}
        assert own <= {"errors", "files"}
        assert libraries(module).isdisjoint({"jax", "flax", "optax"})


def test_libraries_are_imported_only_where_they_belong():
    assert {module for module in TREES if "torch" in libraries(module)} <= set(modules_like("evaluation.metrics.*"))
    assert {module.partition(".")[0] for module in TREES if "optax" in libraries(module)} == {"training"}
    assert {module for module in TREES if "orbax" in libraries(module)} == {"checkpoint"}
    assert {module for module in TREES if "huggingface_hub" in libraries(module)} == {"weights.hub"}
    assert {module for module in TREES if "grain" in libraries(module)} == {"data"}
    assert {module for module in TREES if "onnx" in libraries(module)} == {"export.onnx"}


def imported_with(statements):
    """Which of jax and flax a new process has imported after these statements."""
    program = f"import sys\n{statements}\nprint(*sorted({{'jax', 'flax'}} & sys.modules.keys()))"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


def test_configurations_are_loaded_without_jax():
    program = "from hifigan_jax.config import *\nload_config(packaged_config('config_v1')).flat()"
    assert imported_with(program) == []
    assert imported_with("\n".join(f"import hifigan_jax.{module}" for module in modules_like(*WITHOUT_JAX))) == []
    assert imported_with("import hifigan_jax.mel") == ["jax"]  # so that the check can fail


@pytest.mark.parametrize(
    "program", ["train", "infer", "convert", "export", "benchmark", "evaluate", "table", "report", "inspect"]
)
def test_importing_a_program_does_not_import_jax(program):
    assert imported_with(f"import hifigan_jax.cli.{program}") == []


def forbidden(node):
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    options = {option.arg: option.value for option in node.keywords}
    switched_on = [options[name] for name in ("allow_pickle", "shell") if name in options]
    harmless = all(isinstance(value, ast.Constant) and value.value is False for value in switched_on)
    return not harmless or name in {"eval", "exec", "pickle.load", "pickle.loads", "os.system", "os.popen", "yaml.load"}


@pytest.mark.parametrize("module", TREES)
def test_no_module_executes_the_contents_of_files(module):
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
