"""Conversion of state_dicts of weight-normed convolutions between PyTorch and our parameter trees: names and axis order.

PyTorch: `LAYER.weight_v` [out, in, k] ([in, out, k] if transposed), `LAYER.weight_g` [n, 1, 1], `LAYER.bias`; a 2-D kernel has
another axis of size 1. Ours: {"v" [k, in, out], "g" [n], "bias"} at a path in a tree; transposed convolutions are named ups_*.
Each family maps its own layer names.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from hifigan_jax.errors import CheckpointError

StateDict = Mapping[str, np.ndarray]
Path = tuple[str, ...]

# PyTorch's names -> ours: weight_norm in torch.nn.utils.parametrizations and before, spectral norm, and plain weights.
_LEAVES = {
    "parametrizations.weight.original0": "g",
    "parametrizations.weight.original1": "v",
    "weight_g": "g",
    "weight_v": "v",
    "weight_orig": "kernel",
    "weight_u": "u",
    "weight": "kernel",
    "bias": "bias",
}
_TENSORS = {"bias": "bias", "g": "weight_g", "v": "weight_v", "kernel": "weight_orig"}  # in PyTorch's order


def checked(state_dict: Any) -> dict[str, np.ndarray]:
    """Returns a state_dict without the prefix of DistributedDataParallel. Raises CheckpointError for anything else."""
    if not isinstance(state_dict, Mapping) or not all(
        isinstance(name, str) and isinstance(value, np.ndarray) for name, value in state_dict.items()
    ):
        raise CheckpointError("not a state_dict, which maps names to tensors")
    return {name.removeprefix("module."): value for name, value in state_dict.items()}


def layer_and_leaf(name: str) -> tuple[str, str]:
    """Splits a tensor name into layer and leaf: "ups.0.weight_v" -> ("ups.0", "v"). Raises CheckpointError."""
    for suffix, leaf in _LEAVES.items():
        if name.endswith("." + suffix):
            return name.removesuffix("." + suffix), leaf
    raise CheckpointError(f"unknown tensor name {name}")


def params_of(state_dict: StateDict, path_of: Callable[[str], Path]) -> dict[str, Any]:
    """The tree of (v, g, bias); `path_of` maps a PyTorch layer name to its path in the tree.

    Accepts both spellings of weight norm and files whose weight norm was removed (v = kernel, g = its norm). Raises
    CheckpointError for tensors of unexpected name or shape.
    """
    params: dict[str, Any] = {}
    for name, value in state_dict.items():
        layer, leaf = layer_and_leaf(name)
        path = path_of(layer)
        try:
            descend(params, path)[leaf] = our_tensor(leaf, value, path[0].startswith("ups_"))
        except ValueError:
            raise CheckpointError(f"{name}: unexpected shape {value.shape}") from None
    return _with_norms(params)


def state_dict_of(params: Mapping[str, Any], layers: Iterable[tuple[Path, str]], dimensions: int = 1) -> dict[str, np.ndarray]:
    """The tensors of `layers`, (path, PyTorch name) of `dimensions`-dimensional convolutions, in this order."""
    found = {}
    for path, name in layers:
        leaves = descend(dict(params), path)
        transposed = path[0].startswith("ups_")
        for leaf, tensor in _TENSORS.items():
            if leaf in leaves:
                found[f"{name}.{tensor}"] = _torch_tensor(leaf, np.asarray(leaves[leaf]), transposed, dimensions)
    return found


def layer_paths(tree: Mapping[str, Any]) -> list[Path]:
    """The paths of all layers in a tree of parameters."""
    if any(not isinstance(child, Mapping) for child in tree.values()):
        return [()]
    return [(key, *path) for key, child in tree.items() for path in layer_paths(child)]


def descend(tree: dict, path: Iterable[str]) -> dict:
    """The subtree at `path`, created if it is missing. Raises CheckpointError if the path contains a tensor."""
    for key in path:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise CheckpointError(f"{'.'.join(path)}: both a tensor and a layer")
    return tree


def our_tensor(leaf: str, value: np.ndarray, transposed: bool = False) -> np.ndarray:
    """A PyTorch tensor in our layout. Raises ValueError for a shape that such a tensor cannot have."""
    if leaf in ("bias", "g"):
        value = value.reshape(-1)
    else:
        value = value.reshape(value.shape[:3])  # 2-D kernels end in a 1
        value = value.transpose(2, 0, 1) if transposed else value.transpose(2, 1, 0)
    return np.ascontiguousarray(value)


def _torch_tensor(leaf: str, value: np.ndarray, transposed: bool, dimensions: int) -> np.ndarray:
    match leaf:
        case "bias":
            return value
        case "g":
            value = value.reshape(-1, 1, 1)
        case _:
            value = value.transpose(1, 2, 0) if transposed else value.transpose(2, 1, 0)
    return np.ascontiguousarray(value.reshape(*value.shape, *[1] * (dimensions - 1)))


def _with_norms(params: dict) -> dict:
    """Restores weight norm where it was removed: v is the kernel and g its norm."""
    tree = {}
    for name, node in params.items():
        if node.keys() == {"kernel", "bias"}:
            axis = (0, 2) if name.startswith("ups_") else (0, 1)
            norm = np.sqrt(np.sum(np.square(node["kernel"], dtype=np.float64), axis=axis, keepdims=True))
            v = np.where(norm == 0, node["kernel"].dtype.type(1), node["kernel"])  # the direction of a zero kernel is arbitrary
            tree[name] = {"v": v, "g": norm.reshape(-1).astype(v.dtype), "bias": node["bias"]}
        elif any(isinstance(child, np.ndarray) for child in node.values()):
            if node.keys() != {"v", "g", "bias"}:
                raise CheckpointError(f"layer {name} is incomplete: it has {', '.join(sorted(node))}")
            tree[name] = node
        else:
            tree[name] = _with_norms(node)
    return tree
