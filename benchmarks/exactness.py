"""Measure the rounding errors of float32 synthesis on real speech, against float64 and between the ways to run it.

    python benchmarks/exactness.py FOLDER [--checkpoint_file NAME_OR_PATH ...] [--files 3] [--frames 396] [--json FILE]

The first `--frames` frames of each recording's mel are synthesized in float64, in float32 by XLA's own convolutions, and as users
get them: alone, in windows shared with the other recordings, and streamed. For each pair it prints the largest and the root mean
square difference of a sample over all files, and the share of 16-bit samples that differ.
"""

import argparse
from pathlib import Path

from hifigan_jax import runtime

runtime.prepare()

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from hifigan_jax import Vocoder  # noqa: E402
from hifigan_jax.audio import SUFFIXES, read_audio_at  # noqa: E402
from hifigan_jax.benchmark import about, write_results  # noqa: E402
from hifigan_jax.loading import load_generator  # noqa: E402
from hifigan_jax.models import convolution, convolution_xla, layers  # noqa: E402
from hifigan_jax.models.generator import Conditions  # noqa: E402
from hifigan_jax.models.layers import fold_norms  # noqa: E402


def definition(x, kernel, *, stride=1, padding=0, dilation=1, groups=1):
    """Compute `conv1d` with XLA's own convolution."""
    return convolution_xla.conv1d(x, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)


def by_definition(generator, params, mel: np.ndarray) -> np.ndarray:
    """Return the audio of mel [1, F, M], computed with XLA's own convolutions only."""
    ours, transposed = convolution.conv1d, convolution.conv_transpose1d
    try:
        convolution.conv1d = layers.conv1d = definition
        layers.conv_transpose1d = transposed.__wrapped__  # so that it is traced again with XLA's convolutions
        program = jax.jit(generator.apply, compiler_options=runtime.without_onednn())
        program = program.lower({"params": params}, Conditions(mel)).compile()
    finally:
        convolution.conv1d = layers.conv1d = ours
        layers.conv_transpose1d = transposed
    return np.asarray(program({"params": params}, Conditions(mel)))[0]


def chunks(mel: np.ndarray, size: int) -> list[np.ndarray]:
    """Split a mel [M, F] into chunks of `size` frames."""
    return np.split(mel, range(size, mel.shape[1], size), axis=1)


def compare(name: str, paths: list[Path], frames: int) -> dict[str, dict[str, float]]:
    """Return the differences of one model, by the name of the compared pair."""
    vocoder, loaded = Vocoder.from_pretrained(name), load_generator(name, None)
    generator = loaded.config.generator.build(loaded.config.mel, folded=True)
    params = fold_norms(jax.tree.map(jnp.asarray, loaded.params))
    doubled = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
    exact = jax.jit(generator.apply)
    mels = [vocoder.mel(read_audio_at(path, vocoder.sampling_rate))[:, :frames] for path in paths]
    together = dict(vocoder.synthesize((i, vocoder.utterance_of_mel(mel.T)) for i, mel in enumerate(mels)))
    pairs = {}
    for i, mel in enumerate(mels):
        row = mel.T[None]
        ours, truth = vocoder.decode(mel), np.asarray(exact({"params": doubled}, Conditions(row.astype(np.float64))))[0]
        plain = by_definition(generator, params, row)
        streamed = {size: np.concatenate(list(vocoder.stream(chunks(mel, size)))) for size in (64, 8)}
        for label, one, other in (
            ("hifigan_jax and float64", ours, truth),
            ("XLA's own convolutions in float32 and float64", plain, truth),
            ("hifigan_jax and XLA's own convolutions in float32", ours, plain),
            ("in shared windows and alone", together[i], ours),
            *((f"streamed in chunks of {size} frames and decoded at once", audio, ours) for size, audio in streamed.items()),
        ):
            pairs.setdefault(label, []).append((one, other))
    return {label: summary(*map(np.concatenate, zip(*found, strict=True))) for label, found in pairs.items()}


def summary(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Return the largest and the RMS difference, and the share of 16-bit samples that differ."""
    difference, steps = np.abs(one - other), [np.round(audio * 32767) for audio in (one, other)]
    return {
        "largest": difference.max(),
        "rms": np.sqrt(np.mean(difference**2)),
        "16-bit samples that differ": np.mean(steps[0] != steps[1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint_file", nargs="+", default=["universal_v1"])
    parser.add_argument("--files", type=int, help="use only the first N files of FOLDER")
    parser.add_argument("--frames", type=int, default=396)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES)[: options.files]
    print(f"{len(paths)} files, up to {options.frames} frames; {about(jax.devices())}")
    results = {Path(name).stem: compare(name, paths, options.frames) for name in options.checkpoint_file}
    for name, rows in results.items():
        print(name)
        for label, figures in rows.items():
            print(f"  {label:56}" + ", ".join(f"{key} {value:.2g}" for key, value in figures.items()))
    if options.json:
        write_results(options.json, {"files": len(paths), "frames": options.frames, "results": results})


if __name__ == "__main__":
    main()
