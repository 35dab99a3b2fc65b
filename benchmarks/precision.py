"""Compare synthesis in bfloat16 with float32 on real speech.

    python benchmarks/precision.py FOLDER [--checkpoint_file NAME_OR_PATH ...] [--json FILE]

The mel of every recording is synthesized in both. The results are means over the files: the signal-to-difference ratio in dB, the
largest difference of a sample, and the mean |difference| of natural-log mels, between the two and of each from the recording.
"""

import argparse
from pathlib import Path

from hifigan_jax import runtime

runtime.prepare()

import jax  # noqa: E402
import numpy as np  # noqa: E402

from hifigan_jax import Vocoder  # noqa: E402
from hifigan_jax.audio import SUFFIXES, read_audio_at  # noqa: E402
from hifigan_jax.benchmark import about, write_results  # noqa: E402


def compare(name: str, paths: list[Path]) -> dict[str, float]:
    """Return the results of one model, as means over the files."""
    float32, bfloat16 = (Vocoder.from_pretrained(name, compute_dtype=dtype) for dtype in ("float32", "bfloat16"))
    rows = []
    for path in paths:
        mel = float32.mel(read_audio_at(path, float32.sampling_rate))
        one, other = float32.decode(mel), bfloat16.decode(mel)
        mels = [float32.mel(audio) for audio in (one, other)]
        rows.append(
            {
                "snr_db": 10 * np.log10(np.sum(one**2) / np.sum((one - other) ** 2)),
                "largest": np.abs(one - other).max(),
                "mel_between": np.abs(mels[0] - mels[1]).mean(),
                "mel_float32": np.abs(mels[0] - mel).mean(),
                "mel_bfloat16": np.abs(mels[1] - mel).mean(),
            }
        )
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint_file", nargs="+", default=["universal_v1", "ljspeech_v1"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    print(f"{len(paths)} files; {about(jax.devices())}")
    results = {Path(name).stem: compare(name, paths) for name in options.checkpoint_file}
    for name, figures in results.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
    if options.json:
        write_results(options.json, {"files": len(paths), "results": results})


if __name__ == "__main__":
    main()
