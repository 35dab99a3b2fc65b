"""A graph of ONNX operators as plain data, to which families and the mel add theirs; `export/onnx.py` makes a file of it.

Operators are those of opset 13. Activations are [B, C, T].
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hifigan_jax.models.edges import Mode

Value = str  # the name of a tensor
_PAD_MODES = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}


class Node(NamedTuple):
    """An operator: its type, the names of its inputs and its output, and its attributes."""

    operator: str
    inputs: tuple[Value, ...]
    output: Value
    attributes: dict[str, Any]


class OnnxGraph:
    """Operators in the order in which they are computed. Every method adds one, or a few, and returns the output's name.

    `params` are a generator's folded parameters by path: LAYER/kernel [K, C_in, C_out] and LAYER/bias.
    """

    def __init__(self, params: Mapping[str, np.ndarray] | None = None):
        self.nodes: list[Node] = []
        self.tensors: dict[Value, np.ndarray] = {}
        self._params = params or {}

    def add(self, operator: str, *inputs: Value | np.ndarray, output: Value | None = None, **attributes: Any) -> Value:
        """An operator with these inputs; arrays become constants."""
        output = output or f"{operator}_{len(self.nodes)}"
        names = tuple(each if isinstance(each, str) else self.constant(each) for each in inputs)
        self.nodes.append(Node(operator, names, output, attributes))
        return output

    def constant(self, value: np.ndarray, name: Value | None = None) -> Value:
        """A tensor that is stored in the file."""
        name = name or f"constant_{len(self.tensors)}"
        self.tensors[name] = value
        return name

    def conv(self, x: Value, layer: str, *, dilation: int = 1, padding: int | None = None, gain: float = 1.0) -> Value:
        """The `WeightNormConv` at this path of `gain` times `x`, with stride 1 and one group; `padding` None keeps the length."""
        taps, weights = self._weights(layer, (2, 1, 0), gain)
        padding = dilation * (taps - 1) // 2 if padding is None else padding
        options = dict(kernel_shape=[taps], dilations=[dilation], pads=[padding, padding])
        return self.add("Conv", x, *weights, output=f"{layer}/output", **options)

    def conv_transpose(self, x: Value, layer: str, *, stride: int, gain: float = 1.0) -> Value:
        """The `WeightNormConvTranspose` at this path of `gain` times `x`: the length times `stride`."""
        taps, weights = self._weights(layer, (1, 2, 0), gain)
        excess = taps - stride
        options = dict(kernel_shape=[taps], strides=[stride], pads=[(excess + 1) // 2, excess // 2])
        return self.add("ConvTranspose", x, *weights, output=f"{layer}/output", **options)

    def leaky_relu(self, x: Value, slope: float) -> Value:
        """max(x, 0) + slope min(x, 0)."""
        return self.add("LeakyRelu", x, alpha=slope)

    def pad(self, x: Value, before: int, after: int, mode: Mode) -> Value:
        """`x` with more positions at both ends, as in `Edges.pad`."""
        return self.add("Pad", x, np.array([0, 0, before, 0, 0, after]), mode=_PAD_MODES[mode])

    def size(self, x: Value, axis: int) -> Value:
        """The size of `x` along an axis, as an int64 tensor [1]."""
        return self.slice(self.add("Shape", x), axis, axis + 1)

    def slice(self, x: Value, start: int, stop: int | Value, axis: int = 0) -> Value:
        """`x` from `start` to `stop` along an axis."""
        return self.add("Slice", x, np.array([start]), stop if isinstance(stop, str) else np.array([stop]), np.array([axis]))

    def _weights(self, layer: str, axes: tuple[int, int, int], gain: float) -> tuple[int, tuple[Value, Value]]:
        """The number of taps, and the names of the kernel times `gain`, with its axes in this order, and the bias."""
        kernel, bias = self._params[f"{layer}/kernel"], self._params[f"{layer}/bias"]
        kernel_name = self.constant(np.float32(gain * kernel.transpose(axes)), f"{layer}/kernel")
        names = kernel_name, self.constant(bias, f"{layer}/bias")
        return kernel.shape[0], names
