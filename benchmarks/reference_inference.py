"""The reference's inference.py with its own modules in torch: a folder of 16-bit WAV files in, a folder of 16-bit WAV files out.

    python benchmarks/reference_inference.py --input_wavs_dir DIR --output_dir DIR --checkpoint_file G --config JSON

Needs the extra `parity`, and runs on the CPU. The work per file is the reference's: one file at a time, with the mel filterbank
computed again for every file. tests/parity/peer.py contains the changes that today's torch needs.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.io import wavfile

from hifigan_jax.config import load_config

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "parity"))
import peer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--input_wavs_dir", "--output_dir", "--checkpoint_file", "--config"):
        parser.add_argument(flag, type=Path, required=True)
    options = parser.parse_args()
    config = load_config(options.config, purpose="inference")
    generator = peer.generator(config)
    generator.load_state_dict(torch.load(options.checkpoint_file, map_location="cpu", weights_only=True)["generator"])
    generator.eval()
    generator.remove_weight_norm()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for path in options.input_wavs_dir.iterdir():
            rate, samples = wavfile.read(path)
            audio = torch.FloatTensor(samples / 32768.0)
            generated = generator(peer.log_mel(audio[None], config, config.mel.fmax)).squeeze()
            target = options.output_dir / f"{path.stem}_generated.wav"
            wavfile.write(target, rate, (generated * 32768.0).numpy().astype(np.int16))
            print(target, flush=True)


if __name__ == "__main__":
    main()
