"""Reading and writing training runs of the reference: the `g_*` and `do_*` files of one step, as dictionaries.

A run is {"generator": network, "discriminator": network, "spectral", "steps", "epoch"}. A network is {"params", "mu", "nu",
"count", "lr"}: our parameter tree, AdamW's two moments as trees of the same shape, the number of updates, and the learning rate.
`steps` is the reference's: it counts from 0 and is saved after the update, so that steps + 1 updates are done.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_jax.errors import CheckpointError, shortened
from hifigan_jax.models.discriminators.torch_names import discriminator_state_dicts, discriminator_variables
from hifigan_jax.models.hifigan.torch_names import generator_params, generator_state_dict
from hifigan_jax.weights.torch_file import read_torch_file
from hifigan_jax.weights.torch_writer import write_torch_file

Run = dict[str, Any]
_BUFFERS = ("weight_u", "weight_v")  # of spectral norm; weight norm has weight_v too, with a weight_g


def generator_files(folder: Path) -> list[Path]:
    """The `g_*` files of steps in a folder, newest first; not copies with another suffix."""
    found = [path for path in folder.glob("g_*") if re.fullmatch(r"g_\d{8,}", path.name) and path.is_file()]
    return sorted(found, key=lambda path: int(path.name[2:]), reverse=True)


def discriminator_file(generator_file: Path) -> Path | None:
    """The `do_*` file of the same step in the folder of a `g_*` file, or None."""
    path = generator_file.with_name(f"do_{generator_file.name[2:]}")
    return path if re.fullmatch(r"g_\d{8,}", generator_file.name) and path.is_file() else None


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """The pairs of (g_*, do_*) files of the same step in a folder, newest first."""
    return [(path, paired) for path in generator_files(folder) if (paired := discriminator_file(path)) is not None]


def read_run(generator_file: Path, discriminator_file: Path) -> Run:
    """The run in a pair of files, in the dtype of the files. Raises CheckpointError, naming the file."""
    state_dict = _part(generator_file, read_torch_file(generator_file), "generator")
    content = read_torch_file(discriminator_file)
    mpd, msd, optim_g, optim_d = (_part(discriminator_file, content, key) for key in ("mpd", "msd", "optim_g", "optim_d"))
    steps, epoch = (_whole_number(discriminator_file, content, key) for key in ("steps", "epoch"))
    try:
        variables = discriminator_variables(mpd, msd)
        return {
            "generator": _network(generator_params(state_dict), optim_g, _parameters(state_dict), generator_params),
            "discriminator": _network(
                variables["params"],
                optim_d,
                # The reference passes MSD's parameters to the optimizer first.
                {f"msd {name}": value for name, value in _parameters(msd).items()}
                | {f"mpd {name}": value for name, value in _parameters(mpd).items()},
                lambda tensors: discriminator_variables(_of_kind("mpd", tensors), _of_kind("msd", tensors))["params"],
            ),
            "spectral": variables["spectral"],
            "steps": steps,
            "epoch": epoch,
        }
    except CheckpointError as error:
        raise CheckpointError(f"{discriminator_file}: {error}") from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # the ways in which an unexpected dictionary can fail
        raise CheckpointError(f"{discriminator_file}: unexpected tensors: not a file of the reference") from None


def write_run(folder: Path, run: Run, betas: tuple[float, float], weight_decay: float, first_rate: float) -> tuple[Path, Path]:
    """Writes the pair of files `g_<steps>` and `do_<steps>` into `folder`; returns their paths. Raises DiskError."""
    paths = folder / f"g_{run['steps']:08d}", folder / f"do_{run['steps']:08d}"
    write_generator(paths[0], run["generator"]["params"])
    mpd, msd = discriminator_state_dicts(run["discriminator"]["params"], run["spectral"])
    options = {"betas": betas, "eps": 1e-8, "weight_decay": weight_decay, "amsgrad": False, "initial_lr": first_rate}
    content = {
        "mpd": mpd,
        "msd": msd,
        "optim_g": _optimizer(run["generator"], lambda tree: [*generator_state_dict(tree).values()], options),
        "optim_d": _optimizer(run["discriminator"], _discriminator_leaves, options),
        "steps": run["steps"],
        "epoch": run["epoch"],
    }
    write_torch_file(paths[1], content)
    return paths


def write_generator(path: Path, params: Mapping[str, Any]) -> None:
    """Writes a `g_*` file of the reference from parameters with weight norm. Raises DiskError."""
    write_torch_file(path, {"generator": generator_state_dict(params)})


def _part(path: Path, content: Any, key: str) -> dict:
    part = content.get(key) if isinstance(content, dict) else None
    if not isinstance(part, dict):
        raise CheckpointError(f"{path}: has no {key!r}: give the g_* and do_* files of one step as the reference saved them")
    return part


def _whole_number(path: Path, content: dict, key: str) -> int:
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value < 2**31:
        raise CheckpointError(f"{path}: {key!r} should be a whole number, not {shortened(value, 40)}")
    return max(value, 0)


def _parameters(state_dict: dict) -> dict[str, Any]:
    """The entries of a state_dict that the optimizer updates, in the order of the module's parameters."""
    names = {name.removeprefix("module."): value for name, value in state_dict.items()}
    spectral = {name.removesuffix("weight_orig") for name in names if name.endswith(".weight_orig")}
    buffers = {layer + buffer for layer in spectral for buffer in _BUFFERS}
    return {name: value for name, value in names.items() if name not in buffers}


def _of_kind(kind: str, entries: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(kind + " "): value for name, value in entries.items() if name.startswith(kind + " ")}


def _network(params: Any, optimizer: dict, parameters: dict[str, np.ndarray], as_tree: Callable[[dict], Any]) -> dict[str, Any]:
    groups, entries = optimizer.get("param_groups"), optimizer.get("state")
    try:
        order = [number for group in groups for number in group["params"]]
        rate = float(groups[0]["lr"])
        counts = {int(entries[number]["step"]) for number in order if number in entries}
    except (TypeError, KeyError, IndexError, ValueError):
        raise CheckpointError("an optimizer state is not AdamW's") from None
    if len(order) != len(parameters):
        raise CheckpointError(f"an optimizer state has {len(order)} tensors for {len(parameters)} parameters")
    if len(counts) > 1:
        raise CheckpointError("an optimizer state has different update counts for different tensors")
    moments = []
    for key in ("exp_avg", "exp_avg_sq"):
        by_name = {}
        for number, (name, value) in zip(order, parameters.items(), strict=True):
            moment = entries.get(number, {}).get(key, np.zeros_like(value))
            if getattr(moment, "shape", None) != value.shape:
                raise CheckpointError(f"the optimizer's {key} of {name} does not have the shape of the parameter")
            by_name[name] = moment
        moments.append(as_tree(by_name))
    return {"params": params, "mu": moments[0], "nu": moments[1], "count": max(counts, default=0), "lr": rate}


def _optimizer(network: dict[str, Any], leaves: Callable[[Any], list[np.ndarray]], options: dict[str, Any]) -> dict[str, Any]:
    moments = list(zip(leaves(network["mu"]), leaves(network["nu"]), strict=True))
    state = {i: {"step": network["count"], "exp_avg": mu, "exp_avg_sq": nu} for i, (mu, nu) in enumerate(moments)}
    return {"state": state, "param_groups": [{"lr": network["lr"], **options, "params": list(range(len(moments)))}]}


def _discriminator_leaves(tree: Any) -> list[np.ndarray]:
    mpd, msd = discriminator_state_dicts(tree)
    return [*msd.values(), *mpd.values()]
