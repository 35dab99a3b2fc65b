"""HiFi-GAN in ONNX operators, as in generator.py."""

import numpy as np

from hifigan_jax.models.hifigan.generator import LAST_SLOPE, SLOPE, HiFiGAN, ResidualUpsampling
from hifigan_jax.models.onnx_graph import OnnxGraph, Value


def generator(graph: OnnxGraph, module: HiFiGAN, mel: Value) -> Value:
    """Audio [B, 1, 1, T] of a log-mel [B, M, 1, F]."""
    x = upsampled(graph, module, mel)
    return graph.add("Tanh", graph.conv(graph.leaky_relu(x, LAST_SLOPE), "conv_post"))


def upsampled(graph: OnnxGraph, module: ResidualUpsampling, mel: Value) -> Value:
    """The output of the last residual blocks."""
    x, count = graph.conv(mel, "conv_pre"), len(module.resblock_kernel_sizes)
    for i, rate in enumerate(module.upsample_rates):
        x = graph.conv_transpose(graph.leaky_relu(x, SLOPE), f"ups_{i}", stride=rate)
        total = None
        for j, dilations in enumerate(module.resblock_dilation_sizes):
            y = _resblock(graph, x, f"resblocks_{i * count + j}", module.resblock, dilations)
            total = y if total is None else graph.add("Add", total, y)
        x = graph.add("Div", total, np.array(count, np.float32)) if count > 1 else total
    return x


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
