"""Log-mels in ONNX operators, as in mel.py."""

import numpy as np

from hifigan_jax.config import Mel
from hifigan_jax.conventions import Convention
from hifigan_jax.filterbank import analysis_window, filterbank
from hifigan_jax.models.onnx_graph import OnnxGraph, Value


def log_mel(graph: OnnxGraph, settings: Mel, audio: Value, mel: Value) -> None:
    """Adds the log-mel `mel` [B, M, F] of `audio` [B, T], F = settings.frames(T)."""
    convention = settings.convention
    x = graph.pad(graph.add("Unsqueeze", audio, np.array([1])), *convention.edges, convention.padding)
    real, imaginary = (_spectrum(graph, convention, x, wave) for wave in (np.cos, np.sin))
    power = graph.add("Add", graph.add("Mul", real, real), graph.add("Mul", imaginary, imaginary))
    magnitude = _magnitude(graph, convention, power)
    values = _compressed(graph, convention, graph.add("MatMul", _float32(filterbank(convention)), magnitude))
    dropped = convention.centered and not convention.last_frame
    graph.add("Identity", graph.slice(values, 0, -1, axis=2) if dropped else values, output=mel)


def _spectrum(graph: OnnxGraph, c: Convention, x: Value, wave: np.ufunc) -> Value:
    """Real or imaginary part of the windowed spectra [B, n_fft // 2 + 1, F] of x [B, 1, T]: a convolution.

    Its kernel, wave(2 pi k n / n_fft) times the window, has megabytes; the file contains one period of the wave and the indices,
    from which runtimes compute the kernel when they load the file.
    """
    period = _float32(wave(2 * np.pi * np.arange(c.n_fft) / c.n_fft))
    index = graph.add("Mul", np.arange(c.n_fft // 2 + 1)[:, None, None], np.arange(c.n_fft)[None, None])
    kernel = graph.add("Gather", period, graph.add("Mod", index, np.array(c.n_fft)))
    windowed = graph.add("Mul", kernel, _float32(analysis_window(c))[None, None])
    return graph.add("Conv", x, windowed, kernel_shape=[c.n_fft], strides=[c.hop_size])


def _magnitude(graph: OnnxGraph, c: Convention, power: Value) -> Value:
    if c.energy_floor:
        power = graph.add("Max", power, _float32(c.energy_floor))
    if c.epsilon:
        power = graph.add("Add", power, _float32(c.epsilon))
    return power if c.power == 2 else graph.add("Sqrt", power)


def _compressed(graph: OnnxGraph, c: Convention, mel: Value) -> Value:
    values = graph.add("Log", graph.add("Max" if c.floor_mode == "clamp" else "Add", mel, _float32(c.floor)))
    if c.log_base == "10":
        values = graph.add("Mul", values, _float32(1 / np.log(10)))
    if (c.mean, c.std) != (0, 1):
        mean, std = (_float32(np.reshape(each, (-1, 1))) for each in (c.mean, c.std))  # one for all bins, or one per bin
        values = graph.add("Div", graph.add("Sub", values, mean), std)
    return values if c.clip is None else graph.add("Clip", values, *map(_float32, c.clip))


def _float32(value: float | np.ndarray) -> np.ndarray:
    return np.asarray(value, np.float32)
