"""MelGAN in ONNX operators, as in generator.py."""

from hifigan_jax.models.melgan.generator import SLOPE, MelGAN
from hifigan_jax.models.onnx_graph import OnnxGraph, Value


def generator(graph: OnnxGraph, module: MelGAN, mel: Value) -> Value:
    """Audio [B, 1, T] of a log-mel [B, M, F]."""
    x = graph.conv(graph.pad(mel, 3, 3, "reflect"), "conv_pre", padding=0)
    for i, rate in enumerate(module.upsample_rates):
        x = graph.conv_transpose(graph.leaky_relu(x, SLOPE), f"ups_{i}", stride=rate)
        for j in range(module.residual_layers):
            x = _residual_layer(graph, x, f"residuals_{i * module.residual_layers + j}", 3**j)
    x = graph.pad(graph.leaky_relu(x, SLOPE), 3, 3, "reflect")
    return graph.add("Tanh", graph.conv(x, "conv_post", padding=0))


def _residual_layer(graph: OnnxGraph, x: Value, path: str, dilation: int) -> Value:
    y = graph.pad(graph.leaky_relu(x, SLOPE), dilation, dilation, "reflect")
    y = graph.leaky_relu(graph.conv(y, f"{path}/dilated", dilation=dilation, padding=0), SLOPE)
    return graph.add("Add", graph.conv(y, f"{path}/pointwise"), graph.conv(x, f"{path}/shortcut"))
