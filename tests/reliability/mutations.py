"""Mutants of valid files, one set per reader: recordings, mels, weights, configurations, lists.

A mutant must be read, or be refused with an exception of the package, in little time and memory.
"""

import io
import json
import pathlib
import random
import types
import zipfile
from collections.abc import Callable, Mapping
from typing import NamedTuple
from unittest import mock

import inputs
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
import soundfile

from hifigan_jax import audio, generator_file, mel_file
from hifigan_jax.config import Config, Data, load_config, packaged_config
from hifigan_jax.errors import HifiganError
from hifigan_jax.file_lists import list_recordings
from hifigan_jax.models.generator import Conditions
from hifigan_jax.synthesis import folder as synthesis_folder
from hifigan_jax.trees import shape_difference
from hifigan_jax.weights.torch_writer import write_torch_file

REFUSED, READ = "refused", "read"
_SIZES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
_WORDS = ("0", "-1", "1e999", "NaN", "null", "true", '""', "[]", "{}", "1" * 400, "1e-400", "2147483648", '"\\ud800"', "[" * 3000)


class Reader(NamedTuple):
    """Valid files, the suffix of their names, and what a program does with such a file."""

    seeds: tuple[bytes, ...]
    suffix: str
    read: Callable[[pathlib.Path], object]
    mutate: Callable[[bytes, random.Random], bytes]


def mutant(reader: Reader, name: str, number: int) -> bytes:
    """The mutant of this number, always the same."""
    draw = random.Random(f"{name}:{number}")
    content = draw.choice(reader.seeds)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 8))):
        content = reader.mutate(content, draw)
    return content


def outcome(reader: Reader, content: bytes, folder: pathlib.Path) -> str:
    """What the reader does with a file of this content: READ, REFUSED, or a foreign exception."""
    path = folder / f"mutant{reader.suffix}"
    path.write_bytes(content)
    try:
        reader.read(path)
    except HifiganError as error:
        return REFUSED if "\n" not in str(error) and len(str(error)) < 2000 else f"a message of {len(str(error))} characters"
    except Exception as error:
        return f"{type(error).__name__}: {error!s:.200}"
    return READ


# --- mutations ------------------------------------------------------------------------------------------------------------------


def of_bytes(content: bytes, draw: random.Random) -> bytes:
    """One change at a random place, every second time near the start or the end, where headers are."""
    if not content:
        return bytes([draw.randrange(256)])
    near = min(len(content), 200)
    place = draw.choice([draw.randrange(len(content)), draw.randrange(near), len(content) - 1 - draw.randrange(near)])
    length = draw.choice((1, 2, 4, 8, 30, 500))
    match draw.randrange(8):
        case 0:
            return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]
        case 1:
            return content[:place] + draw.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * length + content[place + length :]
        case 2 | 3:
            width, order = draw.choice((2, 4, 8)), draw.choice(("little", "big"))
            number = (draw.choice(_SIZES) & (1 << 8 * width) - 1).to_bytes(width, order)
            return content[:place] + number + content[place + width :]
        case 4:
            return content[:place] + draw.randbytes(length) + content[place:]
        case 5:
            return content[:place] + content[place + length :]
        case 6:
            return content[:place] + content[place : place + length] * 2 + content[place + length :]
        case _:
            return content[:place]


def of_text(content: bytes, draw: random.Random) -> bytes:
    """A change of bytes, or of one token of a JSON text or a list."""
    if draw.random() < 0.3:
        return of_bytes(content, draw)
    text = content.decode("utf-8", "replace")
    tokens = [token for token in text.replace(",", " ").replace(":", " ").replace("|", " ").split() if token.strip("[]{}")]
    if not tokens:
        return of_bytes(content, draw)
    old = draw.choice(tokens)
    new = draw.choice((*_WORDS, old[::-1], old * 2, old[:-1], draw.choice(tokens), "../" * 9 + "etc/passwd", "/dev/zero", "a\0b"))
    count = draw.choice((1, -1))
    return text.replace(old, new, count).encode("utf-8", "replace")


def of_pickle(content: bytes, draw: random.Random) -> bytes:
    """A change of data.pkl alone, in an archive with valid checksums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, of_bytes(member, draw) if name.endswith("data.pkl") else member)
    return buffer.getvalue()


# --- readers --------------------------------------------------------------------------------------------------------------------


def _coded(container: str, subtype: str | None = None, rate: int = inputs.RATE, channels: int = 1) -> bytes:
    samples = np.repeat(inputs.second()[:4000, None] / 32768, channels, axis=1)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()


def _read_audio(path: pathlib.Path) -> None:
    """Inspects the file as train.py does and reads it as infer.py does."""
    vocoder = types.SimpleNamespace(sampling_rate=inputs.RATE, utterance_of_audio=lambda samples: audio.as_samples(samples))
    failure = None
    try:
        if audio.is_seekable(path):
            audio.inspect_audio(path)
    except HifiganError as error:
        failure = error
    if synthesis_folder._read_audio(path, vocoder) is None:
        for block in audio.audio_blocks(path, inputs.RATE):
            audio.as_samples(block)
    if failure:
        raise failure


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _read_weights(path: pathlib.Path, config: pathlib.Path, shapes: object) -> None:
    """Loads a generator; the shapes that it must have are not computed again for each mutant."""
    with mock.patch.object(generator_file, "_shape_difference", lambda params, _: shape_difference(params, shapes)):
        generator_file.from_file(path, config)


def _shapes(config: Config) -> object:
    conditions = Conditions(jnp.zeros((1, 8, config.mel.num_mels)))
    return jax.eval_shape(lambda: config.generator.build(config.mel).init(jax.random.key(0), conditions))["params"]


def readers(folder: pathlib.Path) -> Mapping[str, Reader]:
    """All readers by name; `folder` is for the files that they need."""
    config = inputs.write_json(folder / "tiny.json", inputs.GENERATOR)
    tensors = inputs.generator_tensors(inputs.GENERATOR)
    shapes = _shapes(load_config(config))
    (folder / "weights").mkdir(exist_ok=True)  # apart from the configuration
    write_torch_file(folder / "weights" / "g.pth", {"generator": tensors, "steps": 5})
    pth = (folder / "weights" / "g.pth").read_bytes()
    texts = json.dumps(inputs.GENERATOR).encode()
    inputs.record(folder / "wavs", "a.wav", "b.wav", "below/c.wav")
    mel = np.random.default_rng(0).normal(-5, 2, (80, 24))

    def weights(path: pathlib.Path) -> None:
        _read_weights(path, config, shapes)

    def configuration(path: pathlib.Path) -> None:
        problem = None
        for purpose in ("inference", "training"):
            try:
                load_config(path, purpose=purpose)
            except HifiganError as error:
                problem = error
        if problem:
            raise problem

    def recordings(path: pathlib.Path) -> None:
        list_recordings(Data(input_wavs_dir=str(folder / "wavs"), input_training_file=str(path)))

    listed = "\n".join(("a|Größe", "b.wav|x|y", "below/c|", str(folder / "wavs" / "a.wav"))) + "\n"
    wavs = [_coded("WAV", *more) for more in ((None,), ("FLOAT",), ("PCM_24", 44100, 2), ("IMA_ADPCM",), ("GSM610",), ("ULAW",))]
    wavs += [
        inputs.ODD[name].content(inputs.second()[:4000]) for name in ("extensible_24_in_32.wav", "sizes_0.wav", "mp3_in.wav")
    ]
    return {
        "WAV": Reader(tuple(wavs), ".wav", _read_audio, of_bytes),
        "FLAC": Reader((_coded("FLAC"), _coded("FLAC", "PCM_24", 48000, 2)), ".flac", _read_audio, of_bytes),
        "Ogg, MP3": Reader((_coded("OGG"), _coded("OGG", "OPUS", 48000), _coded("MP3")), ".ogg", _read_audio, of_bytes),
        "AIFF, AU, CAF, W64": Reader(
            (_coded("AIFF"), _coded("AU"), _coded("CAF"), _coded("W64"), _coded("RF64")), ".wav", _read_audio, of_bytes
        ),
        "mel": Reader(
            tuple(_npy(mel.astype(dtype)[shape]) for dtype in ("f4", "f8", ">f2") for shape in (..., None)),
            ".npy",
            lambda path: mel_file.read_mel(path, 80),
            of_bytes,
        ),
        ".pth": Reader((pth,), ".pth", weights, of_bytes),
        "data.pkl": Reader((pth,), ".pth", weights, of_pickle),
        "safetensors": Reader(
            (safetensors.numpy.save(tensors), safetensors.numpy.save(tensors, {"config": json.dumps(inputs.GENERATOR)})),
            ".safetensors",
            weights,
            of_bytes,
        ),
        "JSON": Reader(
            (texts, json.dumps(inputs.TRAINING).encode(), packaged_config("melgan").read_bytes()), ".json", configuration, of_text
        ),
        "list": Reader(
            (listed.encode(), listed.encode("utf-16"), b"\xef\xbb\xbf" + listed.encode()), ".txt", recordings, of_text
        ),
    }
