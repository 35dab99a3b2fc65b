"""Synthesize speech from a folder of recordings or mels: python infer.py --input_wavs_dir samples --output_dir generated"""

import sys

from hifigan_jax.cli import run

if __name__ == "__main__":
    sys.exit(run("infer"))
