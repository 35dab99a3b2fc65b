"""Makes a folder to try infer.py in, without a download: make_tiny.py FOLDER (tiny.pth, config.json, wavs/a.wav)."""

import pathlib
import sys
from typing import Any

import inputs

from hifigan_jax.weights.torch_writer import write_torch_file


def make_tiny(folder: pathlib.Path, **changes: Any) -> pathlib.Path:
    """Writes the tiny generator as a file of the reference, with its configuration beside it; returns the file.

    `changes` override keys of the configuration.
    """
    config = inputs.GENERATOR | changes
    folder.mkdir(parents=True, exist_ok=True)
    write_torch_file(folder / "tiny.pth", {"generator": inputs.generator_tensors(config)})
    inputs.write_json(folder / "config.json", config)
    return folder / "tiny.pth"


if __name__ == "__main__":
    make_tiny(pathlib.Path(sys.argv[1]))
    inputs.record(pathlib.Path(sys.argv[1]) / "wavs", "a.wav")
