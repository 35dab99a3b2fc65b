"""The systems of an evaluation: folders of audio, models that resynthesize the references, and anchors."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import soundfile
from jaxtyping import Float

from hifigan_jax.audio import SUFFIXES, read_audio, write_wav
from hifigan_jax.errors import DataError, UsageError
from hifigan_jax.evaluation.files import LARGEST_DIFFERENCE, AudioFile, Files, inspect, system_files
from hifigan_jax.evaluation.griffin_lim import ITERATIONS, MOMENTUM, SEED, resynthesize
from hifigan_jax.evaluation.metric import Audio
from hifigan_jax.evaluation.progress import progress, run
from hifigan_jax.evaluation.spectra import MEL_HOP, mel_settings

logger = logging.getLogger(__name__)

ANCHORS = {
    "ground_truth": "the references themselves",
    "pcm16": "the references as 16-bit audio",
    "griffin_lim": "Griffin-Lim from the references' mel: NNLS inversion of the filterbank, then"
    f" {ITERATIONS} fast iterations, momentum {MOMENTUM}, seed {SEED}",
}


class System(NamedTuple):
    """A system with its files by key, and what is wrong with the others."""

    name: str
    kind: Literal["anchor", "folder", "model"]
    source: str
    folder: str
    files: dict[str, AudioFile]
    problems: list[str]
    sha256: str | None = None  # of a model's parameters and configuration


class _Resynthesis(NamedTuple):
    """A file to be made from a reference."""

    anchor: str
    reference: AudioFile
    target: str


def anchor(name: str, references: Files, folder: str, cache: Path, jobs: int) -> System:
    """One of ANCHORS."""
    if name == "ground_truth":
        return System(name, "anchor", ANCHORS[name], folder, references.usable, [])
    made = cache / "audio" / f"{name}-{hashlib.sha256(ANCHORS[name].encode()).hexdigest()[:8]}"
    targets = _targets(made, references)
    tasks = [_Resynthesis(name, file, str(targets[key])) for key, file in _missing(targets, references).items()]
    for _ in run(_make, tasks, jobs, name):
        pass
    files, problems = _inspect_made(name, targets)
    return System(name, "anchor", ANCHORS[name], str(made), files, problems)


def _make(task: _Resynthesis) -> None:
    audio, rate = read_audio(task.reference.path)
    if task.anchor == "griffin_lim":
        audio = resynthesize(_whole_frames(audio, MEL_HOP), mel_settings(rate))
    write_wav(task.target, audio, rate)


def system(name: str, source: str | Path, references: Files, keys: set[str], cache: Path) -> System:
    """The system at `source`: a folder of audio, else what `load_generator` accepts."""
    if is_model(source):
        return _model(name, str(source), references, cache)
    found = system_files(source, references, keys)
    return System(name, "folder", str(source), str(source), found.usable, found.problems)


def is_model(source: str | Path) -> bool:
    """Whether this is a checkpoint or the name of a pretrained model, and not a folder of audio."""
    path = Path(source)
    if not os.path.isdir(path) or path.name == "checkpoints":
        return True
    if any(file.suffix.lower() in SUFFIXES for file in path.iterdir()):
        return False
    contents = ("manifest.json", "checkpoints", "g_*")  # of a checkpoint, a run and a folder of the reference
    return any(any(path.glob(name)) for name in contents)


def _model(name: str, source: str, references: Files, cache: Path) -> System:
    from hifigan_jax.loading import load_generator  # imports jax

    generator = load_generator(source)
    rate = next(iter(references.usable.values())).rate
    if generator.config.mel.sampling_rate != rate:
        raise UsageError(
            f"{name}: synthesizes {generator.config.mel.sampling_rate} Hz, but the references have {rate} Hz: resample them"
        )
    digest = model_digest(generator.params, generator.config)
    folder = cache / "audio" / digest[:16]
    targets = _targets(folder, references)
    missing = _missing(targets, references)
    if missing:
        logger.info("%s: resynthesizing %d files with %s", name, len(missing), source)
        _resynthesize(generator, {file: targets[key] for key, file in missing.items()}, name)
    files, problems = _inspect_made(name, targets)
    return System(name, "model", source, str(folder), files, problems, digest)


def _resynthesize(generator: Any, targets: dict[AudioFile, Path], label: str) -> None:
    """Writes the audio of each file; a file whose audio is not finite is left out."""
    from hifigan_jax.synthesis import Vocoder

    vocoder = Vocoder(generator.config.replace({"compute_dtype": "float32"}), generator.params)

    def utterances():
        for file, target in targets.items():
            audio = _whole_frames(read_audio(file.path)[0], vocoder.hop_size)
            yield target, vocoder.utterance_of_audio(audio)

    for target, audio in progress(vocoder.synthesize(utterances()), len(targets), label):
        if np.isfinite(audio).all():
            write_wav(target, audio, vocoder.sampling_rate)


def _whole_frames(audio: Audio, hop: int) -> Float[np.ndarray, " S"]:
    return audio[: audio.size // hop * hop]


def _targets(folder: Path, references: Files) -> dict[str, Path]:
    """The files of the cache by the keys of their references."""
    return {key: folder / f"{file.sha256[:32]}.wav" for key, file in references.usable.items()}


def _missing(targets: dict[str, Path], references: Files) -> dict[str, AudioFile]:
    """The references whose files are not in the cache."""
    return {key: file for key, file in references.usable.items() if not _made(targets[key], file)}


def _made(target: Path, reference: AudioFile) -> bool:
    """Whether the file is in the cache, undamaged as far as its header and length show."""
    if not target.is_file():
        return False
    try:
        header = soundfile.info(os.fsencode(target))
    except soundfile.SoundFileError:
        return False
    return abs(header.frames - reference.samples) <= LARGEST_DIFFERENCE * reference.rate


def _inspect_made(name: str, targets: dict[str, Path]) -> tuple[dict[str, AudioFile], list[str]]:
    files, problems = {}, []
    for key, target in targets.items():
        if not target.is_file():
            problems.append(f"{name}: {key}: the model's audio contains NaN or infinite samples")
            continue
        try:
            files[key] = inspect(target)
        except DataError as error:
            problems.append(f"{name}: {key}: {error}")
    return files, problems


def model_digest(params: Any, config: Any) -> str:
    """A hash of all parameters and of the sections that describe the model."""
    digest = hashlib.sha256(f"{config.generator!r} {config.mel!r}".encode())

    def add(prefix: str, tree: Any) -> None:
        for name in sorted(tree):
            if isinstance(tree[name], dict):
                add(f"{prefix}/{name}", tree[name])
            else:
                array = np.ascontiguousarray(tree[name])
                digest.update(f"{prefix}/{name} {array.shape} {array.dtype}".encode())
                digest.update(array.view(np.uint8).data)

    add("", params)
    return digest.hexdigest()
