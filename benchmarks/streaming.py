"""How soon a stream is heard, and what streaming costs against synthesizing the whole mel.

    python benchmarks/streaming.py --config configs/config_v2.json [--chunk 1 8 64] [--frames 1280] [--repeats 5] [--json FILE]

Random weights. The first sound is the computing from the start of a stream, whose first frames (the look-ahead and one) come at
once or one by one, to its first audio, everything being compiled. Throughput is that of whole streams, in turns with `decode` of
the same mel. Figures are medians, those of ratios over the rounds.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from hifigan_jax import runtime

runtime.prepare()

import jax  # noqa: E402
import numpy as np  # noqa: E402

from hifigan_jax import Vocoder  # noqa: E402
from hifigan_jax.benchmark import random_params  # noqa: E402
from hifigan_jax.config import load_config  # noqa: E402


def chunks(mel: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """`mel` (M, F) in chunks of so many frames."""
    yield from (mel[:, start : start + size] for start in range(0, mel.shape[1], size))


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def first_sound(vocoder: Vocoder, mel: np.ndarray, size: int) -> float:
    """Seconds until a stream whose first chunks are already there gives its first audio."""
    needed = mel[:, : vocoder.lookahead_frames + 1]
    return seconds(lambda: next(vocoder.stream(chunks(needed, size))))


def measure(vocoder: Vocoder, mel: np.ndarray, sizes: list[int], repeats: int) -> dict:
    """First sounds in milliseconds, real-time factors and the throughput of streams over that of `decode`."""
    works = {size: (lambda size=size: list(vocoder.stream(chunks(mel, size)))) for size in sizes}
    works["whole"] = lambda: vocoder.decode(mel)
    for work in works.values():  # compiles
        work()
    rounds = [{name: seconds(work) for name, work in works.items()} for _ in range(repeats)]
    audio = mel.shape[1] * vocoder.hop_size / vocoder.sampling_rate
    return {
        "first_sound_ms": {
            name: 1000 * median(first_sound(vocoder, mel, size) for _ in range(4 * repeats))
            for name, size in {"at once": mel.shape[1], "frame by frame": 1}.items()
        },
        "times_real_time": {str(name): audio / median(one[name] for one in rounds) for name in works},
        "of_whole": {str(size): median(one["whole"] / one[size] for one in rounds) for size in sizes},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--chunk", type=int, nargs="+", default=[1, 8, 64], help="frames")
    parser.add_argument("--frames", type=int, default=1280)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = load_config(options.config)
    vocoder = Vocoder(config, random_params(config))
    mel = np.random.default_rng(0).normal(-5, 2, (vocoder.config.mel.num_mels, options.frames)).astype(np.float32)
    device = f"{jax.devices()[0].device_kind}, {len(os.sched_getaffinity(0))} threads"
    setting = f"jax {jax.__version__}, Python {platform.python_version()}, {device}, float32"
    print(f"{Path(options.config).stem}, {options.frames} frames; {setting}")
    print(f"look-ahead {vocoder.lookahead_frames} frames, {vocoder.lookahead_ms:.0f} ms")
    results = measure(vocoder, mel, options.chunk, options.repeats)
    for name, milliseconds in results["first_sound_ms"].items():
        print(f"first sound, its frames {name}: {milliseconds:.1f} ms")
    for size, ratio in results["of_whole"].items():
        speed = results["times_real_time"][size]
        print(f"chunks of {size:>3} frames: {speed:6.1f} x real time, {100 * ratio:.0f} % of the whole at once")
    print(f"the whole at once:    {results['times_real_time']['whole']:6.1f} x real time")
    if options.json:
        options.json.write_text(json.dumps({"config": options.config, "setting": setting, **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
