"""Calls in the package that could run code from a file: none but the allow-list reader of pickles may be there."""

import ast
import pathlib
from collections.abc import Iterator

import hifigan_jax

PACKAGE = pathlib.Path(hifigan_jax.__file__).parent
READER = PACKAGE / "weights" / "safe_pickle.py"  # the only module that may use pickle's reader
_BUILTINS = {"eval", "exec", "compile", "__import__"}
_FUNCTIONS = {
    *(
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
        "marshal.load",
        "marshal.loads",
        "shelve.open",
        "dill.load",
        "joblib.load",
    ),
    *("yaml.load", "yaml.unsafe_load", "torch.load", "os.system", "os.popen", "runpy.run_path"),
}
_OPTIONS = {"shell": True, "allow_pickle": True, "trust_remote_code": True, "weights_only": False}


def dangerous_calls() -> list[str]:
    """One text per such call: file, line, call."""
    return [found for path in sorted(PACKAGE.rglob("*.py")) for found in _in(path)]


def _in(path: pathlib.Path) -> Iterator[str]:
    where = path.relative_to(PACKAGE.parent)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in _BUILTINS or (name in _FUNCTIONS and path != READER):
                yield f"{where}:{node.lineno}: {name}"
            for option in node.keywords:
                value = option.value.value if isinstance(option.value, ast.Constant) else None
                if option.arg in _OPTIONS and value is _OPTIONS[option.arg]:
                    yield f"{where}:{node.lineno}: {name}({option.arg}={value})"
        elif isinstance(node, ast.ImportFrom) and {f"{node.module}.{alias.name}" for alias in node.names} & _FUNCTIONS:
            yield f"{where}:{node.lineno}: from {node.module} import ..."
