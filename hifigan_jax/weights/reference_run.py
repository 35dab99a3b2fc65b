"""A training run of the reference, its `g_*` and `do_*` files of one step, as plain dictionaries and back.

A run here is {"generator": player, "discriminator": player, "spectral", "steps", "epoch"}; a player is {"params", "mu", "nu",
"count", "lr"}: parameter trees of ours, AdamW's two moments as trees of the same shape, the number of its updates, and its
learning rate. `steps` is the reference's: counted from 0 and saved after the update, so that steps + 1 updates are done.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hifigan_jax.errors import CheckpointError
from hifigan_jax.models.discriminators.torch_names import discriminator_state_dicts, discriminator_variables
from hifigan_jax.models.hifigan.torch_names import generator_params, generator_state_dict
from hifigan_jax.weights.torch_file import read_torch_file
from hifigan_jax.weights.torch_writer import write_torch_file

Run = dict[str, Any]
_BUFFERS = ("weight_u", "weight_v")  # of spectral norm; weight norm's weight_v has a weight_g beside it


def discriminator_file(generator_file: Path) -> Path | None:
    """The `do_*` file of the same step beside a `g_*` file, if there is one."""
    beside = generator_file.with_name(f"do_{generator_file.name[2:]}")
    return beside if re.fullmatch(r"g_\d{8,}", generator_file.name) and beside.is_file() else None


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """(g_*, do_*) files of the same step in a folder, newest first."""
    pairs = [(path, beside) for path in folder.glob("g_*") if (beside := discriminator_file(path)) is not None]
    return sorted(pairs, key=lambda pair: int(pair[0].name[2:]), reverse=True)


def read_run(generator_file: Path, discriminator_file: Path) -> Run:
    """The run that a pair of files holds, in the files' dtype. Raises CheckpointError, naming the file."""
    state_dict = _part(generator_file, read_torch_file(generator_file), "generator")
    content = read_torch_file(discriminator_file)
    mpd, msd, optim_g, optim_d = (_part(discriminator_file, content, key) for key in ("mpd", "msd", "optim_g", "optim_d"))
    steps, epoch = (_whole_number(discriminator_file, content, key) for key in ("steps", "epoch"))
    try:
        variables = discriminator_variables(mpd, msd)
        return {
            "generator": _player(generator_params(state_dict), optim_g, _parameters(state_dict), generator_params),
            "discriminator": _player(
                variables["params"],
                optim_d,
                # The optimizer was given MSD's parameters first.
                {f"msd {name}": value for name, value in _parameters(msd).items()}
                | {f"mpd {name}": value for name, value in _parameters(mpd).items()},
                lambda moments: discriminator_variables(_of_family("mpd", moments), _of_family("msd", moments))["params"],
            ),
            "spectral": variables["spectral"],
            "steps": steps,
            "epoch": epoch,
        }
    except CheckpointError as error:
        raise CheckpointError(f"{discriminator_file}: {error}") from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # in the many ways in which a dictionary can be odd
        raise CheckpointError(f"{discriminator_file}: tensors out of place: it is no file of the reference") from None


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
        raise CheckpointError(f"{path}: {key!r} should be a whole number, not {value!r:.40}")
    return max(value, 0)


def _parameters(state_dict: dict) -> dict[str, Any]:
    """The entries of a state_dict that the optimizer sees; a module's state_dict has them in the order of its parameters."""
    names = {name.removeprefix("module."): value for name, value in state_dict.items()}
    spectral = {name.removesuffix("weight_orig") for name in names if name.endswith(".weight_orig")}
    buffers = {layer + buffer for layer in spectral for buffer in _BUFFERS}
    return {name: value for name, value in names.items() if name not in buffers}


def _of_family(family: str, entries: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(family + " "): value for name, value in entries.items() if name.startswith(family + " ")}


def _player(params: Any, optimizer: dict, parameters: dict[str, np.ndarray], as_tree: Callable[[dict], Any]) -> dict[str, Any]:
    groups, entries = optimizer.get("param_groups"), optimizer.get("state")
    try:
        order = [number for group in groups for number in group["params"]]
        rate = float(groups[0]["lr"])
        counts = {int(entries[number]["step"]) for number in order if number in entries}
    except (TypeError, KeyError, IndexError, ValueError):
        raise CheckpointError("an optimizer's state is not AdamW's") from None
    if len(order) != len(parameters):
        raise CheckpointError(f"an optimizer of {len(order)} tensors for {len(parameters)} parameters")
    if len(counts) > 1:
        raise CheckpointError("an optimizer that has moved some tensors more often than others")
    moments = []
    for key in ("exp_avg", "exp_avg_sq"):
        of_name = {}
        for number, (name, value) in zip(order, parameters.items(), strict=True):
            moment = entries.get(number, {}).get(key, np.zeros_like(value))
            if getattr(moment, "shape", None) != value.shape:
                raise CheckpointError(f"an optimizer's {key} of {name} has another shape than the parameter")
            of_name[name] = moment
        moments.append(as_tree(of_name))
    return {"params": params, "mu": moments[0], "nu": moments[1], "count": max(counts, default=0), "lr": rate}


def _optimizer(player: dict[str, Any], leaves: Callable[[Any], list[np.ndarray]], options: dict[str, Any]) -> dict[str, Any]:
    moments = list(zip(leaves(player["mu"]), leaves(player["nu"]), strict=True))
    state = {i: {"step": player["count"], "exp_avg": mu, "exp_avg_sq": nu} for i, (mu, nu) in enumerate(moments)}
    return {"state": state, "param_groups": [{"lr": player["lr"], **options, "params": list(range(len(moments)))}]}


def _discriminator_leaves(tree: Any) -> list[np.ndarray]:
    mpd, msd = discriminator_state_dicts(tree)
    return [*msd.values(), *mpd.values()]
