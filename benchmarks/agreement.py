"""Measure how many 16-bit samples agree with the reference in torch, on real speech with official weights.

    python benchmarks/agreement.py FOLDER [--checkpoint_file NAME_OR_PTH ...] [--files 3] [--json FILE]

Two samples agree if they are at most one step of 16 bits apart. Compared are hifigan_jax and torch from the same mel; the two
from recordings, each with its own mel; and torch in float32 and in float64, from recordings. Needs the extra `parity`.
"""

import argparse
import sys
from pathlib import Path

from hifigan_jax import runtime

runtime.prepare()

import jax  # noqa: E402
import numpy as np  # noqa: E402

from hifigan_jax import Vocoder  # noqa: E402
from hifigan_jax.audio import SUFFIXES, read_audio_at  # noqa: E402
from hifigan_jax.benchmark import about, write_results  # noqa: E402
from hifigan_jax.weights.pretrained import PRETRAINED, pretrained_file  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "parity"))


def compare(name: str, paths: list[Path]) -> dict[str, float]:
    """Return the share of samples that agree, over all files, by what is compared."""
    import torch

    vocoder = Vocoder.from_pretrained(name)
    file = pretrained_file(name) if name in PRETRAINED else name
    weights = torch.load(file, map_location="cpu", weights_only=True)["generator"]
    agree: dict[str, list[np.ndarray]] = {}
    for path in paths:
        samples = read_audio_at(path, vocoder.sampling_rate)
        mel = vocoder.mel(samples)
        ours, same_mel = vocoder.decode(mel), in_torch(vocoder, weights, mel=mel)
        theirs = in_torch(vocoder, weights, samples)
        exact = in_torch(vocoder, weights, samples.astype(np.float64))
        for pair, one, other in (
            ("same mel", ours, same_mel),
            ("from recordings", ours, theirs),
            ("torch float32 and float64", theirs, exact),
        ):
            agree.setdefault(pair, []).append(np.abs(as_int16(one) - as_int16(other)) <= 1)
    return {pair: float(np.concatenate(found).mean()) for pair, found in agree.items()}


def in_torch(vocoder: Vocoder, weights: dict, samples: np.ndarray | None = None, mel: np.ndarray | None = None) -> np.ndarray:
    """Return the reference's audio of a recording [T], in its dtype, or of a mel (M, F)."""
    import peer
    import torch

    if mel is None:
        mel = peer.log_mel(torch.from_numpy(samples)[None], vocoder.config, vocoder.config.mel.fmax)[0].numpy()
    arrays = {key: value.numpy().astype(mel.dtype) for key, value in weights.items()}
    return peer.audio(vocoder.config, arrays, mel.T[None])[0]


def as_int16(audio: np.ndarray) -> np.ndarray:
    """Return 16-bit samples, as they are written to a file."""
    return np.clip(audio * 32768, -32768, 32767).astype(np.int16).astype(int)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint_file", nargs="+", default=["universal_v1"])
    parser.add_argument("--files", type=int, help="use only the first N files of FOLDER")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES)[: options.files]
    import torch

    print(f"{len(paths)} files; {about(jax.devices())}, torch {torch.__version__}")
    results = {Path(name).stem: compare(name, paths) for name in options.checkpoint_file}
    for name, shares in results.items():
        print(f"{name}: " + ", ".join(f"{pair} {share:.2%}" for pair, share in shares.items()))
    if options.json:
        write_results(options.json, {"versions": {"torch": torch.__version__}, "files": len(paths), "results": results})


if __name__ == "__main__":
    main()
