"""Writes golden/*.npz: what other implementations compute from a sample recording.

pip install "setuptools<81" pyworld==0.3.5 pysptk==1.0.1 auraloss==0.4.0 torch
python tests/evaluation/make_golden.py
"""

import pathlib

import numpy as np
import soundfile

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE / "golden"
SAMPLE = HERE.parent.parent / "samples" / "librivox_sonnet1_05.flac"
SECONDS, EVERY = 2.0, 10


def recordings() -> tuple[np.ndarray, np.ndarray, int]:
    """The first seconds of the sample, the same with noise, and the sampling rate."""
    audio, rate = soundfile.read(SAMPLE, dtype="float32")
    audio = audio[: int(SECONDS * rate)]
    noise = np.random.default_rng(0).normal(0, 0.003, audio.size).astype(np.float32)
    return audio, audio + noise, rate


def world() -> dict[str, np.ndarray]:
    """F0, every tenth frame of the envelope and of the mel-cepstra, and the distortion as pymcd computes it."""
    import pysptk
    import pyworld

    def analyze(x, rate):
        f0, times = pyworld.dio(x, rate)
        f0 = pyworld.stonemask(x, f0, times, rate)
        envelope = pyworld.cheaptrick(x, f0, times, rate, fft_size=512)
        settings = {"order": 13, "alpha": 0.65, "maxiter": 0, "etype": 1, "eps": 1e-8, "min_det": 0.0, "itype": 3}
        return f0, envelope, pysptk.sptk.mcep(envelope, **settings)

    clean, noisy, rate = recordings()
    (f0, envelope, cepstra), (_, _, others) = (analyze(x.astype(np.float64), rate) for x in (clean, noisy))
    distance = np.sqrt(((cepstra - others)[:, 1:] ** 2).sum(axis=1)).mean()
    mcd = 10 * np.sqrt(2) / np.log(10) * distance
    return {"f0": f0, "envelope": np.float32(envelope[::EVERY]), "cepstra": np.float32(cepstra[::EVERY]), "mcd": mcd}


def multi_resolution_stft() -> dict[str, np.ndarray]:
    """auraloss's distance, in float64."""
    import auraloss
    import torch

    clean, noisy = (torch.from_numpy(x.astype(np.float64))[None, None] for x in recordings()[:2])
    loss = auraloss.freq.MultiResolutionSTFTLoss()
    for part in loss.stft_losses:
        part.window = part.window.double()
    return {"distance": loss(noisy, clean).numpy()}


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN / "world.npz", **world())
    np.savez_compressed(GOLDEN / "mr_stft.npz", **multi_resolution_stft())
