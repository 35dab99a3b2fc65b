"""Measure copy-synthesis quality: the mel L1 between recordings and the audio synthesized from their mels.

    python benchmarks/copy_synthesis.py FOLDER [--checkpoint_file NAME_OR_PATH ...] [--json FILE]

The synthesized audio is clipped and rounded to 16 bits. The result is the mean |difference| of the natural-log mels (80 bins, up
to the model's fmax), averaged over the files in FOLDER.
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


def mel_errors(vocoder: Vocoder, paths: list[Path]) -> dict[str, float]:
    """Return the mel L1 of each file, by name."""
    errors = {}
    for path in paths:
        audio = read_audio_at(path, vocoder.sampling_rate)
        audio = audio[: audio.size // vocoder.hop_size * vocoder.hop_size]
        mel = vocoder.mel(audio)
        generated = np.clip(vocoder.decode(mel) * 32768, -32768, 32767).astype(np.int16) / np.float32(32768)
        errors[path.stem] = float(np.abs(vocoder.mel(generated) - mel).mean())
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint_file", nargs="+", default=["universal_v1", "ljspeech_v1"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    print(f"{len(paths)} files; {about(jax.devices())}")
    results = {Path(name).stem: mel_errors(Vocoder.from_pretrained(name), paths) for name in options.checkpoint_file}
    for name, errors in results.items():
        print(f"{name:24} mel L1 {np.mean(list(errors.values())):.4f}")
    if options.json:
        write_results(options.json, {"mel_l1": results})


if __name__ == "__main__":
    main()
