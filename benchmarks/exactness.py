"""How far float32 synthesis lies from float64's, and from itself in other company, on real speech.

    python benchmarks/exactness.py FOLDER [--checkpoint_file NAME_OR_PATH ...] [--frames 396] [--json FILE]

The first `--frames` frames of every recording's mel are spoken in float64, by the definition in float32 (XLA's own convolutions),
and as users get it; then the same among the others' whole mels, and streamed. Shown are the largest and the root mean square
difference of a sample over all files, and of how many samples 16 bits differ.
"""

import argparse
import json
from pathlib import Path

from hifigan_jax import runtime

runtime.prepare()

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from hifigan_jax import Vocoder  # noqa: E402
from hifigan_jax.audio import SUFFIXES, read_audio_at  # noqa: E402
from hifigan_jax.benchmark import about  # noqa: E402
from hifigan_jax.loading import load_generator  # noqa: E402
from hifigan_jax.models import convolution, convolution_xla, layers  # noqa: E402
from hifigan_jax.models.generator import Conditions  # noqa: E402
from hifigan_jax.models.layers import fold_norms  # noqa: E402


def definition(x, kernel, *, stride=1, padding=0, dilation=1, groups=1):
    """`conv1d` as XLA has it."""
    return convolution_xla.conv1d(x, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)


def by_definition(generator, params, mel: np.ndarray) -> np.ndarray:
    """The audio of mel [1, F, M] by XLA's convolutions alone."""
    ours, transposed = convolution.conv1d, convolution.conv_transpose1d
    try:
        convolution.conv1d = layers.conv1d = definition
        layers.conv_transpose1d = transposed.__wrapped__  # traced anew, by the definition
        program = jax.jit(generator.apply, compiler_options=runtime.without_onednn())
        program = program.lower({"params": params}, Conditions(mel)).compile()
    finally:
        convolution.conv1d = layers.conv1d = ours
        layers.conv_transpose1d = transposed
    return np.asarray(program({"params": params}, Conditions(mel)))[0]


def chunks(mel: np.ndarray, size: int) -> list[np.ndarray]:
    """A mel [M, F] in pieces of `size` frames."""
    return np.split(mel, range(size, mel.shape[1], size), axis=1)


def compare(name: str, paths: list[Path], frames: int) -> dict[str, dict[str, float]]:
    """The differences for one model, by what is compared."""
    vocoder, loaded = Vocoder.from_pretrained(name), load_generator(name, None)
    generator = loaded.config.generator.build(loaded.config.mel, folded=True)
    params = fold_norms(jax.tree.map(jnp.asarray, loaded.params))
    doubled = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
    exact = jax.jit(generator.apply)
    whole = [vocoder.mel(read_audio_at(path, vocoder.sampling_rate)) for path in paths]
    mels = [mel[:, :frames] for mel in whole]
    together = dict(vocoder.synthesize((i, vocoder.utterance_of_mel(mel.T)) for i, mel in enumerate(mels)))
    pairs = {}
    for i, mel in enumerate(mels):
        row = mel.T[None]
        ours, truth = vocoder.decode(mel), np.asarray(exact({"params": doubled}, Conditions(row.astype(np.float64))))[0]
        plain = by_definition(generator, params, row)
        streamed = {size: np.concatenate(list(vocoder.stream(chunks(mel, size)))) for size in (64, 8)}
        for label, one, other in (
            ("ours from float64", ours, truth),
            ("the definition in float32 from float64", plain, truth),
            ("ours from the definition in float32", ours, plain),
            ("among others from alone", together[i], ours),
            *((f"streamed, {size} frames, from the whole", audio, ours) for size, audio in streamed.items()),
        ):
            pairs.setdefault(label, []).append((one, other))
    return {label: summary(*map(np.concatenate, zip(*found, strict=True))) for label, found in pairs.items()}


def summary(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Largest and RMS difference, and the share of 16-bit samples that differ."""
    difference, steps = np.abs(one - other), [np.round(audio * 32767) for audio in (one, other)]
    return {"largest": difference.max(), "rms": np.sqrt(np.mean(difference**2)), "of 16 bits": np.mean(steps[0] != steps[1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint_file", nargs="+", default=["universal_v1"])
    parser.add_argument("--frames", type=int, default=396)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    print(f"{len(paths)} files, up to {options.frames} frames; {about(jax.devices())}")
    results = {name: compare(name, paths, options.frames) for name in options.checkpoint_file}
    for name, rows in results.items():
        print(name)
        for label, figures in rows.items():
            print(f"  {label:40}" + ", ".join(f"{key} {value:.2g}" for key, value in figures.items()))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
