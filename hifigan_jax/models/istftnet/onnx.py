"""iSTFTNet in ONNX operators, as in generator.py. The inverse transform is a transposed convolution."""

import numpy as np

from hifigan_jax.filterbank import hann
from hifigan_jax.models.hifigan.generator import LAST_SLOPE
from hifigan_jax.models.hifigan.onnx import mean_gain, upsampled
from hifigan_jax.models.istftnet.generator import ISTFTNet, inverse_basis
from hifigan_jax.models.onnx_graph import OnnxGraph, Value


def generator(graph: OnnxGraph, module: ISTFTNet, mel: Value) -> Value:
    """Audio [B, 1, T] of a log-mel [B, M, F]."""
    x = graph.pad(graph.leaky_relu(upsampled(graph, module, mel), LAST_SLOPE), 1, 0, "reflect")
    spectrogram = graph.conv(x, "conv_post", gain=mean_gain(module))
    n_fft, hop = module.gen_istft_n_fft, module.gen_istft_hop_size
    bins = n_fft // 2 + 1
    magnitude = graph.add("Exp", graph.slice(spectrogram, 0, bins, axis=1))
    phase = graph.add("Sin", graph.slice(spectrogram, bins, 2 * bins, axis=1))
    parts = (graph.add("Mul", magnitude, graph.add(wave, phase)) for wave in ("Cos", "Sin"))
    window = hann(n_fft)
    total = _overlap_add(graph, graph.add("Concat", *parts, axis=1), inverse_basis(n_fft) * window, hop)
    shape = graph.add("Concat", np.array([1, 1]), graph.size(spectrogram, 2), axis=0)
    weight = _overlap_add(graph, graph.add("Expand", np.ones((1, 1, 1), np.float32), shape), window[None] ** 2, hop)
    return graph.add("Div", total, weight)


def _overlap_add(graph: OnnxGraph, frames: Value, basis: np.ndarray, hop: int) -> Value:
    """The sum [B, 1, (L - 1) hop] of frames [B, K, L], centered, as samples by the matrix `basis` [K, n_fft]."""
    size = basis.shape[1]
    kernel = basis.astype(np.float32)[:, None]
    return graph.add("ConvTranspose", frames, kernel, kernel_shape=[size], strides=[hop], pads=[size // 2, size // 2])
