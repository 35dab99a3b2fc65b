"""The reference's state_dicts (jik876/hifi-gan) as our parameter trees and back: a rename and a change of axes.

Theirs: `ups.0.weight_v` [in, out, k], `resblocks.2.convs1.0.weight_v` [out, in, k], `weight_g` [n, 1, 1]; one more 1 in MPD.
Ours: `ups_0/v`, `resblocks_2/convs1_0/v`, both [k, in, out], `g` [n].
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hifigan_jax.errors import CheckpointError

StateDict = Mapping[str, np.ndarray]

# What a kernel's parts are called: weight_norm, its successor in torch.nn.utils.parametrizations, and after its removal.
_LEAVES = {
    "weight_g": "g",
    "weight_v": "v",
    "parametrizations.weight.original0": "g",
    "parametrizations.weight.original1": "v",
    "weight_orig": "kernel",
    "weight": "kernel",
    "bias": "bias",
}
# In the reference's modules, parts stand in this order; within a layer its tensors do.
_PARTS = ("conv_pre", "ups", "resblocks", "mpd", "msd", "convs", "convs1", "convs2", "conv_post")
_TENSORS = {"bias": "bias", "g": "weight_g", "v": "weight_v", "kernel": "weight_orig"}


def generator_params(state_dict: Any) -> dict[str, Any]:
    """The tree {conv_pre, ups_i, resblocks_i, conv_post} of (v, g, bias) from a `g_*` file's 'generator'.

    Accepts either spelling of weight norm, files whose weight norm was removed (v = kernel, g = its norm) and names that
    DistributedDataParallel prefixed. Raises CheckpointError for anything that is no HiFi-GAN generator.
    """
    if not isinstance(state_dict, Mapping) or not all(
        isinstance(name, str) and isinstance(value, np.ndarray) for name, value in state_dict.items()
    ):
        raise CheckpointError("no state_dict of a generator: it should map names to tensors")
    state_dict = {name.removeprefix("module."): value for name, value in state_dict.items()}
    if "conv_pre.bias" not in state_dict or "conv_post.bias" not in state_dict:
        raise CheckpointError("no HiFi-GAN generator: its state_dict has no conv_pre and conv_post")
    params: dict[str, Any] = {}
    for name, value in state_dict.items():
        path, leaf = _path(name)
        transposed = path[0].startswith("ups_")
        try:
            _descend(params, path)[leaf] = _tensor(leaf, value, transposed)
        except ValueError:
            raise CheckpointError(f"{name}: a tensor of shape {value.shape} is out of place in a generator") from None
    return _with_norms(params)


def discriminator_variables(mpd: StateDict, msd: StateDict) -> dict[str, Any]:
    """{"params", "spectral"} of our discriminator from a `do_*` file's 'mpd' and 'msd'."""
    params: dict[str, Any] = {}
    spectral: dict[str, Any] = {}
    for family, state_dict in (("mpd", mpd), ("msd", msd)):
        state_dict = {name.removeprefix("module."): value for name, value in state_dict.items()}
        for name, value in state_dict.items():
            path, leaf = _path(name.replace("discriminators.", family + ".", 1))
            layer = name.rpartition(".")[0]
            if leaf == "weight_u":
                _descend(spectral, path)["u"] = np.asarray(value)
            elif leaf == "v" and layer + ".weight_orig" in state_dict:
                _, width, taps = state_dict[layer + ".weight_orig"].shape
                _descend(spectral, path)["v"] = np.ascontiguousarray(value.reshape(width, taps).T)
            else:
                _descend(params, path)[leaf] = _tensor(leaf, value, transposed=False)
    return {"params": params, "spectral": spectral}


def generator_state_dict(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The reference's state_dict of a generator with weight norm, in the order of its parameters."""
    return {_name(path): _torch_tensor(path, leaf) for path, leaf in _in_order(params)}


def discriminator_state_dicts(
    params: Mapping[str, Any], spectral: Mapping[str, Any] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The reference's state_dicts of MPD and MSD, in the order of their parameters; without `spectral`, no buffers."""
    families: dict[str, dict[str, np.ndarray]] = {"mpd": {}, "msd": {}}
    for path, leaf in _in_order(params):
        family = path[0].partition("_")[0]
        name = _name(("discriminators_" + path[0].partition("_")[2], *path[1:]))
        families[family][name] = _torch_tensor(path, leaf)
        if path[-1] == "kernel" and spectral is not None:
            vectors = _descend(dict(spectral), list(path[:-1]))
            layer = name.removesuffix("weight_orig")
            families[family][layer + "weight_u"] = np.asarray(vectors["u"])
            families[family][layer + "weight_v"] = np.asarray(vectors["v"]).T.reshape(-1)
    return families["mpd"], families["msd"]


def _in_order(tree: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """(path, leaf) in the order of the reference's parameters."""

    def rank(key):
        part, _, number = key.rpartition("_") if key[-1].isdigit() else (key, "", "0")
        return _PARTS.index(part), int(number)

    if any(not isinstance(child, Mapping) for child in tree.values()):
        yield from (((leaf,), np.asarray(tree[leaf])) for leaf in _TENSORS if leaf in tree)
        return
    for key in sorted(tree, key=rank):
        yield from (((key, *path), leaf) for path, leaf in _in_order(tree[key]))


def _name(path: tuple[str, ...]) -> str:
    layer = ".".join(re.sub(r"_(\d+)$", r".\1", key) for key in path[:-1])
    return f"{layer}.{_TENSORS[path[-1]]}"


def _torch_tensor(path: tuple[str, ...], value: np.ndarray) -> np.ndarray:
    """The inverse of `_tensor`."""
    trailing = (1,) if path[0].startswith("mpd_") else ()
    if path[-1] == "bias":
        return value
    if path[-1] == "g":
        value = value.reshape(-1, 1, 1)
    else:
        value = value.transpose(1, 2, 0) if path[0].startswith("ups_") else value.transpose(2, 1, 0)
    return np.ascontiguousarray(value.reshape(*value.shape, *trailing))


def _path(name: str) -> tuple[list[str], str]:
    for theirs, ours in (*_LEAVES.items(), ("weight_u", "weight_u")):
        if name.endswith("." + theirs):
            layer = re.sub(r"\.(\d+)", r"_\1", name.removesuffix("." + theirs))
            return layer.split("."), ours
    raise CheckpointError(f"unknown tensor name {name}")


def _descend(tree: dict, path: list[str]) -> dict:
    for key in path:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise CheckpointError(f"{'.'.join(path)}: both a tensor and a layer")
    return tree


def _tensor(leaf: str, value: np.ndarray, transposed: bool) -> np.ndarray:
    if leaf in ("bias", "g"):
        value = value.reshape(-1)
    else:
        value = value.reshape(value.shape[:3])  # MPD's kernels end in a 1
        value = value.transpose(2, 0, 1) if transposed else value.transpose(2, 1, 0)
    return np.ascontiguousarray(value)


def _with_norms(params: dict) -> dict:
    """Layers whose weight norm was removed get it back: any kernel is its own v, with g its norm."""
    tree = {}
    for name, node in params.items():
        if node.keys() == {"kernel", "bias"}:
            axis = (0, 2) if name.startswith("ups_") else (0, 1)
            norm = np.sqrt(np.sum(np.square(node["kernel"], dtype=np.float64), axis=axis, keepdims=True))
            v = np.where(norm == 0, node["kernel"].dtype.type(1), node["kernel"])  # any direction: its gain is 0
            tree[name] = {"v": v, "g": norm.reshape(-1).astype(v.dtype), "bias": node["bias"]}
        elif any(isinstance(child, np.ndarray) for child in node.values()):
            if node.keys() != {"v", "g", "bias"}:
                raise CheckpointError(f"layer {name} is incomplete: it has {', '.join(sorted(node))}")
            tree[name] = node
        else:
            tree[name] = _with_norms(node)
    return tree
