"""Draw the figures of the README (needs the extra `figures`).

python benchmarks/figures.py speech samples/librivox_sonnet1_00.flac generated/librivox_sonnet1_00_generated.wav docs/speech.png
python benchmarks/figures.py curve cp_quickstart/metrics.jsonl docs/quickstart.png
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from hifigan_jax.audio import read_audio
from hifigan_jax.config import load_config, packaged_config
from hifigan_jax.mel import LogMel


def speech(recording: Path, generated: Path, target: Path) -> None:
    """Draw the waveform and log-mel of a recording and of its resynthesis, side by side."""
    settings = load_config(packaged_config("config_v1")).mel.replace(fmax=None)
    log_mel = LogMel(settings)
    figure, axes = plt.subplots(2, 2, figsize=(11, 4.5), sharex=True, sharey="row", height_ratios=(1, 2), layout="constrained")
    for column, (path, title) in enumerate(((recording, "recording"), (generated, "universal_v1, from its 80-bin mel"))):
        audio, rate = read_audio(path)
        seconds = audio.size / rate
        axes[0, column].plot(np.arange(audio.size) / rate, audio, linewidth=0.3)
        axes[0, column].set(title=title, ylim=(-1, 1))
        extent = (0, seconds, 0, settings.num_mels)
        axes[1, column].imshow(log_mel(audio).T, origin="lower", aspect="auto", extent=extent, vmin=-11.5)
        axes[1, column].set(xlabel="seconds")
    axes[0, 0].set(ylabel="amplitude")
    axes[1, 0].set(ylabel="mel bin, to 11 kHz")
    figure.savefig(target, dpi=90)


def curve(metrics: Path, target: Path) -> None:
    """Draw the validation mel error by step."""
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    points = [(row["step"], row["validation/mel_spec_error"]) for row in rows if "validation/mel_spec_error" in row]
    figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
    axes.plot(*zip(*points, strict=True), marker=".")
    axes.set(xlabel="step", ylabel="validation mel error", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.savefig(target, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=("speech", "curve"))
    parser.add_argument("paths", nargs="+", type=Path)
    options = parser.parse_args()
    {"speech": speech, "curve": curve}[options.figure](*options.paths)


if __name__ == "__main__":
    main()
