"""Measure the time to the first sound of a stream, and the throughput of streaming against decoding a complete mel.

    python benchmarks/streaming.py --config configs/config_v2.json [--chunk 8 64] [--frames 1280] [--rounds 5] [--json FILE]

Weights are random, and everything is compiled beforehand. The first sound is the computing time from the start of a stream to its
first audio; the frames it needs (the look-ahead and one more) arrive at once or one by one. Throughput is that of entire streams,
alternating with `decode` of the same mel. Times and ratios are medians over rounds.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from hifigan_jax import runtime

runtime.prepare()

import jax  # noqa: E402
import numpy as np  # noqa: E402

from hifigan_jax import Vocoder  # noqa: E402
from hifigan_jax.benchmark import about, random_params, write_results  # noqa: E402
from hifigan_jax.config import load_config  # noqa: E402


def chunks(mel: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield `mel` (M, F) in chunks of `size` frames."""
    yield from (mel[:, start : start + size] for start in range(0, mel.shape[1], size))


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def first_sound(vocoder: Vocoder, mel: np.ndarray, size: int) -> float:
    """Return the seconds until a stream whose first chunks are available yields its first audio."""
    needed = mel[:, : vocoder.lookahead_frames + 1]
    return seconds(lambda: next(vocoder.stream(chunks(needed, size))))


def measure(vocoder: Vocoder, mel: np.ndarray, sizes: list[int], rounds: int) -> dict[str, Any]:
    """Return first sounds in milliseconds, speeds in times real time, and the speed of streams relative to `decode`."""
    works = {str(size): (lambda size=size: list(vocoder.stream(chunks(mel, size)))) for size in sizes}
    works["complete"] = lambda: vocoder.decode(mel)
    for work in works.values():  # compile
        work()
    times = [{name: seconds(work) for name, work in works.items()} for _ in range(rounds)]
    audio = mel.shape[1] * vocoder.hop_size / vocoder.sampling_rate
    return {
        "lookahead_frames": vocoder.lookahead_frames,
        "lookahead_ms": vocoder.lookahead_ms,
        "first_sound_ms": {
            name: 1000 * median(first_sound(vocoder, mel, size) for _ in range(4 * rounds))
            for name, size in {"at once": mel.shape[1], "one by one": 1}.items()
        },
        "times_real_time": {name: audio / median(one[name] for one in times) for name in works},
        "relative_speed": {str(size): median(one["complete"] / one[str(size)] for one in times) for size in sizes},
    }


def show(name: str, row: dict[str, Any]) -> None:
    """Print the results of one configuration."""
    print(f"{name}: look-ahead {row['lookahead_frames']} frames, {row['lookahead_ms']:.0f} ms")
    for arrival, milliseconds in row["first_sound_ms"].items():
        print(f"first sound, frames arriving {arrival}: {milliseconds:.1f} ms")
    for size, ratio in row["relative_speed"].items():
        print(f"chunks of {size:>3} frames: {row['times_real_time'][size]:6.1f} x real time, {100 * ratio:.0f} % of decode")
    print(f"decode:               {row['times_real_time']['complete']:6.1f} x real time", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, nargs="+", required=True, metavar="JSON")
    parser.add_argument("--chunk", type=int, nargs="+", default=[8, 64], help="frames")
    parser.add_argument("--frames", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    print(f"{options.frames} frames; {about(jax.devices())}")
    rows = {}
    for path in options.config:
        config = load_config(path)
        vocoder = Vocoder(config, random_params(config))
        mel = np.random.default_rng(0).normal(-5, 2, (config.mel.num_mels, options.frames)).astype(np.float32)
        rows[path.stem] = measure(vocoder, mel, options.chunk, options.rounds)
        show(path.stem, rows[path.stem])
    if options.json:
        write_results(options.json, {"frames": options.frames, "rows": rows})


if __name__ == "__main__":
    main()
