"""Writes outputs of the public PyTorch program to golden.npz (needs torch and librosa):

    python tests/models/istftnet/make_golden.py CHECKOUT

CHECKOUT is a clone of rishikksh20/iSTFTNet-pytorch at commit 781480e. Its code runs unchanged; only shapes and numbers are
stored.
"""

import json
import pathlib
import sys
import types
import warnings

import librosa.util
import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "parity"))
from test_istftnet import GOLDEN, MEL, excerpt, weights_of  # noqa: E402

# Stubs for unneeded imports, and a wrapper for a function with an argument that became keyword-only.
sys.modules |= {name: types.ModuleType(name) for name in ("matplotlib", "matplotlib.pylab")}
sys.modules["matplotlib"].use = lambda *_: None
sys.modules["matplotlib"].pylab = sys.modules["matplotlib.pylab"]
pad_center = librosa.util.pad_center
librosa.util.pad_center = lambda data, size: pad_center(data, size=size)


class Attributes(dict):
    """A dictionary with attribute access to its keys."""

    __getattr__ = dict.__getitem__


def main(checkout: str) -> None:
    """Writes golden.npz."""
    sys.path.insert(0, checkout)
    import models
    import stft

    keys = Attributes(json.loads((pathlib.Path(checkout) / "config_v1.json").read_text(encoding="utf-8")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        generator = models.Generator(keys)
    shapes = json.dumps({name: list(value.shape) for name, value in generator.state_dict().items()})
    generator.load_state_dict({name: torch.from_numpy(value) for name, value in weights_of(shapes).items()}, strict=True)
    transform = stft.STFT(keys.gen_istft_n_fft, keys.gen_istft_hop_size, keys.gen_istft_n_fft)
    with torch.no_grad():
        audio = transform.inverse(*generator(torch.from_numpy(MEL)))[:, 0].numpy()
    np.savez_compressed(GOLDEN, shapes=np.array(shapes), audio=excerpt(audio), edges=audio[:, [0, 1, 2, 3, -4, -3, -2, -1]])


if __name__ == "__main__":
    main(*sys.argv[1:])
