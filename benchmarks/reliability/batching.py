"""Synthesizes utterances alone, in random groups and orders, and as shards of a folder, and compares the audio.

python benchmarks/reliability/batching.py [--groups 20]
"""

import argparse
import pathlib
import random

import common
import numpy as np
import soundfile
from make_tiny import make_tiny

from hifigan_jax import Vocoder

UTTERANCES = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=20)
    options = parser.parse_args()
    numbers = random.Random(0)
    with common.work_folder() as folder:
        source = make_tiny(folder / "model")
        vocoder = Vocoder.from_pretrained(source)
        draw = np.random.default_rng(0)
        mels = [draw.normal(-5, 2, (80, numbers.randint(1, 600))).astype(np.float32) for _ in range(UTTERANCES)]
        alone = [vocoder.decode(mel) for mel in mels]
        largest = 0.0
        for _ in range(options.groups):
            chosen = numbers.sample(range(UTTERANCES), numbers.randint(2, UTTERANCES))
            utterances = ((i, vocoder.utterance_of_mel(mels[i].T)) for i in chosen)
            largest = max(largest, *(float(np.abs(audio - alone[i]).max()) for i, audio in vocoder.synthesize(utterances)))
        level = float(np.sqrt(np.mean(np.concatenate(alone) ** 2)))
        steps = of_shards(folder, source, mels)
    common.result(
        "R21",
        "audio alone and in random groups: largest difference",
        "<= 1e-5",
        f"{largest:.1e}",
        largest <= 1e-5 and steps <= 1,
        rms=level,
        steps_between_shards=steps,
    )


def of_shards(folder: pathlib.Path, source: pathlib.Path, mels: list[np.ndarray]) -> int:
    """The largest difference in 16-bit steps between a folder synthesized at once and in three shards."""
    import programs

    (folder / "mels").mkdir()
    for i, mel in enumerate(mels):
        np.save(folder / "mels" / f"{i}.npy", mel)
    options = {"input_mels_dir": folder / "mels", "checkpoint_file": source}
    assert programs.infer(**options, output_dir=folder / "at_once").code == 0
    for shard in ("1/3", "2/3", "3/3"):
        assert programs.infer(**options, output_dir=folder / "shards", shard=shard).code == 0
    names = sorted(path.name for path in (folder / "at_once").iterdir())
    assert len(names) == UTTERANCES
    assert names == sorted(path.name for path in (folder / "shards").iterdir())
    return max(int(np.abs(samples(folder / "at_once" / name) - samples(folder / "shards" / name)).max()) for name in names)


def samples(path: pathlib.Path) -> np.ndarray:
    """The 16-bit samples of a file, as int64 [T]."""
    return soundfile.read(path, dtype="int16")[0].astype(np.int64)


if __name__ == "__main__":
    main()
