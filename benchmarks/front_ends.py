"""The mel functions of front ends, run from clones of their repositories, to compare ours with.

Only the definitions that compute mels are executed, without the rest of their modules. Those were written for older versions of
librosa and torch, whose interfaces `_libraries` restores: positional arguments, and `torch.stft` returning real pairs.
"""

import ast
import importlib
import math
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FrontEnd = Callable[[np.ndarray], np.ndarray]  # audio [T] -> mel [M, F]
_COMPRESSION = ["dynamic_range_compression", "dynamic_range_decompression"]
_MELDATASET = [*_COMPRESSION, *(f"{name}_torch" for name in _COMPRESSION), "spectral_normalize_torch", "mel_spectrogram"]
_TACOTRON = ["STFT", "TacotronSTFT", *_COMPRESSION]


def front_ends(clones: Path) -> dict[str, FrontEnd]:
    """The functions of the conventions whose front end has a clone in the folder, by the convention's name."""
    makers = {
        "hifigan": lambda: _meldataset(clones, "hifi-gan/meldataset.py"),
        "grad-tts": lambda: _meldataset(clones, "Speech-Backbones/Grad-TTS/hifi-gan/meldataset.py"),
        "comospeech": lambda: _meldataset(clones, "CoMoSpeech/hifi-gan/meldataset.py"),
        "comospeech-zero": lambda: _comospeech_zero(clones),
        "matcha-tts": lambda: _matcha(clones),
        "bigvgan-22k": lambda: _bigvgan(clones, (1024, 80, 22050, 256, 1024, 0, 8000)),
        "bigvgan-24k": lambda: _bigvgan(clones, (1024, 100, 24000, 256, 1024, 0, None)),
        "bigvgan-44k": lambda: _bigvgan(clones, (2048, 128, 44100, 512, 2048, 0, None)),
        "tacotron2": lambda: _tacotron(clones, ["tacotron2/audio_processing.py", "tacotron2/stft.py", "tacotron2/layers.py"]),
        "waveglow": lambda: _tacotron(clones, ["tacotron2/audio_processing.py", "tacotron2/stft.py", "tacotron2/layers.py"]),
        "glow-tts": lambda: _tacotron(clones, ["glow-tts/audio_processing.py", "glow-tts/stft.py", "glow-tts/commons.py"]),
        "fastspeech2": lambda: _tacotron(clones, ["FastSpeech2/audio/audio_processing.py", "FastSpeech2/audio/stft.py"]),
        "stylespeech": lambda: _tacotron(clones, ["StyleSpeech/audio/audio_processing.py", "StyleSpeech/audio/stft.py"], 16000),
        "fastpitch": lambda: _nemo(clones, highfreq=8000, log_zero_guard_value=1e-5, pad_to=1),
        "nemo-hifigan": lambda: _nemo(
            clones, highfreq=8000, log_zero_guard_type="clamp", log_zero_guard_value=1e-5, pad_to=0, exact_pad=True
        ),
        "nemo-log1p": lambda: _nemo(clones, log_zero_guard_value=1.0, mel_norm=None, pad_to=0, exact_pad=True),
        "melgan": lambda: _melgan(clones),
        "parallelwavegan": lambda: _parallel_wavegan(clones, {"sampling_rate": 22050}),
        "parallelwavegan-24k": lambda: _parallel_wavegan(
            clones, {"sampling_rate": 24000, "fft_size": 2048, "hop_size": 300, "win_length": 1200}
        ),
        "espnet": lambda: _espnet(clones),
        "wavernn": lambda: _wavernn(clones),
        "univnet": lambda: _univnet(clones),
        "vocos": lambda: _vocos(clones),
        "speecht5": lambda: _speecht5(),
    }
    made = {}
    for name, make in makers.items():
        try:
            made[name] = make()
        except (FileNotFoundError, ImportError) as error:
            print(f"{name}: not compared: {error}")
    return made


def _libraries() -> dict[str, Any]:
    import librosa
    import scipy.signal
    import torch

    new_stft = torch.stft

    def stft(*arguments: Any, **options: Any) -> Any:
        if options.get("return_complex"):
            return new_stft(*arguments, **options)
        return torch.view_as_real(new_stft(*arguments, **(options | {"return_complex": True})))

    def mel(*arguments: Any, **options: Any) -> Any:
        named = dict(zip(("sr", "n_fft", "n_mels", "fmin", "fmax"), arguments, strict=False))
        return librosa.filters.mel(**named, **options)

    def librosa_stft(*arguments: Any, **options: Any) -> Any:
        named = dict(zip(("y", "n_fft", "hop_length", "win_length", "window"), arguments, strict=False))
        return librosa.stft(**({"pad_mode": "reflect"} | named | options))

    old_torch = types.SimpleNamespace(**{name: getattr(torch, name) for name in dir(torch) if not name.startswith("__")})
    old_torch.stft, torch.Tensor.cuda = stft, lambda tensor: tensor
    old_librosa = types.SimpleNamespace(stft=librosa_stft, filters=types.SimpleNamespace(mel=mel), feature=librosa.feature)
    passthrough = types.SimpleNamespace(info=lambda text: None, debug=lambda text: None, warning=print)
    return {
        **vars(typing),
        **{"torch": old_torch, "nn": torch.nn, "F": torch.nn.functional, "Variable": torch.autograd.Variable, "np": np},
        **{"math": math, "librosa": old_librosa, "librosa_mel_fn": mel, "stft": librosa_stft, "tiny": librosa.util.tiny},
        "get_window": scipy.signal.get_window,
        "pad_center": lambda data, size: librosa.util.pad_center(data, size=size),
        **{"logging": passthrough, "random": importlib.import_module("random"), "CONSTANT": 1e-5},
        **{"typechecked": lambda function: function, "check_argument_types": lambda: True},
        **{"AbsFeatsExtract": torch.nn.Module, "InversibleInterface": object, "FeatureExtractor": torch.nn.Module},
        **{
            "is_torch_1_10_plus": True,
            "ComplexTensor": object,
            "mel_basis": {},
            "hann_window": {},
            "mel_basis_cache": {},
            "hann_window_cache": {},
        },
    }


def _definitions(clones: Path, paths: list[str], names: list[str], **more: Any) -> dict[str, Any]:
    """The functions and classes of these names in the files, defined with only `_libraries` and `more` in their scope."""
    scope = _libraries() | more
    for path in paths:
        tree = ast.parse((clones / path).read_text(encoding="utf-8"))
        kept = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names]
        exec(compile(ast.Module(kept, []), path, "exec"), scope)
    return scope


def _batched(function: Callable[[Any], Any]) -> FrontEnd:
    import torch

    def call(audio: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(function(torch.from_numpy(audio.astype(np.float32))[None]))[0]

    return call


def _meldataset(clones: Path, path: str) -> FrontEnd:
    mel = _definitions(clones, [path], _MELDATASET)["mel_spectrogram"]
    return _batched(lambda audio: mel(audio, 1024, 80, 22050, 256, 1024, 0, 8000))


def _bigvgan(clones: Path, sizes: tuple) -> FrontEnd:
    mel = _definitions(clones, ["BigVGAN/meldataset.py"], _MELDATASET)["mel_spectrogram"]
    return _batched(lambda audio: mel(audio, *sizes))


def _comospeech_zero(clones: Path) -> FrontEnd:
    path = "CoMoSpeech/hifi-gan/meldataset.py"
    normalize = _definitions(clones, [path], ["norm_spec"], spec_min=-12, spec_max=2)["norm_spec"]
    mel = _meldataset(clones, path)
    return lambda audio: normalize(mel(audio))


def _matcha(clones: Path) -> FrontEnd:
    mel = _meldataset(clones, "Matcha-TTS/matcha/utils/audio.py")
    return lambda audio: (mel(audio) - np.float32(-5.536622)) / np.float32(2.116101)


def _tacotron(clones: Path, paths: list[str], rate: int = 22050) -> FrontEnd:
    made = _definitions(clones, paths, _TACOTRON)["TacotronSTFT"](1024, 256, 1024, 80, rate, 0.0, 8000.0)

    def mel(audio: Any) -> Any:
        result = made.mel_spectrogram(audio)
        return result[0] if isinstance(result, tuple) else result

    return _batched(mel)


def _nemo(clones: Path, **options: Any) -> FrontEnd:
    import torch

    path = "NeMo/nemo/collections/asr/parts/preprocessing/features.py"
    sizes = {"sample_rate": 22050, "n_window_size": 1024, "n_window_stride": 256, "n_fft": 1024, "nfilt": 80}
    plain = {"normalize": None, "preemph": None, "dither": 0.0, "mag_power": 1.0}
    made = _definitions(clones, [path], ["FilterbankFeatures"])["FilterbankFeatures"](**sizes, **plain, **options).eval()

    def mel(audio: Any) -> Any:
        values, frames = made(audio, torch.tensor([audio.shape[1]]))
        return values[:, :, : int(frames)]  # with exact_pad, one less than there are: the last is masked

    return _batched(mel)


def _melgan(clones: Path) -> FrontEnd:
    made = _definitions(clones, ["melgan-neurips/mel2wav/modules.py"], ["Audio2Mel"])["Audio2Mel"]()
    return _batched(lambda audio: made(audio[:, None]))


def _parallel_wavegan(clones: Path, sizes: dict[str, int]) -> FrontEnd:
    mel = _definitions(clones, ["ParallelWaveGAN/parallel_wavegan/bin/preprocess.py"], ["logmelfilterbank"])["logmelfilterbank"]
    return lambda audio: mel(audio, **sizes, fmin=80, fmax=7600).T


def _espnet(clones: Path) -> FrontEnd:
    paths = ["espnet2/layers/stft.py", "espnet2/layers/log_mel.py", "espnet2/tts/feats_extract/log_mel_fbank.py"]
    scope = _definitions(clones / "espnet", paths, ["Stft", "LogMel", "LogMelFbank"])
    made = scope["LogMelFbank"](fs=22050)
    return _batched(lambda audio: made(audio)[0].transpose(1, 2))


def _wavernn(clones: Path) -> FrontEnd:
    sizes = {"sample_rate": 22050, "n_fft": 2048, "num_mels": 80, "hop_length": 275, "win_length": 1100, "fmin": 40}
    names = ["linear_to_mel", "normalize", "amp_to_db", "melspectrogram", "stft"]
    hp = types.SimpleNamespace(**sizes, min_level_db=-100, ref_level_db=20)
    return _definitions(clones, ["WaveRNN/utils/dsp.py"], names, hp=hp)["melspectrogram"]


def _univnet(clones: Path) -> FrontEnd:
    made = _definitions(clones, ["univnet/utils/stft.py"], ["TacotronSTFT"])["TacotronSTFT"](
        1024, 256, 1024, 100, 24000, 0.0, 12000.0
    )
    return _batched(made.mel_spectrogram)


def _vocos(clones: Path) -> FrontEnd:
    import torchaudio

    scope = _definitions(clones, ["vocos/vocos/modules.py"], ["safe_log"])
    path = "vocos/vocos/feature_extractors.py"
    features = _definitions(clones, [path], ["MelSpectrogramFeatures"], torchaudio=torchaudio, safe_log=scope["safe_log"])
    return _batched(features["MelSpectrogramFeatures"]())


def _speecht5() -> FrontEnd:
    from transformers import SpeechT5FeatureExtractor

    extractor = SpeechT5FeatureExtractor()
    return lambda audio: np.asarray(extractor(audio_target=audio, sampling_rate=16000)["input_values"][0]).T
