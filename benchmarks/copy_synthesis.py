"""Copy-synthesis by the named models: mel L1 of every recording in a folder against what was spoken from its mel.

    python benchmarks/copy_synthesis.py FOLDER [--checkpoint_file NAME_OR_PATH ...] [--json FILE]

The audio is cut to whole frames, spoken, clipped and rounded to 16 bits; the figure is the mean |difference| of the
natural-log mels (80 bins, to the model's fmax), averaged over files.
"""

import argparse
import json
import platform
from pathlib import Path

import jax
import numpy as np

from hifigan_jax import Vocoder
from hifigan_jax.audio import SUFFIXES, read_audio_at


def mel_errors(vocoder: Vocoder, paths: list[Path]) -> dict[str, float]:
    """Mel L1 by file name."""
    errors = {}
    for path in paths:
        audio = read_audio_at(path, vocoder.sampling_rate)
        audio = audio[: audio.size // vocoder.hop_size * vocoder.hop_size]
        mel = vocoder.mel(audio)
        spoken = np.clip(vocoder.decode(mel) * 32768, -32768, 32767).astype(np.int16) / np.float32(32768)
        errors[path.stem] = float(np.abs(vocoder.mel(spoken) - mel).mean())
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint_file", nargs="+", default=["universal_v1", "ljspeech_v1"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    device = f"{jax.devices()[0].device_kind}, jax {jax.__version__}, float32, Python {platform.python_version()}"
    print(f"{len(paths)} files; {device}")
    results = {name: mel_errors(Vocoder.from_pretrained(name), paths) for name in options.checkpoint_file}
    for name, errors in results.items():
        print(f"{name:24} mel L1 {np.mean(list(errors.values())):.4f}")
    if options.json:
        options.json.write_text(json.dumps({"device": device, "mel_l1": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
