"""HiFi-GAN in ONNX operators, as in generator.py.

The mean of the residual blocks is their sum here: as leaky_relu(x / n) is leaky_relu(x) / n, the next layer's kernel is divided
instead, which saves a pass over the activations.
"""

from hifigan_jax.models.hifigan.generator import LAST_SLOPE, SLOPE, HiFiGAN, ResidualUpsampling
from hifigan_jax.models.onnx_graph import OnnxGraph, Value


def generator(graph: OnnxGraph, module: HiFiGAN, mel: Value) -> Value:
    """Audio [B, 1, T] of a log-mel [B, M, F]."""
    x = upsampled(graph, module, mel)
    return graph.add("Tanh", graph.conv(graph.leaky_relu(x, LAST_SLOPE), "conv_post", gain=mean_gain(module)))


def upsampled(graph: OnnxGraph, module: ResidualUpsampling, mel: Value) -> Value:
    """The sum of the last residual blocks."""
    x, count, gain = graph.conv(mel, "conv_pre"), len(module.resblock_kernel_sizes), 1.0
    for i, rate in enumerate(module.upsample_rates):
        x = graph.conv_transpose(graph.leaky_relu(x, SLOPE), f"ups_{i}", stride=rate, gain=gain)
        total = None
        for j, dilations in enumerate(module.resblock_dilation_sizes):
            y = _resblock(graph, x, f"resblocks_{i * count + j}", module.resblock, dilations)
            total = y if total is None else graph.add("Add", total, y)
        x, gain = total, mean_gain(module)
    return x


def mean_gain(module: ResidualUpsampling) -> float:
    """What the sum of the residual blocks is to be multiplied with."""
    return 1 / len(module.resblock_kernel_sizes)


def _resblock(graph: OnnxGraph, x: Value, path: str, kind: str, dilations: tuple[int, ...]) -> Value:
    for i, dilation in enumerate(dilations):
        y = graph.leaky_relu(x, SLOPE)
        if kind == "1":
            y = graph.leaky_relu(graph.conv(y, f"{path}/convs1_{i}", dilation=dilation), SLOPE)
            y = graph.conv(y, f"{path}/convs2_{i}")
        else:
            y = graph.conv(y, f"{path}/convs_{i}", dilation=dilation)
        x = graph.add("Add", y, x)
    return x
