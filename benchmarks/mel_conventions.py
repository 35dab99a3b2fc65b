"""Compare every mel convention with independent programs, and synthesize converted mels.

    python benchmarks/mel_conventions.py FOLDER --front_ends CLONES [--checkpoint_file NAME] [--json FILE]

FOLDER contains recordings; CLONES contains clones of the front ends' repositories, named like these (front_ends.py). Needs
librosa, torch, torchaudio and transformers. Values above 10 kHz are not compared: recordings of 22,050 Hz contain nothing there.
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

from hifigan_jax import runtime

runtime.prepare()

import jax  # noqa: E402
import librosa  # noqa: E402
import numpy as np  # noqa: E402
import scipy.signal  # noqa: E402
from front_ends import FrontEnd, front_ends  # noqa: E402

from hifigan_jax import Vocoder  # noqa: E402
from hifigan_jax.audio import read_audio_at  # noqa: E402
from hifigan_jax.benchmark import about, write_results  # noqa: E402
from hifigan_jax.config import Mel  # noqa: E402
from hifigan_jax.conventions import CONVENTIONS, Convention  # noqa: E402
from hifigan_jax.errors import UsageError  # noqa: E402
from hifigan_jax.evaluation.spectra import log_mel, mel_settings  # noqa: E402
from hifigan_jax.folders import files_below  # noqa: E402
from hifigan_jax.mel import LogMel, log_mel_of_padded, pad_audio  # noqa: E402
from hifigan_jax.mel_conversion import conversion, obstacles  # noqa: E402

_BAND = 10_000  # Hz


def by_librosa(audio: np.ndarray, c: Convention) -> np.ndarray:
    """The mel (F, M) of audio by librosa's functions, in float64."""
    mode, samples = {"reflect": "reflect", "zero": "constant"}[c.padding], audio.size
    audio = audio.astype(np.float64) if c.centered else np.pad(audio.astype(np.float64), c.edges, mode=mode)
    window = scipy.signal.get_window("hann", c.win_size, fftbins=c.window == "periodic")
    sizes = {"n_fft": c.n_fft, "hop_length": c.hop_size, "win_length": c.win_size}
    spectrum = librosa.stft(audio, **sizes, window=window, center=c.centered, pad_mode=mode, dtype=np.complex128)
    magnitude = np.sqrt(np.maximum(np.abs(spectrum) ** 2, c.energy_floor) + c.epsilon)
    band = {"fmin": c.fmin, "fmax": c.fmax, "htk": c.scale == "htk", "norm": None if c.norm == "none" else c.norm}
    mel = librosa.filters.mel(sr=c.sampling_rate, n_fft=c.n_fft, n_mels=c.num_mels, **band, dtype=np.float64) @ magnitude
    values = np.log(mel + c.floor if c.floor_mode == "add" else np.maximum(mel, c.floor)) / (
        np.log(10) if c.log_base == "10" else 1
    )
    values = (values - c.mean) / c.std
    return (values if c.clip is None else np.clip(values, *c.clip)).T[: c.frames(samples)]


def in_band(c: Convention) -> np.ndarray:
    """The bins whose filters end below the band's limit."""
    edges = librosa.mel_frequencies(n_mels=c.num_mels + 2, fmin=c.fmin, fmax=c.fmax or c.sampling_rate / 2, htk=c.scale == "htk")
    return edges[2:] <= _BAND


def difference(ours: np.ndarray, theirs: np.ndarray, c: Convention) -> np.ndarray:
    """|difference| of the frames that both have; theirs may have one less."""
    if not 0 <= len(ours) - len(theirs) <= 1:
        raise SystemExit(f"{c.source}: {len(theirs)} frames, {len(ours)} expected")
    return np.abs(ours[: len(theirs)] - theirs)[:, in_band(c)]


@functools.cache
def exact_program(c: Convention) -> Callable:
    """The compiled log-mel of padded audio in a convention; compiled for float64 where it is called with float64."""
    name = next(name for name in CONVENTIONS if CONVENTIONS[name].computation == c)
    return jax.jit(functools.partial(log_mel_of_padded, settings=Mel(mel_convention=name)))


def parity(name: str, recordings: list[Path], front_end: FrontEnd | None) -> dict[str, float]:
    """The largest difference from librosa in float64, and the mean difference from the front end's own code in float32."""
    settings = Mel(mel_convention=name)
    c, program = settings.convention, LogMel(settings)
    exact = exact_program(CONVENTIONS[name].computation)
    largest, own = 0.0, []
    for path in recordings:
        audio = read_audio_at(path, c.sampling_rate)
        with jax.enable_x64(True):
            cut = audio[: 2 * c.sampling_rate].astype(np.float64)
            ours = np.asarray(exact(pad_audio(cut, settings)[None])[0])[: c.frames(cut.size)]
            largest = max(largest, float(difference(ours, by_librosa(cut, c), c).max()))
        if front_end:
            own.append(difference(program(audio), front_end(audio).T, c).mean())
    result = {"librosa_float64_largest": largest}
    return result | ({"own_float32_mean": float(np.mean(own))} if own else {})


def synthesis(names: list[str], recordings: list[Path], made: dict[str, FrontEnd], vocoder: Vocoder) -> dict[str, float]:
    """Mean mel L1 between recordings and the speech from their mels, as each front end computes them."""
    settings, rate = mel_settings(vocoder.sampling_rate), vocoder.sampling_rate
    targets, utterances, same = {}, {}, {}
    for path in recordings:
        audio = read_audio_at(path, rate)
        targets[path] = audio
        for name in names:
            mel = made[name](audio)
            content = path, mel.tobytes(), conversion(vocoder.settings, name).kept(mel.shape[1]).start  # equal mels once
            same[name, path] = content
            utterances[content] = vocoder.utterance_of_mel(mel.T, vocoder.conversion(name))
    errors = {}
    for content, speech in vocoder.synthesize(utterances.items()):
        shared = min(speech.size, targets[content[0]].size)
        audio = targets[content[0]][:shared], speech[:shared]
        starts = 0, settings.hop_size // 2  # speech is best in the frames that it was made from: those of both framings count
        both = [np.abs(np.subtract(*(log_mel(one[start:], settings) for one in audio))).mean() for start in starts]
        errors[content] = np.mean(both)
    return {name: float(np.mean([errors[same[name, path]] for path in recordings])) for name in names}


def refusals(vocoder: Vocoder) -> dict[str, str]:
    """Why the other conventions' mels are refused."""
    messages = {}
    for name in CONVENTIONS:
        try:
            conversion(vocoder.settings, name)
        except UsageError as error:
            messages[name] = str(error).split(": ")[1]
    return messages


def spread(paths: list[Path], count: int) -> list[Path]:
    """`count` of the paths, evenly spread."""
    return [paths[i * len(paths) // count] for i in range(min(count, len(paths)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--front_ends", type=Path, required=True)
    parser.add_argument("--checkpoint_file", default="universal_v1")
    parser.add_argument("--compared", type=int, default=4, help="how many recordings are used")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    few = spread([Path(path) for path in files_below(options.folder, {".flac", ".wav"})[0]], options.compared)
    print(f"{len(few)} files; {about(jax.devices())}")
    made = front_ends(options.front_ends)
    results = {"compared": len(few)}
    results["parity"] = {name: parity(name, few, made.get(name)) for name in CONVENTIONS}
    print(*results["parity"].items(), sep="\n")
    vocoder = Vocoder.from_pretrained(options.checkpoint_file)
    usable = [name for name, row in CONVENTIONS.items() if name in made and not obstacles(row, vocoder.settings.convention)]
    results["mel_l1"], results["refused"] = synthesis(usable, few, made, vocoder), refusals(vocoder)
    print(results["mel_l1"], results["refused"])
    if options.json:
        write_results(options.json, results)


if __name__ == "__main__":
    main()
