"""Files as other programs write them: unusual recordings, a tiny generator in PyTorch's format, their configurations."""

import io
import json
import pathlib
import struct
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import soundfile

SAMPLES = pathlib.Path(__file__).parents[2] / "samples"
RATE = 22050

# The reference's structure at minimal size, with the mel of V3
GENERATOR = {
    "resblock": "2",
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "upsample_initial_channel": 16,
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 2]],
    "num_mels": 80,
    "n_fft": 1024,
    "hop_size": 256,
    "win_size": 1024,
    "sampling_rate": RATE,
    "fmin": 0,
    "fmax": 8000,
    "fmax_for_loss": None,
}
TRAINING = GENERATOR | {
    "discriminators": ["mpd"],
    "mpd_periods": [2],
    "discriminator_channel_mult": 0.03125,
    "segment_size": 2048,
    "batch_size": 2,
    "num_workers": 1,
    "stdout_interval": 1,
    "summary_interval": 1,
    "validation_interval": 1000,
    "checkpoint_interval": 1000,
}
# One validation recording and three batches per epoch; other numbers would compile another training step
RUN = [f"{letter}.wav" for letter in "abcdefg"]


def write_json(path: pathlib.Path, content: dict, encoding: str = "utf-8") -> pathlib.Path:
    """Writes a configuration and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1), encoding=encoding)
    return path


def generator_tensors(config: dict, seed: int = 0) -> dict[str, np.ndarray]:
    """The state_dict of a random generator with resblock "2", loud enough to make differences visible."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}

    def convolution(name: str, before: int, after: int, taps: int, transposed: bool = False) -> None:
        shape = (before, after, taps) if transposed else (after, before, taps)
        v = (rng.normal(size=shape) * np.sqrt(shape[0] / np.prod(shape))).astype(np.float32)
        tensors[f"{name}.bias"] = np.zeros(after, np.float32)
        tensors[f"{name}.weight_g"] = np.linalg.norm(v, axis=(1, 2), keepdims=True)
        tensors[f"{name}.weight_v"] = v

    width, block = config["upsample_initial_channel"], 0
    convolution("conv_pre", config["num_mels"], width, 7)
    for stage, taps in enumerate(config["upsample_kernel_sizes"]):
        convolution(f"ups.{stage}", width, width // 2, taps, transposed=True)
        width //= 2
        for kernel, dilations in zip(config["resblock_kernel_sizes"], config["resblock_dilation_sizes"], strict=True):
            for number in range(len(dilations)):
                convolution(f"resblocks.{block}.convs.{number}", width, width, kernel)
            block += 1
    convolution("conv_post", width, 1, 7)
    return tensors


def repacked(path: pathlib.Path, change: Callable[[str, bytes], bytes]) -> None:
    """Rewrites a PyTorch file with each member replaced by `change(name, content)`."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, change(name.partition("/")[2], content))


def sample(number: int = 5) -> np.ndarray:
    """One of the public-domain recordings, int16 [T]."""
    return soundfile.read(SAMPLES / f"librivox_sonnet1_{number:02d}.flac", dtype="int16")[0]


def second(number: int = 5) -> np.ndarray:
    """A second of continuous speech from it, int16 [T]."""
    return sample(number)[8000 : 8000 + RATE]


def record(folder: pathlib.Path, *names: str, **options: Any) -> None:
    """Writes a recording of one second, each from another sample, under each of these names in `folder`."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, second(number % 7), RATE, **options)


# --- odd audio files ------------------------------------------------------------------------------------------------------------


class Odd(NamedTuple):
    """A function from int16 samples [T] to a file, and one from the file and those samples to the float samples in it."""

    content: Callable[[np.ndarray], bytes]
    decoded: Callable[[bytes, np.ndarray], np.ndarray] = lambda _, samples: samples / 32768


def _chunk(name: bytes, content: bytes, claimed: int | None = None, pad: bool = True) -> bytes:
    filler = b"\0" if pad and len(content) % 2 else b""
    return name + struct.pack("<I", len(content) if claimed is None else claimed) + content + filler


def _wav(*chunks: bytes, claimed: int | None = None) -> bytes:
    return _chunk(b"RIFF", b"WAVE" + b"".join(chunks), claimed, pad=False)


def _format(
    code: int = 1,
    bits: int = 16,
    channels: int = 1,
    rate: int = RATE,
    frame: int | None = None,
    bytes_a_second: int | None = None,
    more: bytes = b"",
) -> bytes:
    frame = channels * bits // 8 if frame is None else frame
    bytes_a_second = rate * frame if bytes_a_second is None else bytes_a_second
    return _chunk(b"fmt ", struct.pack("<HHIIHH", code, channels, rate, bytes_a_second, frame, bits) + more)


def _extensible(code: int, bits: int, valid: int, channels: int = 1, speakers: int = 4) -> bytes:
    guid = struct.pack("<H", code) + bytes.fromhex("000000001000800000aa00389b71")
    return _format(0xFFFE, bits, channels, more=struct.pack("<HHI", 22, valid, speakers) + guid)


def _data(samples: np.ndarray, claimed: int | None = None) -> bytes:
    return _chunk(b"data", samples.tobytes(), claimed)


def _three_bytes(samples: np.ndarray) -> np.ndarray:
    return np.stack([np.zeros(samples.size, np.uint8), *samples.astype("<i2").view(np.uint8).reshape(-1, 2).T], axis=1)


def _coded(container: str, subtype: str | None = None, rate: int = RATE) -> Callable[[np.ndarray], bytes]:
    def content(samples: np.ndarray) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples, rate, format=container, subtype=subtype)
        return file.getvalue()

    return content


def _decoded(content: bytes, _) -> np.ndarray:
    return soundfile.read(io.BytesIO(content), dtype="float32")[0]


def _mp3_in_wav(samples: np.ndarray) -> bytes:
    layer_3 = struct.pack("<HHIHHH", 12, 1, 2, 417, 1, 0)
    return _wav(_format(0x55, 0, frame=1, bytes_a_second=8000, more=layer_3), _chunk(b"data", _coded("MP3")(samples)))


_INFO = b"INFOISFT" + struct.pack("<I", 6) + b"Lavf\0\0"
_ODD_INFO = b"INFOICMT" + struct.pack("<I", 3) + b"abc"
_ID3 = b"ID3\x03\0\0\0\0\0\x0a" + bytes(10)

# Recordings that every audio player can play
ODD = {
    "pcm16.wav": Odd(lambda s: _wav(_format(), _data(s))),
    "pcm8.wav": Odd(lambda s: _wav(_format(bits=8), _data(((s >> 8) + 128).astype(np.uint8))), lambda _, s: (s >> 8) / 128),
    "pcm24.wav": Odd(lambda s: _wav(_format(bits=24), _data(_three_bytes(s)))),
    "pcm32.wav": Odd(lambda s: _wav(_format(bits=32), _data(s.astype("<i4") << 16))),
    "float_without_fact.wav": Odd(lambda s: _wav(_format(3, 32), _data((s / 32768).astype("<f4")))),
    "float_with_empty_extension.wav": Odd(lambda s: _wav(_format(3, 32, more=b"\0\0"), _data((s / 32768).astype("<f4")))),
    "double.wav": Odd(lambda s: _wav(_format(3, 64), _data((s / 32768).astype("<f8")))),
    "extensible_16.wav": Odd(lambda s: _wav(_extensible(1, 16, 16), _data(s))),
    "extensible_float.wav": Odd(
        lambda s: _wav(_extensible(3, 32, 32), _chunk(b"fact", struct.pack("<I", s.size)), _data((s / 32768).astype("<f4")))
    ),
    "extensible_24_in_32.wav": Odd(lambda s: _wav(_extensible(1, 32, 24), _data(s.astype("<i4") << 16))),
    "two_channels.wav": Odd(lambda s: _wav(_format(channels=2), _data(np.stack([s] * 2, axis=1)))),
    "six_channels.wav": Odd(lambda s: _wav(_extensible(1, 16, 16, 6, 0x3F), _data(np.stack([s] * 6, axis=1)))),
    "list_before_data.wav": Odd(lambda s: _wav(_format(), _chunk(b"LIST", _INFO), _data(s))),
    "list_after_data.wav": Odd(lambda s: _wav(_format(), _data(s), _chunk(b"LIST", _INFO))),
    "junk_before_format.wav": Odd(lambda s: _wav(_chunk(b"JUNK", bytes(28)), _chunk(b"bext", bytes(602)), _format(), _data(s))),
    "id3_after_data.wav": Odd(lambda s: _wav(_format(), _data(s), _chunk(b"id3 ", _ID3))),
    "bytes_at_the_end.wav": Odd(lambda s: _wav(_format(), _data(s)) + bytes(777)),
    "wrong_frame_size.wav": Odd(lambda s: _wav(_format(frame=4, bytes_a_second=2 * RATE), _data(s))),
    "wrong_byte_rate.wav": Odd(lambda s: _wav(_format(bytes_a_second=0), _data(s))),
    "riff_size_0.wav": Odd(lambda s: _wav(_format(), _data(s), claimed=0)),
    "riff_size_8.wav": Odd(lambda s: _wav(_format(), _data(s), claimed=8)),
    # Sizes from programs that write to a pipe and cannot go back to correct the header
    "sizes_ffffffff.wav": Odd(lambda s: _wav(_format(), _data(s, 0xFFFFFFFF), claimed=0xFFFFFFFF)),
    "data_size_ffffffff.wav": Odd(lambda s: _wav(_format(), _data(s, 0xFFFFFFFF))),
    "sizes_7fffffff.wav": Odd(lambda s: _wav(_format(), _data(s, 0x7FFFFFFF - 36), claimed=0x7FFFFFFF)),
    # A recording that was never stopped
    "sizes_0.wav": Odd(lambda s: _wav(_format(), _data(s, 0), claimed=0)),
    "data_size_0.wav": Odd(lambda s: _wav(_format(), _data(s, 0))),
    "cut_in_a_sample.wav": Odd(lambda s: _wav(_format(), _data(s))[:-1], lambda _, s: s[:-1] / 32768),
    "cut_in_half.wav": Odd(lambda s: _wav(_format(), _data(s))[: 44 + s.size], lambda _, s: s[: s.size // 2] / 32768),
    "ulaw.wav": Odd(_coded("WAV", "ULAW"), _decoded),
    "alaw.wav": Odd(_coded("WAV", "ALAW"), _decoded),
    "ima_adpcm.wav": Odd(_coded("WAV", "IMA_ADPCM"), _decoded),
    "ms_adpcm.wav": Odd(_coded("WAV", "MS_ADPCM"), _decoded),
    "gsm.wav": Odd(_coded("WAV", "GSM610"), _decoded),
    "mp3_in.wav": Odd(_mp3_in_wav, _decoded),
    "a_mp3.mp3": Odd(_coded("MP3"), _decoded),
    "mp3_named.wav": Odd(_coded("MP3"), _decoded),
    "vorbis.ogg": Odd(_coded("OGG"), _decoded),
    "ogg_named.wav": Odd(_coded("OGG"), _decoded),
    "a_flac.flac": Odd(_coded("FLAC")),
    "flac_named.wav": Odd(_coded("FLAC")),
    "id3_before.flac": Odd(lambda s: _ID3 + _coded("FLAC")(s)),
    "rf64.wav": Odd(_coded("RF64")),
    "a_w64.w64": Odd(_coded("W64")),
    "an_aiff.aiff": Odd(_coded("AIFF")),
    "an_au.au": Odd(_coded("AU")),
    "a_caf.caf": Odd(_coded("CAF")),
}
OPUS = _coded("OGG", "OPUS", 48000)

# Audio players disagree on these
ODD_CHUNK_WITHOUT_PADDING = Odd(lambda s: _wav(_format(), _chunk(b"LIST", _ODD_INFO, pad=False), _data(s)))
RATE_0 = Odd(lambda s: _wav(_format(rate=0), _data(s)))


def write_odd(folder: pathlib.Path, *names: str, number: int = 5) -> None:
    """Writes the unusual files of these names into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(ODD[name].content(second(number)))
