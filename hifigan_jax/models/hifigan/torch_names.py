"""HiFi-GAN's layers as the reference (jik876/hifi-gan) calls them: `resblocks.2.convs1.0`, ours at resblocks_2/convs1_0."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hifigan_jax.errors import CheckpointError
from hifigan_jax.weights.state_dicts import Path, checked, layer_paths, params_of, state_dict_of

# In the reference's modules, parts stand in this order.
_PARTS = ("conv_pre", "ups", "resblocks", "mpd", "msd", "convs", "convs1", "convs2", "conv_post")


def generator_params(state_dict: Any) -> dict[str, Any]:
    """The tree {conv_pre, ups_i, resblocks_i, conv_post} of (v, g, bias) from a `g_*` file's 'generator'.

    Raises CheckpointError for anything that is no HiFi-GAN generator.
    """
    state_dict = checked(state_dict)
    if "conv_pre.bias" not in state_dict or "conv_post.bias" not in state_dict:
        raise CheckpointError("no HiFi-GAN generator: its state_dict has no conv_pre and conv_post")
    return params_of(state_dict, path_of)


def generator_state_dict(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The reference's state_dict of a generator with weight norm, in the order of its parameters."""
    return state_dict_of(params, ((path, name_of(path)) for path in in_order(layer_paths(params))))


def path_of(layer: str) -> Path:
    """Where a layer of the reference's name lies."""
    return tuple(re.sub(r"\.(\d+)", r"_\1", layer).split("."))


def name_of(path: Path) -> str:
    """The inverse of `path_of`."""
    return ".".join(re.sub(r"_(\d+)$", r".\1", key) for key in path)


def in_order(paths: list[Path]) -> list[Path]:
    """Paths in the order of the reference's modules."""

    def rank(key: str) -> tuple[int, int]:
        part, _, number = key.rpartition("_") if key[-1].isdigit() else (key, "", "0")
        return _PARTS.index(part), int(number)

    return sorted(paths, key=lambda path: [rank(key) for key in path])
