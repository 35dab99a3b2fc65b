"""Weights for comparisons: any state_dict, with the same random values on every machine, without torch."""

import zlib

import numpy as np


def filled(shapes: dict[str, tuple[int, ...]], large_biases: bool = False) -> dict[str, np.ndarray]:
    """Random float64 values for each name, including gains and singular vectors, at the scale of torch's initialization.

    Large biases (0.5 to 1, of both signs) keep most activations away from the kink of the leaky ReLU.
    """
    values = {name: _values(name, tuple(shape), shapes) for name, shape in shapes.items()}
    if large_biases:
        biases = {name: value for name, value in values.items() if name.endswith("bias")}
        values |= {name: np.sign(v) * (0.5 + np.abs(v) / np.abs(v).max() / 2) for name, v in biases.items()}
    return values


def _values(name: str, shape: tuple[int, ...], shapes) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(name.encode()))  # frozen by numpy's policy, unlike newer generators
    layer, _, leaf = name.rpartition(".")
    if leaf in ("weight_u", "weight_v") and len(shape) == 1:
        vector = random.standard_normal(shape)
        return vector / np.linalg.norm(vector)
    if leaf == "weight_g":  # about the norm of its v, but not equal to it
        v = _values(layer + ".weight_v", tuple(shapes[layer + ".weight_v"]), shapes)
        norm = np.sqrt(np.sum(v**2, axis=tuple(range(1, v.ndim)), keepdims=True))
        return norm * random.uniform(0.5, 1.5, shape)
    kernel = shapes.get(layer + ".weight_v") if len(shapes.get(layer + ".weight_v", ())) > 1 else shapes[layer + ".weight_orig"]
    bound = 1 / np.sqrt(np.prod(kernel[1:]))
    return random.uniform(-bound, bound, shape)
