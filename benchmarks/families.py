"""Time the synthesis of each generator family against V1, alternating, with random weights and random mels.

    python benchmarks/families.py [--frames 396] [--rounds 15] [--json docs/results/families.json]

`speed_up` is the median over rounds of V1's seconds divided by the family's seconds in the same round.
"""

import argparse
import pathlib
import statistics
import time

from hifigan_jax import runtime

runtime.prepare()

from hifigan_jax.benchmark import synthesis, write_results  # noqa: E402
from hifigan_jax.config import load_config, packaged_config  # noqa: E402

BASELINE = "config_v1"
OTHERS = ("config_v2", "config_v3", "melgan", "istftnet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=396)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    configs = {name: load_config(packaged_config(name)) for name in (BASELINE, *OTHERS)}
    calls = {name: synthesis(config, options.frames, 1) for name, config in configs.items()}
    for call in calls.values():  # compile
        call()
        call()
    seconds = {name: [] for name in calls}
    for _ in range(options.rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    rows = {}
    for name, took in seconds.items():
        mel = configs[name].mel
        median, audio = statistics.median(took), options.frames * mel.hop_size / mel.sampling_rate
        speed_up = statistics.median(base / own for base, own in zip(seconds[BASELINE], took, strict=True))
        rows[name] = {"median_seconds": median, "speed_up": speed_up, "x_real_time": audio / median}
        print(f"{name:12}{median:9.3f} s{speed_up:8.2f} x V1{audio / median:9.1f} x real time")
    if options.json:
        write_results(options.json, {"frames": options.frames, "rows": rows, "seconds": seconds})


if __name__ == "__main__":
    main()
