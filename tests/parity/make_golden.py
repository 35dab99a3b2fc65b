"""Keeps the reference's arrays for where there is no torch: python tests/parity/make_golden.py (needs the extra `parity`)."""

import json
import sys

import cases
import numpy as np
import peer


def main(names: list[str]) -> None:
    """Writes golden/shapes.json and golden/<case>.npz for the named cases, or all."""
    models = {name: peer.generator(config) for name, config in cases.CONFIGS.items()}
    models |= dict(zip(("mpd", "msd"), peer.discriminators(), strict=True))
    shapes = {model: {name: list(value.shape) for name, value in module.state_dict().items()} for model, module in models.items()}
    (cases.GOLDEN / "shapes.json").write_text(json.dumps(shapes).replace('"conv_pre.bias"', '\n"conv_pre.bias"') + "\n")
    for name in names or cases.CASES:
        arrays = cases.CASES[name].reference()
        np.savez_compressed(cases.GOLDEN / f"{name}.npz", **cases.excerpts(arrays))
        print(name, len(arrays), "arrays")


if __name__ == "__main__":
    main(sys.argv[1:])
