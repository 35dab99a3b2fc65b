"""Writes outputs of the two public PyTorch programs to golden.npz (needs torch):

    python tests/models/melgan/make_golden.py MELGAN_NEURIPS SEUNGWONPARK

The arguments are clones of descriptinc/melgan-neurips at commit 6488045 and seungwonpark/melgan at aca5990. Their code runs
unchanged; only shapes and numbers are stored.
"""

import importlib
import json
import pathlib
import sys

import numpy as np
import torch

sys.path.append(str(pathlib.Path(__file__).parents[2] / "parity"))
from test_melgan import AUDIO, GOLDEN, MELS, excerpt, weights_of


def imported(checkout: str, module: str):
    """A module imported from a clone."""
    sys.path.insert(0, checkout)
    try:
        return importlib.import_module(module)
    finally:
        sys.path.pop(0)


def shapes_of(module: torch.nn.Module) -> str:
    """The names and shapes of a module's state_dict as JSON."""
    return json.dumps({name: list(value.shape) for name, value in module.state_dict().items()})


def loaded(module: torch.nn.Module) -> torch.nn.Module:
    """The module with the comparison's weights."""
    weights = weights_of(shapes_of(module))
    module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()}, strict=True)
    return module


def main(neurips: str, seungwonpark: str) -> None:
    """Writes golden.npz."""
    original, other = imported(neurips, "mel2wav.modules"), imported(seungwonpark, "model.generator")
    scales = imported(seungwonpark, "model.multiscale")
    modules = {
        "neurips generator": original.Generator(80, 32, 3),
        "neurips discriminator": original.Discriminator(3, 16, 4, 4),
        "seungwonpark generator": other.Generator(80),
        "seungwonpark discriminator": scales.MultiScaleDiscriminator(),
    }
    stored = {f"{name} shapes": np.array(shapes_of(module)) for name, module in modules.items()}
    with torch.no_grad():
        for name, module in modules.items():
            loaded(module)
            if name.endswith("generator"):
                stored[name] = excerpt(name, module(torch.from_numpy(MELS[name]))[:, 0].numpy())
                continue
            for scale, found in enumerate(module(torch.from_numpy(AUDIO)[:, None])):
                maps, score = (found[:-1], found[-1]) if name.startswith("neurips") else found
                for layer, array in enumerate([*maps, score]):
                    key = f"{name} {scale} {layer}"
                    stored[key] = excerpt(key, array.numpy().transpose(0, 2, 1))
    np.savez_compressed(GOLDEN, **stored)


if __name__ == "__main__":
    main(*sys.argv[1:])
