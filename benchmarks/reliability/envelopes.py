"""Saves one generator with torch as other projects save theirs, in 47 ways, and loads each. Needs torch.

    python benchmarks/reliability/envelopes.py

The weights must be equal, or equal to the values that the file holds, if these are rounded; where weight norm is removed, the
kernels are compared.
"""

import argparse
import collections
import pathlib
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import common
import inputs
import jax
import numpy as np
import safetensors.torch
import torch

from hifigan_jax import Vocoder
from hifigan_jax.models.hifigan.torch_names import generator_params
from hifigan_jax.models.layers import fold_norms

Tensors = dict[str, torch.Tensor]
STEPS = {"steps": 5000, "epoch": 12, "optim_g": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 2e-4, "betas": (0.8, 0.99)}]}}


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors with names that begin with `prefix`."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def renamed(tensors: Tensors, **changes: str) -> Tensors:
    """The tensors with parts of their names replaced."""
    for old, new in changes.items():
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    return tensors


def without_norm(tensors: Tensors) -> Tensors:
    """The tensors after `remove_weight_norm`."""
    plain = {name: tensor for name, tensor in tensors.items() if name.endswith("bias")}
    for name, v in tensors.items():
        if name.endswith("weight_v"):
            plain[name[:-2]] = torch._weight_norm(v, tensors[name[:-1] + "g"], 0)
    return plain


def parametrized(tensors: Tensors) -> Tensors:
    """The names of `torch.nn.utils.parametrizations.weight_norm`."""
    return renamed(tensors, weight_g="parametrizations.weight.original0", weight_v="parametrizations.weight.original1")


def views(tensors: Tensors) -> Tensors:
    """The tensors as parts of one storage."""
    flat = torch.cat([tensor.flatten() for tensor in tensors.values()])
    parts = flat.split([tensor.numel() for tensor in tensors.values()])
    return {name: part.view(tensor.shape) for (name, tensor), part in zip(tensors.items(), parts, strict=True)}


def module_state(tensors: Tensors) -> Any:
    """A state_dict of a module, with metadata."""
    state = collections.OrderedDict(tensors)
    state._metadata = collections.OrderedDict({"": {"version": 1}, "conv_pre": {"version": 1}})
    return state


def others() -> Tensors:
    """Tensors of other networks."""
    discriminator = {"discriminator.convs.0.weight": torch.ones(2, 1, 3), "discriminator.convs.0.bias": torch.ones(2)}
    return discriminator | {"mel.window": torch.hann_window(16), "discriminator.norm.num_batches_tracked": torch.tensor(3)}


SPEECHT5 = {"mean": torch.zeros(80), "scale": torch.ones(80)}
PREFIXES = (
    "module.",
    "_orig_mod.",
    "generator.",
    "model.",
    "netG.",
    "vocoder.generator.",
    "_orig_mod.module.",
    "model.generator.",
)
KEYS = ("generator", "model_g", "state_dict", "model", "model_state_dict", "netG", "params", "g", "net_g", "vocoder")

ENVELOPES: dict[str, Callable[[Tensors], Any]] = {
    "bare": lambda t: t,
    **{f"prefix {prefix}": lambda t, prefix=prefix: prefixed(prefix, t) for prefix in PREFIXES},
    **{f"key {key}": lambda t, key=key: {key: t} for key in KEYS},
    **{f"{key} among others": lambda t, key=key: {key: t} | STEPS for key in ("generator", "model", "state_dict")},
    "generator in model": lambda t: {"model": {"generator": t}} | STEPS,
    "model in generator": lambda t: {"generator": {"model": t}},
    "state_dict in generator": lambda t: {"generator": {"state_dict": t}, "discriminator": {"state_dict": others()}},
    "four levels": lambda t: {"a": {"b": {"c": {"generator": t}}}},
    "lightning": lambda t: {"state_dict": prefixed("generator.", t) | others(), "pytorch-lightning_version": "2.4.0"} | STEPS,
    "lightning, compiled": lambda t: {"state_dict": prefixed("generator._orig_mod.", t) | others()} | STEPS,
    "DDP of a compiled module": lambda t: {"generator": prefixed("module._orig_mod.", t)},
    "generator and its average": lambda t: {"generator": t, "ema": {name: tensor / 2 for name, tensor in t.items()}},
    "parametrizations": lambda t: {"generator": parametrized(t)},
    "parametrizations, DDP": lambda t: {"generator": prefixed("module.", parametrized(t))},
    "weight norm removed": lambda t: {"generator": without_norm(t)},
    "weight norm removed, bare": without_norm,
    "SpeechT5HifiGan": lambda t: renamed(t, **{"ups.": "upsampler."}) | SPEECHT5,
    "no bias at the end": lambda t: {"generator": {name: tensor for name, tensor in t.items() if name != "conv_post.bias"}},
    "half precision": lambda t: {"generator": {name: tensor.half() for name, tensor in t.items()}},
    "bfloat16": lambda t: {"generator": {name: tensor.bfloat16() for name, tensor in t.items()}},
    "double precision": lambda t: {"generator": {name: tensor.double() for name, tensor in t.items()}},
    "numpy scalars": lambda t: {"generator": t, "loss": np.float64(0.5), "steps": np.int64(3)},
    "parameters": lambda t: {"generator": {name: torch.nn.Parameter(tensor) for name, tensor in t.items()}},
    "views of one storage": lambda t: {"generator": views(t)},
    "not contiguous": lambda t: {
        "generator": {name: tensor.mT.contiguous().mT for name, tensor in t.items() if tensor.ndim == 3}
        | {name: tensor for name, tensor in t.items() if tensor.ndim < 3}
    },
    "state_dict of a module": lambda t: {"generator": module_state(t)},
}
FORMATS: dict[str, Callable[[Tensors, pathlib.Path], None]] = {
    "before PyTorch 1.6": lambda t, path: torch.save({"generator": t}, path, _use_new_zipfile_serialization=False),
    "safetensors": lambda t, path: safetensors.torch.save_file(t, path),
    "safetensors with a prefix": lambda t, path: safetensors.torch.save_file(prefixed("generator.", t), path),
}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    tensors = {name: torch.from_numpy(value) for name, value in inputs.generator_tensors(inputs.GENERATOR).items()}
    names, problems = [*ENVELOPES, *FORMATS], []
    with tempfile.TemporaryDirectory(prefix="hifigan-jax-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, name in enumerate(names):
            own = pathlib.Path(folder) / str(number)
            inputs.write_json(own / "config.json", inputs.GENERATOR)
            problems += problem_of(name, tensors, own / ("g.safetensors" if "safetensors" in name else "g.pth"))
    common.result(
        "",
        "one generator as other projects save theirs: same weights",
        f"{len(names)} of {len(names)}",
        f"{len(names) - len(problems)} of {len(names)}",
        not problems,
        problems=problems,
    )


def problem_of(name: str, tensors: Tensors, path: pathlib.Path) -> list[str]:
    """What is wrong with the weights that are loaded from an envelope."""
    if name in FORMATS:
        FORMATS[name](tensors, path)
    else:
        torch.save(ENVELOPES[name](tensors), path)
    try:
        found = Vocoder.from_pretrained(path).params
    except Exception as error:
        return [f"{name}: {type(error).__name__}: {error}"]
    rounded = {"half precision": torch.Tensor.half, "bfloat16": torch.Tensor.bfloat16}.get(name, torch.Tensor.float)
    expected = {key: rounded(tensor).float() for key, tensor in tensors.items()}
    tolerance = 1e-6 if "removed" in name else 0.0
    differences = jax.tree.map(
        lambda one, other: float(np.abs(np.asarray(one) - np.asarray(other)).max()), found, folded(expected)
    )
    largest = max(jax.tree.leaves(differences))
    return [] if largest <= tolerance else [f"{name}: differs by {largest:.2g}"]


def folded(tensors: Tensors) -> Any:
    """The kernels and biases of the generator with these tensors."""
    return jax.jit(fold_norms)(generator_params({name: tensor.numpy() for name, tensor in tensors.items()}))


if __name__ == "__main__":
    main()
