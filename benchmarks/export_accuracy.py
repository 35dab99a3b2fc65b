"""How far exported generators are from Vocoder.decode: the part of export.py that needs no quiet machine.

Every function returns figures by model. Full scale is 1. tests/export/ has bars for these figures.
"""

import contextlib
import importlib.metadata
import importlib.util
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

from hifigan_jax import audio
from hifigan_jax.config import Config, load_config, packaged_config
from hifigan_jax.export.demo.runtime import VERSION as ONNXRUNTIME_WEB
from hifigan_jax.export.source import folded
from hifigan_jax.export.stablehlo import PROGRAM, export_stablehlo, generate_of
from hifigan_jax.generator_file import Generator
from hifigan_jax.loading import load_generator
from hifigan_jax.models import convolution_cpu, convolution_xla
from hifigan_jax.synthesis import Vocoder

sys.path.append(str(Path(__file__).parent.parent / "tests" / "export"))
import peers

MODELS = ("config_v1", "config_v2", "config_v3", "melgan", "istftnet")
FRAMES, ROWS = (1, 2, 13, 100, 2000), (1, 3)
LOUD = 100  # frames from which the rms of the audio is at least 0.05
PAGE_SECONDS = 3
Figures = dict[str, Any]


def accuracy(checkpoints: Sequence[str], recordings: Sequence[Path]) -> dict[str, Figures]:
    """All figures. What needs a package or a program that is missing here is left out, with a message."""
    generators = {Path(name).name.partition(".")[0]: load_generator(name) for name in checkpoints}
    figures = {
        "ONNX Runtime, random weights": {name: onnx_with_random_weights(_config(name)) for name in MODELS},
        "ONNX Runtime, speech": {name: onnx_on_speech(generator, recordings) for name, generator in generators.items()},
        "StableHLO, random weights": {name: stablehlo(_config(name)) for name in MODELS},
    }
    if importlib.util.find_spec("sherpa_onnx") is None:
        print("sherpa-onnx: left out: pip install sherpa-onnx")
    else:
        figures["sherpa-onnx, speech"] = {name: sherpa(generator, recordings[0]) for name, generator in generators.items()}
    smallest = min(generators, key=lambda name: sum(leaf.size for leaf in jax.tree.leaves(generators[name].params)))
    if page := in_chromium(generators[smallest], recordings[0]):
        figures["Chromium, speech"] = {smallest: page}
    return figures


def versions() -> dict[str, str]:
    """The versions of the runtimes that are installed here."""
    found = {"onnxruntime-web": ONNXRUNTIME_WEB}
    for package in ("onnx", "onnxruntime", "sherpa-onnx"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def onnx_with_random_weights(config: Config) -> Figures:
    """The largest difference in ONNX Runtime for every number of frames and utterances, and the rms of the audio."""
    mels = np.random.default_rng(0).normal(-4, 2, (max(ROWS), config.mel.num_mels, max(FRAMES))).astype(np.float32)
    vocoder, generator = peers.loud(config, mels[0, :, :LOUD])
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        run = peers.in_onnx_runtime(generator, Path(folder) / "generator.onnx")
        for rows, frames in ((rows, frames) for rows in ROWS for frames in FRAMES):
            mel = mels[:rows, :, :frames]
            expected = vocoder.decode(mel, force=True)
            figures[f"{rows} x {frames} frames"] = _difference(run(mel), expected) | {"audio_rms": peers.rms(expected)}
    return figures


def onnx_on_speech(generator: Generator, recordings: Sequence[Path]) -> Figures:
    """The difference in ONNX Runtime over all recordings with float32 and with float16 kernels."""
    vocoder = Vocoder(generator.config, generator.params)
    mels = [vocoder.mel(audio.read_audio_at(path, vocoder.sampling_rate)) for path in recordings]
    expected = [vocoder.decode(mel) for mel in mels]
    figures: Figures = {"recordings": len(mels), "seconds": sum(map(len, expected)) / vocoder.sampling_rate}
    for precision in ("float32", "float16"):
        with tempfile.TemporaryDirectory() as folder:
            run = peers.in_onnx_runtime(generator, Path(folder) / "generator.onnx", precision)
            found = [run(mel[None])[0] for mel in mels]
        figures[precision] = _difference(np.concatenate(found), np.concatenate(expected))
    return figures | {"audio_rms": peers.rms(np.concatenate(expected))}


def stablehlo(config: Config) -> Figures:
    """An artifact in a process without this package: how many samples differ from those of the same function compiled here, the
    difference from `decode`, and the custom calls in the program for all platforms."""
    draws = np.random.default_rng(0)
    shapes = {"short": (1, 1), "batch": (3, 13), "long": (1, LOUD)}  # utterances, frames
    mels = {
        name: draws.normal(-4, 2, (rows, config.mel.num_mels, frames)).astype(np.float32)
        for name, (rows, frames) in shapes.items()
    }
    vocoder, generator = peers.loud(config, mels["long"][0])
    with tempfile.TemporaryDirectory() as folder:
        artifact = Path(folder) / "artifact"
        export_stablehlo(generator, artifact)
        found = peers.in_fresh_process(artifact, mels, Path(folder))
        program = jax.export.deserialize((artifact / PROGRAM).read_bytes()).mlir_module()
    # An artifact has the convolutions for all platforms.
    with mock.patch.object(convolution_cpu, "conv1d", convolution_xla.conv1d):
        jitted, weights = jax.jit(generate_of(config)), folded(generator.params)
        same = {name: np.asarray(jitted(weights, mel)) for name, mel in mels.items()}
    decoded = {name: vocoder.decode(mel, force=True) for name, mel in mels.items()}
    return {
        "samples_that_differ": int(sum((found[name] != same[name]).sum() for name in mels)),
        "largest": max(_difference(found[name], decoded[name])["largest"] for name in mels),
        "audio_rms": peers.rms(decoded["long"]),
        "custom_calls": sorted(set(re.findall(r"custom_call @(\w+)", program))),
    }


def sherpa(generator: Generator, recording: Path) -> Figures:
    """The difference in sherpa-onnx for one recording."""
    vocoder = Vocoder(generator.config, generator.params)
    mel = vocoder.mel(audio.read_audio_at(recording, vocoder.sampling_rate))
    with tempfile.TemporaryDirectory() as folder:
        found, rate = peers.in_sherpa(generator, mel, Path(folder))
    assert rate == vocoder.sampling_rate
    return _difference(found, vocoder.decode(mel))


def in_chromium(generator: Generator, recording: Path) -> Figures | None:
    """The difference on the page in Chromium for the start of one recording, and its messages on the console."""
    import chromium

    from hifigan_jax.export.demo import write_demo

    missing = [what for what, is_missing in chromium.MISSING.items() if is_missing]
    package = None if missing else chromium.onnxruntime_web()
    if package is None:
        print(f"Chromium: left out: needs {', '.join(missing) or 'npm, or ONNXRUNTIME_WEB'}")
        return None
    vocoder = Vocoder(generator.config, generator.params)
    with tempfile.TemporaryDirectory() as folder:
        speech, site = Path(folder) / "speech.wav", Path(folder) / "site"
        samples = audio.read_audio_at(recording, vocoder.sampling_rate)[: PAGE_SECONDS * vocoder.sampling_rate]
        audio.write_wav(speech, samples, vocoder.sampling_rate)
        write_demo(generator, site, "demo", runtime_folder=package)
        found, console = _resynthesis(site, speech, Path(folder) / "profile")
        expected = vocoder.decode(vocoder.mel(audio.read_audio_at(speech, vocoder.sampling_rate)))
    return _difference(found, expected) | {"audio_rms": peers.rms(found), "console": console}


def _resynthesis(site: Path, speech: Path, profile: Path) -> tuple[np.ndarray, list[str]]:
    import chromium

    driver = chromium.started(profile)
    try:
        with chromium.served(site) as address:
            driver.get(address)
            driver.execute_script(chromium.LISTEN)
            chromium.use(driver, speech)
            return chromium.result(driver), [entry["message"] for entry in driver.get_log("browser")]
    finally:
        driver.quit()


def _config(name: str) -> Config:
    return load_config(packaged_config(name))


def _difference(found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    assert found.shape == expected.shape, (found.shape, expected.shape)
    difference = found.astype(np.float64) - expected
    return {"largest": float(np.abs(difference).max()), "rms": peers.rms(difference)}
