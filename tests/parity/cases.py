"""What is compared with the reference: each case computes named arrays by our code and, with torch, by the reference's.

Inputs and weights are the same on every machine, so the reference's arrays can be kept (golden/) for where there is no torch.
"""

import functools
import json
import pathlib
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from weights import filled

from hifigan_jax import losses, mel
from hifigan_jax.audio import read_audio
from hifigan_jax.config import Config, load_config, packaged_config
from hifigan_jax.models.discriminators.torch_names import discriminator_variables
from hifigan_jax.models.generator import Conditions
from hifigan_jax.models.hifigan.torch_names import generator_params
from hifigan_jax.training.setup import discriminator_of, generator_of

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE / "golden"
SAMPLES = HERE.parent.parent / "samples"

Arrays = dict[str, np.ndarray]


class Case(NamedTuple):
    """`ours` and `reference` compute the same named arrays; `check` raises where ours are too far away."""

    ours: Callable[[], Arrays]
    reference: Callable[[], Arrays]
    check: Callable[[str, np.ndarray, np.ndarray], None]


# --- generators -----------------------------------------------------------------------------------------------------------------

SIXTEEN_KHZ = {  # other rates, kernels and mel bins; four stages
    "sampling_rate": 16000,
    "hop_size": 200,
    "segment_size": 8000,
    "num_mels": 40,
    "upsample_rates": [5, 5, 4, 2],
    "upsample_kernel_sizes": [11, 7, 8, 4],
    "upsample_initial_channel": 64,
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 2, 4], [1, 3, 5]],
}
TWENTY_FOUR_KHZ = {
    "sampling_rate": 24000,
    "hop_size": 300,
    "n_fft": 2048,
    "win_size": 1200,
    "segment_size": 9000,
    "num_mels": 100,
    "upsample_rates": [10, 6, 5],
    "upsample_kernel_sizes": [20, 12, 11],
    "upsample_initial_channel": 48,
    "resblock_kernel_sizes": [5],
    "resblock_dilation_sizes": [[1, 7]],
}
# In float64 rounding hides nothing: an eighth of the width has every operation of the full one.
NARROW = {"discriminator_channel_mult": 0.125}
GENERATORS = {
    "v1": load_config(packaged_config("config_v1")),
    "v2": load_config(packaged_config("config_v2")),
    "v3": load_config(packaged_config("config_v3")),
    "16_khz": load_config(packaged_config("config_v1"), SIXTEEN_KHZ),
    "24_khz": load_config(packaged_config("config_v3"), TWENTY_FOUR_KHZ),
}
CONFIGS = GENERATORS | {
    "v1_narrow": load_config(packaged_config("config_v1"), NARROW | {"upsample_initial_channel": 64}),
    "v3_narrow": load_config(packaged_config("config_v3"), NARROW | {"upsample_initial_channel": 32}),
}
LOUDER = {"v3": 1.3, "v1_narrow": 1.3, "v3_narrow": 1.6}  # gains of generators whose audio would have an rms below 0.05


def networks(name: str) -> tuple[str, str, str]:
    """The models of a configuration, as `weights_of` names them: generator, MPD and MSD."""
    return (name, "mpd_narrow", "msd_narrow") if name.endswith("_narrow") else (name, "mpd", "msd")


@functools.lru_cache(maxsize=3)
def weights_of(model: str, dtype: str = "float32", large_biases: bool = False) -> Arrays:
    """The comparison's weights under the reference's names; `model` is one of `networks`."""
    shapes = json.loads((GOLDEN / "shapes.json").read_text())[model]
    values = filled(shapes, large_biases)
    return {name: (v * LOUDER.get(model, 1) if name.endswith("weight_g") else v).astype(dtype) for name, v in values.items()}


def random_mel(config: Config, frames: int) -> np.ndarray:
    """[2, F, M], spread as log-mels are."""
    return np.random.RandomState(1).normal(-5, 2, (2, frames, config.mel.num_mels)).astype(np.float32)


def generator_case(name: str) -> Case:
    config = CONFIGS[name]
    mels = random_mel(config, 20)

    def ours():
        params = generator_params(weights_of(name))
        return {"audio": jax.jit(generator_of(config).apply)({"params": params}, Conditions(jnp.asarray(mels)))}

    def reference():
        import peer

        return {"audio": peer.audio(config, weights_of(name), mels)}

    def check(name, ours, theirs):
        assert np.sqrt(np.mean(theirs**2)) >= 0.05
        at_most(1e-5)(name, ours, theirs)

    return Case(ours, reference, check)


# --- mel ------------------------------------------------------------------------------------------------------------------------


def speech(clip: int, length: int | None = None) -> np.ndarray:
    """A sample recording [T]."""
    return read_audio(SAMPLES / f"librivox_sonnet1_{clip:02d}.flac")[0][:length]


def mel_case(fmax: float | None, dtype: str) -> Case:
    config = CONFIGS["v1"]
    audio = speech(3).astype(dtype)[None]

    def ours():
        with jax.enable_x64(dtype == "float64"):
            settings = config.mel.replace(fmax=fmax)
            return {"mel": jax.jit(mel.log_mel, static_argnums=1)(jnp.asarray(audio), settings)}

    def reference():
        import peer

        return {"mel": peer.log_mel(peer.tensor(audio), config, fmax).numpy().transpose(0, 2, 1)}

    def check_float32(name, ours, theirs):
        difference = np.abs(ours - theirs)  # in near-silent bins two float32 transforms differ most
        assert difference.mean() <= 2e-6, difference.mean()
        assert difference.max() <= 3e-3, difference.max()

    return Case(ours, reference, check_float32 if dtype == "float32" else at_most(1e-9))


# --- discriminators -------------------------------------------------------------------------------------------------------------


def real_and_fake(dtype: str, length: int = 4099) -> np.ndarray:
    """[2, T]: speech, and the same with noise. The length is a multiple of no period and no stride."""
    real = speech(3)[51000 : 51000 + length]
    return np.stack([real, real + np.random.RandomState(2).normal(0, 0.1, length)]).astype(dtype)


def discriminator_case(dtype: str) -> Case:
    name = "v1" if dtype == "float32" else "v1_narrow"
    audio = real_and_fake(dtype)
    forwards = (1, 2, 5)

    def weights():
        return [weights_of(model, dtype) for model in networks(name)[1:]]

    def ours():
        with jax.enable_x64(dtype == "float64"):
            discriminator = discriminator_of(CONFIGS[name])
            variables = discriminator_variables(*weights())
            discriminate = jax.jit(lambda variables, audio: discriminator.apply(variables, audio, mutable=["spectral"]))
            arrays = {}
            for forward in range(1, max(forwards) + 1):
                (output,), updated = discriminate(variables, jnp.asarray(audio))
                variables = variables | updated
                if forward == 1:
                    arrays |= feature_maps(output.features)
                if forward in forwards:
                    layers = updated["spectral"]["msd_0"]
                    arrays |= {f"u after {forward}: {layer}": value["u"] for layer, value in layers.items()}
            return arrays

    def reference():
        import peer

        return peer.discriminated(CONFIGS[name], *weights(), audio, forwards)

    return Case(ours, reference, relative(1e-4 if dtype == "float32" else 1e-9))


def feature_maps(features: Iterable[Iterable[jax.Array]]) -> Arrays:
    """All maps by name, [B, time, channels] with the period's columns as rows of the batch, as ours are."""
    return {f"map {i}.{j}": np.asarray(x) for i, maps in enumerate(features) for j, x in enumerate(maps)}


# --- gradients ------------------------------------------------------------------------------------------------------------------


def gradient_case(name: str, dtype: str) -> Case:
    """Gradients of both losses at the same parameters, before any update.

    In float32, rounding carries some values across the kink of a leaky ReLU, and each alone moves a gradient by up to 1e-2. Large
    biases keep the values away from it there; in float64, where it doesn't happen, nothing does.
    """
    config = CONFIGS[name]
    audio = real_and_fake(dtype, config.optimization.segment_size // 4)[:1]

    def weights():
        return [weights_of(model, dtype, large_biases=dtype == "float32") for model in networks(name)]

    def ours():
        with jax.enable_x64(dtype == "float64"):
            params, variables = generator_params(weights()[0]), discriminator_variables(*weights()[1:])
            return named_gradients(*our_gradients(config, params, variables, jnp.asarray(audio)))

    def reference():
        import peer

        gradients = peer.gradients(config, weights(), audio)
        trees = generator_params(gradients[0]), discriminator_variables(*gradients[1:])["params"]
        return named_gradients(*trees)

    return Case(ours, reference, relative(1e-3 if dtype == "float32" else 1e-7))


def our_gradients(config, params, variables, real):
    """Of the generator's loss and of the discriminator's, by hand from the parts that the training step is made of.

    One program each: both at once need twice the memory.
    """
    generator, discriminator = generator_of(config), discriminator_of(config)
    conditions = Conditions(jax.jit(mel.log_mel, static_argnums=1)(real, config.mel))
    loss_mel = config.loss_mel

    def discriminate(params, spectral, audio):
        (output,), updated = discriminator.apply({"params": params, "spectral": spectral}, audio, mutable=["spectral"])
        return output, updated["spectral"]

    def discriminator_loss(params, spectral, fake):
        on_real, spectral = discriminate(params, spectral, real)
        on_fake, spectral = discriminate(params, spectral, fake)
        return losses.least_squares_discriminator(on_real.scores, on_fake.scores), spectral

    def generator_loss(params, of_discriminator, spectral):
        fake = generator.apply({"params": params}, conditions)
        on_real, spectral = discriminate(of_discriminator, spectral, real)
        on_fake, _ = discriminate(of_discriminator, spectral, fake)
        return (
            losses.least_squares_generator(on_fake.scores)
            + 2 * losses.feature_matching_loss(on_real.features, on_fake.features)
            + 45 * losses.mean_absolute_difference(mel.log_mel(real, loss_mel), mel.log_mel(fake, loss_mel))
        )

    fake = jax.jit(generator.apply)({"params": params}, conditions)
    discriminator_gradient = jax.jit(jax.grad(discriminator_loss, has_aux=True))
    of_discriminator, spectral = jax.device_get(discriminator_gradient(variables["params"], variables["spectral"], fake))
    return jax.jit(jax.grad(generator_loss))(params, variables["params"], spectral), of_discriminator


def named_gradients(generator, discriminator) -> Arrays:
    named = jax.tree_util.tree_leaves_with_path({"generator": generator, "discriminator": discriminator})
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in named}


def excerpts(arrays: Arrays) -> Arrays:
    """What is kept of a case's arrays: 50 entries each, more where they are few, at places that depend on the name only."""
    return {name: _excerpt(name, np.asarray(array).ravel(), max(50, 5000 // len(arrays))) for name, array in arrays.items()}


def _excerpt(name: str, flat: np.ndarray, count: int) -> np.ndarray:
    if flat.size <= count:
        return flat
    return flat[np.random.RandomState(zlib.crc32(name.encode())).randint(0, flat.size, count)]


# --- how far ours may be --------------------------------------------------------------------------------------------------------


def at_most(bar: float):
    def check(name, ours, theirs):
        assert np.abs(ours - theirs).max() <= bar, f"{name}: {np.abs(ours - theirs).max():.3g}"

    return check


def relative(bar: float):
    def check(name, ours, theirs):
        distance = np.linalg.norm((ours - theirs).ravel()) / np.linalg.norm(theirs.ravel())
        assert distance <= bar, f"{name}: {distance:.3g}"

    return check


CASES = {
    **{f"generator_{name}": generator_case(name) for name in GENERATORS},
    **{f"mel_to_8_khz_{dtype}": mel_case(8000.0, dtype) for dtype in ("float32", "float64")},
    **{f"mel_full_band_{dtype}": mel_case(None, dtype) for dtype in ("float32", "float64")},
    **{f"discriminators_{dtype}": discriminator_case(dtype) for dtype in ("float32", "float64")},
    "gradients_v3_float32": gradient_case("v3", "float32"),
    "gradients_v1_float64": gradient_case("v1_narrow", "float64"),
}
