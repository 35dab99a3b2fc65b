"""Stores the reference's arrays for tests without torch: python tests/parity/make_golden.py (needs the extra `parity`)."""

import json
import sys

import cases
import numpy as np
import peer
import trajectory


def main(names: list[str]) -> None:
    """Writes golden/shapes.json and golden/<case>.npz for the named cases ("trajectory" too), or all."""
    models = {name: peer.generator(config) for name, config in cases.CONFIGS.items()}
    for name in ("v1", "v1_narrow"):
        models |= dict(zip(cases.networks(name)[1:], peer.discriminators(cases.CONFIGS[name]), strict=True))
    shapes = {model: {name: list(value.shape) for name, value in module.state_dict().items()} for model, module in models.items()}
    (cases.GOLDEN / "shapes.json").write_text(json.dumps(shapes).replace('"conv_pre.bias"', '\n"conv_pre.bias"') + "\n")
    if not names or "trajectory" in names:
        trainer = peer.Trainer(trajectory.CONFIG, trajectory.weights("float64"))
        rows = [trainer.step(audio) for audio in trajectory.batches("float64")]
        np.savez_compressed(cases.GOLDEN / "trajectory.npz", **{term: [row[term] for row in rows] for term in trajectory.TERMS})
    for name in [name for name in names if name != "trajectory"] if names else cases.CASES:
        arrays = cases.CASES[name].reference()
        np.savez_compressed(cases.GOLDEN / f"{name}.npz", **cases.excerpts(arrays))
        print(name, len(arrays), "arrays")


if __name__ == "__main__":
    main(sys.argv[1:])
