"""Mel conventions by name: how a front end computes its log-mels. One row each.

A row contains everything that the values of a mel depend on, so that framing, padding and silence follow from it. Where a value
is not the front end's default, `source` names the configuration file it is from.
"""

from typing import Literal, NamedTuple


class Convention(NamedTuple):
    """The steps from audio to a log-mel. The defaults are HiFi-GAN's.

    Frame i of a centered mel is centered on sample i hop_size of the audio; otherwise, on sample (i + 1/2) hop_size. A mel of T
    samples has T // hop_size frames, and one more if it is centered, unless the front end drops the last one.

    Values are (log(max(x, floor)) - mean) / std of mel magnitudes x, or log(x + floor). `mean` and `std` are numbers, or have one
    value per bin.
    """

    source: str  # file of the front end's repository, or of its documentation
    sampling_rate: int = 22050
    n_fft: int = 1024
    win_size: int = 1024
    hop_size: int = 256
    num_mels: int = 80
    fmin: float = 0.0
    fmax: float | None = 8000.0  # None: half the sampling rate
    window: Literal["periodic", "symmetric"] = "periodic"  # Hann
    scale: Literal["slaney", "htk"] = "slaney"  # of the filters' edges
    norm: Literal["slaney", "none"] = "slaney"  # filters of unit area in Hz, or of unit height
    power: Literal[1, 2] = 1  # filters are applied to magnitudes or to their squares
    epsilon: float = 0.0  # added to re^2 + im^2 under the square root
    energy_floor: float = 0.0  # minimum of re^2 + im^2
    log_base: Literal["e", "10"] = "e"
    floor: float = 1e-5
    floor_mode: Literal["clamp", "add"] = "clamp"
    centered: bool = False
    padding: Literal["reflect", "zero"] = "reflect"
    last_frame: bool = True  # whether a centered mel keeps its last frame
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0
    clip: tuple[float, float] | None = None  # of the final values
    frames_first: bool = False  # in files: (F, M) instead of (M, F)

    @property
    def edges(self) -> tuple[int, int]:
        """Samples of padding before and after the audio.

        Reference: if n_fft - hop_size is odd, (n_fft - hop_size) // 2 on both sides. A multiple of hop_size samples then has a
        frame less than its generator needs. With one sample more at the end, its other frames are the same.
        """
        excess = self.n_fft - self.hop_size
        return (self.n_fft // 2, self.n_fft // 2) if self.centered else (excess // 2, excess - excess // 2)

    @property
    def center(self) -> int:
        """The sample that frame 0 is centered on."""
        return self.n_fft // 2 - self.edges[0]

    @property
    def shortest(self) -> int:
        """The number of samples that the padding needs."""
        return max(self.edges) + 1 if self.padding == "reflect" else 1

    @property
    def shortest_recording(self) -> int:
        """The number of samples that a mel of one frame or more needs."""
        return max(self.shortest, self.hop_size)

    @property
    def computation(self) -> "Convention":
        """What a mel's values depend on: equal for rows that differ only in their source or in the order of axes in files."""
        return self._replace(source="", frames_first=False)

    def frames(self, samples: int) -> int:
        """The number of frames of a mel of `samples` samples."""
        return samples // self.hop_size + (self.centered and self.last_frame)

    def samples(self, frames: int) -> int:
        """The least number of samples whose mel has `frames` frames."""
        return (frames - (self.centered and self.last_frame)) * self.hop_size


# The definition of HiFi-GAN, which many front ends adopted by copying meldataset.py.
_HIFIGAN = Convention("jik876/hifi-gan meldataset.py:49-72, config_v1.json", epsilon=1e-9)
# The STFT of NVIDIA's Tacotron 2, likewise.
_TACOTRON2 = Convention("NVIDIA/tacotron2 layers.py:63-80, stft.py:77-105, hparams.py:36-42", centered=True)
_PARALLEL_WAVEGAN = Convention(
    "kan-bayashi/ParallelWaveGAN parallel_wavegan/bin/preprocess.py:58-85, egs/ljspeech/voc1/conf/hifigan.v1.yaml:13-23",
    fmin=80.0,
    fmax=7600.0,
    log_base="10",
    floor=1e-10,
    centered=True,
    frames_first=True,
)
_NEMO = {"window": "symmetric", "padding": "zero"}

CONVENTIONS = {
    "hifigan": _HIFIGAN,
    "grad-tts": _HIFIGAN._replace(source="huawei-noah/Speech-Backbones Grad-TTS/data.py:55-60, params.py:23-29"),
    "comospeech": _HIFIGAN._replace(source="zhenye234/CoMoSpeech hifi-gan/meldataset.py:57-82, params.py:13-19"),
    "comospeech-zero": _HIFIGAN._replace(
        source="zhenye234/CoMoSpeech hifi-gan/meldataset.py:14-19,80-81 (norm_spec)", mean=-5.0, std=7.0
    ),
    "matcha-tts": _HIFIGAN._replace(
        source="shivammehta25/Matcha-TTS matcha/utils/audio.py:46-82, configs/data/ljspeech.yaml", mean=-5.536622, std=2.116101
    ),
    "bigvgan-22k": _HIFIGAN._replace(source="NVIDIA/BigVGAN meldataset.py:51-120, configs/bigvgan_22khz_80band.json"),
    "tacotron2": _TACOTRON2,
    "waveglow": _TACOTRON2._replace(source="NVIDIA/waveglow mel2samp.py:61-81, config.json"),
    "glow-tts": _TACOTRON2._replace(source="jaywalnut310/glow-tts commons.py:162-200, configs/base.json"),
    "fastspeech2": _TACOTRON2._replace(
        source="ming024/FastSpeech2 preprocessor/preprocessor.py:193-245, config/LJSpeech/preprocess.yaml", frames_first=True
    ),
    "fastpitch": Convention(
        "NVIDIA/NeMo nemo/collections/asr/parts/preprocessing/features.py:386-502, examples/tts/conf/fastpitch_align_v1.05.yaml",
        **_NEMO,
        floor_mode="add",
        centered=True,
        last_frame=False,
    ),
    "nemo-hifigan": Convention("NVIDIA/NeMo features.py:386-502, examples/tts/conf/hifigan/hifigan.yaml:34-55", **_NEMO),
    "nemo-log1p": Convention(
        "NVIDIA/NeMo features.py:386-502, examples/tts/conf/hifigan_dataset/hifigan_22050.yaml:36-58",
        **_NEMO,
        fmax=None,
        norm="none",
        floor=1.0,
        floor_mode="add",
    ),
    "melgan": Convention("descriptinc/melgan-neurips mel2wav/modules.py:26-69", fmax=None, log_base="10"),
    "parallelwavegan": _PARALLEL_WAVEGAN,
    "parallelwavegan-24k": _PARALLEL_WAVEGAN._replace(
        source="kan-bayashi/ParallelWaveGAN bin/preprocess.py:58-85, egs/libritts/voc1/conf/hifigan.v1.yaml:15-23",
        sampling_rate=24000,
        n_fft=2048,
        win_size=1200,
        hop_size=300,
    ),
    "espnet": _PARALLEL_WAVEGAN._replace(
        source="espnet/espnet espnet2/tts/feats_extract/log_mel_fbank.py:86-101, layers/log_mel.py", energy_floor=1e-10
    ),
    "speecht5": _PARALLEL_WAVEGAN._replace(
        source="huggingface/transformers models/speecht5/feature_extraction_speecht5.py:84-178", sampling_rate=16000
    ),
    "stylespeech": _TACOTRON2._replace(
        source="KevinMIN95/StyleSpeech audio/stft.py:115-158, audio/audio_processing.py:78-85, configs/config.json",
        sampling_rate=16000,
        log_base="10",
        frames_first=True,
    ),
    "wavernn": Convention(
        "fatchord/WaveRNN utils/dsp.py:41-82, hparams.py:20-30 (dB scaled from -100..0 to 0..1)",
        n_fft=2048,
        win_size=1100,
        hop_size=275,
        fmin=40.0,
        fmax=None,
        log_base="10",
        centered=True,
        mean=-5.0,
        std=5.0,
        clip=(0.0, 1.0),
    ),
    "univnet": _HIFIGAN._replace(
        source="mindslab-ai/univnet utils/stft.py:71-104, config/default_c32.yaml:22-30",
        sampling_rate=24000,
        num_mels=100,
        fmax=12000.0,
    ),
    "bigvgan-24k": _HIFIGAN._replace(
        source="NVIDIA/BigVGAN meldataset.py:51-120, configs/bigvgan_v2_24khz_100band_256x.json",
        sampling_rate=24000,
        num_mels=100,
        fmax=None,
    ),
    "bigvgan-44k": _HIFIGAN._replace(
        source="NVIDIA/BigVGAN meldataset.py:51-120, configs/bigvgan_v2_44khz_128band_512x.json",
        sampling_rate=44100,
        n_fft=2048,
        win_size=2048,
        hop_size=512,
        num_mels=128,
        fmax=None,
    ),
    "vocos": Convention(
        "gemelo-ai/vocos vocos/feature_extractors.py:28-49, modules.py:194-205, configs/vocos.yaml",
        sampling_rate=24000,
        num_mels=100,
        fmax=None,
        scale="htk",
        norm="none",
        floor=1e-7,
        centered=True,
    ),
}
