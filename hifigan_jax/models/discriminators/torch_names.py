"""Names of MPD's and MSD's layers in the reference (jik876/hifi-gan): `discriminators.1.convs.0` is our mpd_1/convs_0."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hifigan_jax.models.hifigan.torch_names import in_order, name_of, path_of
from hifigan_jax.weights.state_dicts import StateDict, descend, layer_and_leaf, layer_paths, our_tensor, state_dict_of

_DIMENSIONS = {"mpd": 2, "msd": 1}


def discriminator_variables(mpd: StateDict, msd: StateDict) -> dict[str, Any]:
    """Our discriminator's variables {"params", "spectral"} from the 'mpd' and 'msd' of a `do_*` file."""
    params: dict[str, Any] = {}
    spectral: dict[str, Any] = {}
    for family, state_dict in (("mpd", mpd), ("msd", msd)):
        state_dict = {name.removeprefix("module."): value for name, value in state_dict.items()}
        for name, value in state_dict.items():
            layer, leaf = layer_and_leaf(name)
            path = path_of(layer.replace("discriminators.", family + ".", 1))
            if leaf == "u":
                descend(spectral, path)["u"] = np.asarray(value)
            elif leaf == "v" and layer + ".weight_orig" in state_dict:
                _, width, taps = state_dict[layer + ".weight_orig"].shape
                descend(spectral, path)["v"] = np.ascontiguousarray(value.reshape(width, taps).T)
            else:
                descend(params, path)[leaf] = our_tensor(leaf, value)
    return {"params": params, "spectral": spectral}


def discriminator_state_dicts(
    params: Mapping[str, Any], spectral: Mapping[str, Any] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The reference's state_dicts of MPD and MSD in their parameters' order; without `spectral`, they have no buffers."""
    found: dict[str, dict[str, np.ndarray]] = {"mpd": {}, "msd": {}}
    for path in in_order(layer_paths(params)):
        family = path[0].partition("_")[0]
        name = name_of(path).replace(family + ".", "discriminators.", 1)
        tensors = state_dict_of(params, [(path, name)], _DIMENSIONS[family])
        found[family] |= tensors
        if name + ".weight_orig" in tensors and spectral is not None:
            vectors = descend(dict(spectral), path)
            found[family][name + ".weight_u"] = np.asarray(vectors["u"])
            found[family][name + ".weight_v"] = np.asarray(vectors["v"]).T.reshape(-1)
    return found["mpd"], found["msd"]
