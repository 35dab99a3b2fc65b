"""The contract of generator families, checked for each entry of GENERATORS and for a toy family with other padding modes.

Packing, streaming, weights and configurations treat all families alike. A family that breaks the contract silently computes wrong
audio at the edges of utterances. The last tests check that the tests here detect this.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifigan_jax.config import Config, load_config, packaged_configs
from hifigan_jax.errors import UsageError
from hifigan_jax.export.source import folded
from hifigan_jax.filterbank import silence
from hifigan_jax.generator_file import Generator
from hifigan_jax.models.edges import FULL_ROWS, Edges
from hifigan_jax.models.family import GeneratorConfig
from hifigan_jax.models.generator import Conditions, Stage, receptive_field, run_stages
from hifigan_jax.models.layers import WeightNormConv, WeightNormConvTranspose, fold_norms
from hifigan_jax.models.registry import GENERATORS
from hifigan_jax.synthesis import Vocoder
from hifigan_jax.synthesis.packing import pack
from hifigan_jax.training.setup import generator_of

TOLERANCES = {"float32": 1e-5, "float64": 1e-9}


class Toy(nn.Module):
    """One upsampling layer between two convolutions, with replication and reflection padding."""

    num_mels: int
    folded: bool = False
    compute_dtype: None = None

    hop_size, tile_frames, shortest = 4, 1, 2

    def setup(self):
        self.conv_pre = WeightNormConv(12, 5, padding=0, folded=self.folded)
        self.ups = [WeightNormConvTranspose(12, 8, 4, folded=self.folded)]
        self.conv_post = WeightNormConv(1, 9, padding=0, folded=self.folded)

    def __call__(self, conditions, edges=FULL_ROWS):
        return run_stages(self.stages(), conditions, edges)

    def stages(self):
        yield Stage(lambda x, edges: self.conv_pre(edges.pad(x, 2, 2, "replicate")), 1, left_context=4, latency=2)
        yield Stage(lambda x, _: self.ups[0](nn.leaky_relu(x)), 4, left_context=1, latency=2)
        yield Stage(lambda x, edges: self.conv_post(edges.pad(nn.leaky_relu(x), 4, 4, "reflect")), 1, 8, 4)

    @property
    def receptive_field(self):
        return receptive_field(self.bind({}).stages())


class ToyConfig(GeneratorConfig):
    def build(self, mel, *, folded=False, compute_dtype="float32", rematerialize=False):
        return Toy(mel.num_mels, folded)


def narrow(config: Config) -> Config:
    """The same family at a size that compiles in a second or two."""
    content = config.flat()
    rates = [4] if "gen_istft_hop_size" in content else [4, 4]
    small = {
        **{"hop_size": 16, "n_fft": 64, "win_size": 64, "num_mels": 20},
        **{"upsample_rates": rates, "upsample_kernel_sizes": [2 * rate for rate in rates], "upsample_initial_channel": 16},
        **{"resblock": "1", "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 2]], "residual_layers": 2},
    }
    return config.replace({key: value for key, value in small.items() if key in content})


PACKAGED = {path.stem: load_config(path) for path in sorted(packaged_configs().glob("*.json"))}
CONFIGS = {  # one per family
    name: narrow(next(config for config in PACKAGED.values() if type(config.generator) is family))
    for name, family in GENERATORS.items()
}
TOY = CONFIGS["hifigan"].model_copy(update={"generator": ToyConfig(), "mel": CONFIGS["hifigan"].mel.replace(hop_size=4)})
FAMILIES = {**CONFIGS, "toy": TOY}
PADDED = {name: FAMILIES[name] for name in ("melgan", "istftnet", "toy")}  # by other values than zeros
families = pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)


@functools.cache
def _loud(name: str):
    """A generator and parameters with random gains and biases. The audio has an rms of at least 0.05."""
    config = FAMILIES[name]
    generator = generator_of(config)
    params = jax.jit(generator.init)(jax.random.key(0), Conditions(jnp.zeros((1, 8, config.mel.num_mels))))["params"]
    draws = np.random.default_rng(0)

    def drawn(path, leaf):
        scale = {"g": draws.uniform(0.9, 1.6, leaf.shape), "bias": draws.uniform(-2, 2, leaf.shape)}.get(path[-1].key, 1)
        return (leaf * scale).astype(np.float32)

    return generator, jax.tree_util.tree_map_with_path(drawn, params)


def loud(config):
    return _loud(next(name for name, each in FAMILIES.items() if each is config))


def lengths(generator, window: int) -> list[int]:
    """From the minimum to three windows; few different lengths, as each one compiles a program for the utterance alone."""
    shortest = generator.shortest
    return [shortest, window + 1, shortest, 3 * window, window + 1, shortest]


def mels(config, frames, dtype):
    """Random mels with these numbers of frames."""
    draws = np.random.RandomState(0)
    return [draws.normal(-3, 2, (n, config.mel.num_mels)).astype(dtype) for n in frames]


@functools.cache
def program(generator):
    """One jitted function per generator: each shape is compiled once."""
    return jax.jit(lambda params, mel: generator.apply({"params": params}, Conditions(mel)))


def alone(generator, params, mel):
    """The audio of one utterance alone."""
    return np.asarray(program(generator)(params, jnp.asarray(mel)[None])[0])


def windowed(generator):
    """A jitted function for windows, in which frames may be outside of all utterances."""
    return jax.jit(lambda params, mel, inside: generator.apply({"params": params}, Conditions(mel), Edges(inside)))


kept_windowed = functools.cache(windowed)


def packed(windowed, generator, params, mels, size: int, context: int) -> list[np.ndarray]:
    """The utterances' audio from windows of `size` frames, all computed by one program."""
    gap = max(context, 2 * (generator.shortest - 1), 1)
    rows, placed, offset = [], [], 0
    for number, mel in enumerate(mels):
        spans, offset = pack(len(mel), offset, size, context, gap, 1)
        for span in spans:
            if span.offset == 0:
                rows.append((np.zeros((size, mel.shape[1]), mel.dtype), np.zeros(size, bool)))
            inputs, inside = rows[-1]
            target = slice(span.offset, span.offset + span.stop - span.start)
            inputs[target], inside[target] = mel[span.start : span.stop], True
            placed.append((number, len(rows) - 1, span))
    programs = windowed._cache_size()
    windows = [np.asarray(windowed(params, inputs[None], inside[None])[0]) for inputs, inside in rows]
    assert windowed._cache_size() <= programs + 1
    hop = generator.hop_size
    found = [np.full(len(mel) * hop, np.nan, mel.dtype) for mel in mels]
    for number, row, span in placed:
        first = span.offset + span.valid_start - span.start
        last = span.offset + span.valid_stop - span.start
        found[number][span.valid_start * hop : span.valid_stop * hop] = windows[row][first * hop : last * hop]
    return found


def worst_packed(config, dtype, short_of_context=0, windowed=kept_windowed) -> float:
    """The largest difference between packed utterances and the same utterances alone."""
    with jax.enable_x64(dtype == "float64"):
        generator, params = loud(config)
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
        window = 2 * generator.receptive_field + 17
        utterances = mels(config, lengths(generator, window), dtype)
        context = generator.receptive_field - short_of_context
        ours = packed(windowed(generator), generator, params, utterances, window, context)
        expected = [alone(generator, params, mel) for mel in utterances]
    assert all(audio.dtype == dtype for audio in ours)
    assert np.sqrt(np.mean(np.square(np.concatenate(expected)))) >= 0.05
    return max(np.abs(one - other).max() for one, other in zip(ours, expected, strict=True))


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
@families
def test_packed_utterances_equal_the_utterances_alone(config, dtype):
    assert worst_packed(config, dtype) <= TOLERANCES[dtype]


@families
def test_folded_weights_give_the_same_audio(config):
    generator, params = loud(config)
    mel = jnp.asarray(mels(config, [9], "float32")[0])[None]
    folded = generator_of(config).clone(folded=True)
    plain, ours = (
        np.asarray(jax.jit(module.apply)({"params": weights}, Conditions(mel)))
        for module, weights in ((generator, params), (folded, fold_norms(params)))
    )
    np.testing.assert_allclose(ours, plain, atol=1e-5)


@families
def test_the_receptive_field_is_exact(config):
    generator, params = loud(config)
    field = generator.receptive_field
    (mel,) = mels(config, [2 * field + 9], "float32")
    changed = mel.copy()
    changed[field + 4] += 3
    differs = (alone(generator, params, changed) != alone(generator, params, mel)).reshape(-1, generator.hop_size).any(axis=1)
    reached = np.flatnonzero(differs)
    assert reached.min() >= 4
    assert reached.max() <= 2 * field + 4
    assert reached.min() == 4 or reached.max() == 2 * field + 4, "the receptive field is too large"


@families
def test_streamed_audio_equals_that_of_the_complete_mel(config):
    generator, params = loud(config)
    if not hasattr(generator, "stages"):
        return  # rejected: see tests/synthesis/test_streaming.py
    vocoder = Vocoder(config, params)
    for frames in (1, generator.shortest, 40):
        mel = mels(config, [frames], "float32")[0].T
        expected = vocoder.decode(mel, force=True)
        for chunk in (1, 5, 64):
            pieces = list(vocoder.stream(mel[:, start : start + chunk] for start in range(0, frames, chunk)))
            np.testing.assert_allclose(np.concatenate(pieces), expected, atol=1e-5)


@families
def test_a_vocoder_computes_all_lengths_with_one_program(config):
    generator, params = loud(config)
    vocoder = Vocoder(config, params)
    utterances = mels(config, [*range(1, 9), 700, 3], "float32")
    audio = dict(vocoder.synthesize((i, vocoder.utterance_of_mel(mel, force=True)) for i, mel in enumerate(utterances)))
    assert [audio[i].size for i in range(len(utterances))] == [len(mel) * generator.hop_size for mel in utterances]
    assert sum(program._cache_size() for program in vocoder._programs.values()) == 1


@families
def test_utterances_that_are_too_short_to_pad_are_extended_with_silence_and_cut(config):
    generator, params = loud(config)
    vocoder = Vocoder(config, params)
    for frames in range(1, generator.shortest):
        (mel,) = mels(config, [frames], "float32")
        silent = np.tile(silence(config.mel.convention).astype(np.float32), (generator.shortest - frames, 1))
        extended = alone(generator, params, np.concatenate([mel, silent]))
        np.testing.assert_allclose(vocoder.decode(mel.T, force=True), extended[: frames * generator.hop_size], atol=1e-5)
    samples = np.random.RandomState(0).normal(0, 0.1, config.mel.padding[0] + config.mel.hop_size).astype(np.float32)
    (audio,) = (audio for _, audio in vocoder.synthesize([(0, vocoder.utterance_of_audio(samples))]))
    np.testing.assert_allclose(audio, vocoder.decode(vocoder.mel(samples)), atol=1e-4)


@pytest.fixture
def exportable(tmp_path):
    """exportable(config): the generator of a family with loud parameters, as from a file."""

    def exportable(config):
        (tmp_path / "weights").write_text("")  # its checksum becomes part of what is exported
        return Generator(config, jax.device_get(loud(config)[1]), str(tmp_path / "weights"))

    return exportable


def check_exported(run, vocoder):
    """run(mel) is the audio of decode, for any numbers of utterances and frames."""
    for rows, frames in ((1, 1), (3, 5), (1, 40)):
        batch = np.stack([mel.T for mel in mels(vocoder.config, [frames] * rows, "float32")])
        expected = np.stack([vocoder.decode(mel, force=True) for mel in batch])
        assert frames == 1 or np.sqrt(np.mean(np.square(expected))) >= 0.05
        np.testing.assert_allclose(run(batch), expected, atol=1e-5)


@families
def test_the_audio_of_an_onnx_file_is_that_of_decode(config, exportable, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from hifigan_jax.export.onnx import export_onnx

    if config.generator.onnx() is None:
        with pytest.raises(UsageError, match="^Toy cannot be exported to ONNX"):
            export_onnx(exportable(config), tmp_path / "generator.onnx")
        return
    export_onnx(exportable(config), tmp_path / "generator.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "generator.onnx", providers=["CPUExecutionProvider"])
    check_exported(lambda mel: session.run(["audio"], {"mel": mel})[0], Vocoder(config, loud(config)[1]))


@families
def test_the_audio_of_an_exported_program_is_that_of_decode(config, exportable):
    pytest.importorskip("flatbuffers")
    from jax import export

    from hifigan_jax.export.stablehlo import program

    exported = export.deserialize(bytearray(program(config, folded(exportable(config).params), weights_inside=True)))
    check_exported(jax.jit(exported.call), Vocoder(config, loud(config)[1]))


@families
def test_every_parameter_has_a_finite_gradient(config):
    generator, params = loud(config)
    mel = jnp.asarray(mels(config, [12], "float32")[0])[None]
    silent = jnp.broadcast_to(jnp.asarray(silence(config.mel.convention), mel.dtype), mel.shape)
    gradient = jax.jit(jax.grad(lambda params, mel: jnp.sum(generator.apply({"params": params}, Conditions(mel)) ** 2)))
    for one in (mel, silent):
        for path, leaf in jax.tree.leaves_with_path(gradient(params, one)):
            assert np.isfinite(leaf).all(), path
            assert np.abs(leaf).max() > 0, path


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_weights_round_trip_through_pytorch(config):
    _, params = loud(config)
    state_dict = config.generator.state_dict_of(jax.device_get(params))
    assert all(isinstance(value, np.ndarray) for value in state_dict.values())
    back = config.generator.params_of(state_dict, config.mel)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_configurations_round_trip_through_json(config):
    content = config.flat()
    assert Config.from_flat(content) == config
    assert Config.from_flat(dict(reversed(content.items()))) == config


def test_every_family_has_a_configuration_here():
    assert {type(config.generator) for config in CONFIGS.values()} == set(GENERATORS.values())


# --- the tests above detect errors ---


def modes(config) -> set[str]:
    """The padding modes of a family."""
    generator, params = loud(config)
    seen = set()
    pad = Edges.pad

    def recorded(edges, x, before, after, mode):
        seen.add(mode)
        return pad(edges, x, before, after, mode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Edges, "pad", recorded)
        mel = jnp.zeros((1, 8, config.mel.num_mels))
        jax.eval_shape(lambda: generator.apply({"params": params}, Conditions(mel)))
    return seen


def test_the_families_cover_all_padding_modes():
    assert set().union(*map(modes, FAMILIES.values())) == {"reflect", "replicate"}  # convolutions pad with zeros themselves
    assert {name for name, config in FAMILIES.items() if modes(config)} == set(PADDED)


@pytest.mark.parametrize("config", PADDED.values(), ids=PADDED)
def test_zeros_instead_of_another_padding_are_detected(config, monkeypatch):
    pad = Edges.pad

    def zero_padding(edges, x, before, after, mode):
        return pad(edges, x, before, after, mode if edges.inside is None else "zero")

    monkeypatch.setattr(Edges, "pad", zero_padding)
    assert worst_packed(config, "float64", windowed=windowed) > 10 * TOLERANCES["float64"]


@families
def test_a_context_that_is_one_frame_too_short_is_detected(config):
    assert worst_packed(config, "float64", short_of_context=1) > 10 * TOLERANCES["float64"]


def test_hop_sizes_are_products_of_strides():
    for config in FAMILIES.values():
        stages = generator_of(config).bind({}).stages()
        assert math.prod(stage.stride for stage in stages) == config.mel.hop_size
