"""Train a generator: python train.py --config configs/quickstart.json"""

import sys

from hifigan_jax.cli import run

if __name__ == "__main__":
    sys.exit(run("train"))
