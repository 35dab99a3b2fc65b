import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from hifigan_jax import losses
from hifigan_jax.data import Batch
from hifigan_jax.mel import log_mel
from hifigan_jax.models.generator import Conditions
from hifigan_jax.training.setup import discriminator_of, first_state, generator_of, mesh_over, placed_first_state, train_step
from hifigan_jax.training.state import from_parts, to_parts

RATE = 1e-3


@pytest.fixture(scope="module")
def kept():
    return {}


NETWORKS = ("discriminator", "generator")


@pytest.fixture
def start(kept):
    """start(config, optimizer): both networks, their first state and a step; equal ones are compiled once."""

    def start(config, optimizer=None, adversarial_from_step=0):
        generator, discriminator = generator_of(config), discriminator_of(config)
        config = config.replace({"adversarial_from_step": adversarial_from_step})
        key = repr((generator, discriminator, config.losses, config.optimization, optimizer, losses.TERMS))
        if key not in kept:
            state = jax.jit(lambda: first_state(config, optimizer))()
            kept[key] = state, train_step(config, 2, mesh_over(config, jax.devices()[:1]), optimizer)
        state, step = kept[key]
        return generator, discriminator, jax.tree.map(jnp.copy, state), step

    return start


@pytest.fixture
def decaying(tiny_config):
    return tiny_config.replace({"learning_rate": RATE, "lr_decay": 0.5})


@pytest.fixture
def both_families(tiny_config, one_scale):
    return tiny_config.replace(
        {
            "discriminators": ("mpd", "msd"),
            "discriminator_channel_mult": 0.125,
            "learning_rate": RATE,
        }
    )


@pytest.fixture
def batch(tiny_config, rng):
    audio = rng.normal(0, 0.1, (tiny_config.optimization.batch_size, tiny_config.optimization.segment_size))
    return Batch(jnp.asarray(audio, jnp.float32), None)


def test_the_placed_first_state_equals_the_jitted_first_state(both_families, caplog):
    sharding = NamedSharding(mesh_over(both_families, jax.devices()[:1]), PartitionSpec())
    with jax.log_compiles():
        state = placed_first_state(both_families, sharding)
    expected = jax.jit(lambda: first_state(both_families))()
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    for ours, other in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        assert ours.sharding == sharding
        assert ours.dtype == other.dtype
        np.testing.assert_allclose(ours, other, rtol=1e-6)
    assert "conv_general_dilated" not in caplog.text  # no forward pass: the parameters do not depend on it


def test_the_discriminator_is_updated_first_and_the_generator_through_the_updated_one(both_families, batch, start):
    config = both_families
    generator, discriminator, state, step = start(config, optax.sgd)
    before = jax.device_get(state)
    after, metrics = step(state, batch)

    real, weights = batch.audio, config.losses.loss_weights
    assert weights == {"adversarial": 1, "feature_matching": 2, "mel": 45}
    mel = jax.jit(log_mel, static_argnums=1)(real, config.mel)

    def generate(params):
        return generator.apply({"params": params}, Conditions(mel))

    @jax.jit
    def discriminate(params, spectral, audio):  # one forward pass at a time, as the reference does it
        (output,), updated = discriminator.apply({"params": params, "spectral": spectral}, audio, mutable=["spectral"])
        return output, updated["spectral"]

    def discriminator_loss(params, fake):
        on_real, spectral = discriminate(params, before.spectral, real)
        on_fake, spectral = discriminate(params, spectral, fake)
        return losses.least_squares_discriminator(on_real.scores, on_fake.scores), spectral

    fake = jax.jit(generate)(before.generator.params)
    gradient_of = jax.jit(jax.value_and_grad(discriminator_loss, has_aux=True))
    (d_loss, spectral), gradient = gradient_of(before.discriminator.params, fake)
    updated = jax.tree.map(lambda param, slope: param - RATE * slope, before.discriminator.params, gradient)

    def generator_loss(params):
        fake = generate(params)
        on_real, after_real = discriminate(updated, spectral, real)
        on_fake, last = discriminate(updated, after_real, fake)
        total = weights["adversarial"] * losses.least_squares_generator(on_fake.scores)
        total += weights["feature_matching"] * losses.feature_matching_loss(on_real.features, on_fake.features)
        mels = (log_mel(audio, config.loss_mel) for audio in (real, fake))
        return total + weights["mel"] * losses.mean_absolute_difference(*mels), last

    (g_loss, spectral), slopes = jax.jit(jax.value_and_grad(generator_loss, has_aux=True))(before.generator.params)
    np.testing.assert_allclose(metrics["discriminator"], d_loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["generator"], g_loss, rtol=1e-5)
    for network, given in (("discriminator", gradient), ("generator", slopes)):
        change = difference(getattr(after, network).params, getattr(before, network).params)
        assert relative(change, jax.tree.map(lambda slope: -RATE * slope, given)) < 1e-3
    assert relative(after.spectral, spectral) < 1e-5


def test_before_adversarial_from_step_the_generator_learns_only_from_the_mel(tiny_config, batch, start):
    config = tiny_config.replace({"learning_rate": RATE})
    generator, _, state, step = start(config, optax.sgd, adversarial_from_step=1)
    before = jax.device_get(state.generator.params)
    changes = []
    for done in (0, 1):
        after, metrics = step(jax.tree.map(jnp.copy, state)._replace(step=jnp.int32(done)), batch)
        changes.append(difference(after.generator.params, before))
        assert metrics["adversarial"] > 1  # still computed for the log

    def mel_loss(params):
        fake = generator.apply({"params": params}, Conditions(log_mel(batch.audio, config.mel)))
        mels = (log_mel(audio, config.loss_mel) for audio in (batch.audio, fake))
        return config.losses.loss_weights["mel"] * losses.mean_absolute_difference(*mels)

    by_mel = jax.tree.map(lambda slope: -RATE * slope, jax.jit(jax.grad(mel_loss))(before))
    assert relative(changes[0], by_mel) < 1e-4
    assert relative(changes[1], by_mel) > 1e-3


def test_epochs_decay_the_learning_rate_of_both_networks(decaying, batch, start):
    _, _, state, step = start(decaying)
    rates, positions = [], []
    for _ in range(5):
        state, metrics = step(state, batch)
        rates.append(float(metrics["learning_rate"]))
        positions.append((int(state.step), int(state.epoch), int(state.batch_in_epoch)))
    np.testing.assert_allclose(rates, [RATE, RATE, RATE / 2, RATE / 2, RATE / 4], rtol=1e-6)
    assert positions == [(1, 0, 1), (2, 1, 0), (3, 1, 1), (4, 2, 0), (5, 2, 1)]


def test_the_updates_of_both_networks_are_proportional_to_the_learning_rate(decaying, batch, start):
    _, _, state, step = start(decaying)
    before = jax.device_get(state)
    updates = []
    for epoch in (0, 2):
        after, _ = step(jax.tree.map(jnp.copy, state)._replace(epoch=jnp.int32(epoch)), batch)
        updates.append([difference(getattr(after, name).params, getattr(before, name).params) for name in NETWORKS])
    for first, later in zip(*updates, strict=True):
        quarter = jax.tree.map(lambda leaf: leaf / 4, first)
        assert relative(later, quarter) < 0.3  # AdamW; the generator's gradient comes through the updated discriminator


def test_initial_losses_have_their_theoretical_values(both_families, batch, start):
    _, _, state, step = start(both_families, optax.sgd)
    _, metrics = step(state, batch)
    assert 2.5 < metrics["discriminator"] < 3.5  # three sub-discriminators whose scores are about 0 for both
    assert 2 < metrics["adversarial"] < 3.5
    total = sum(weight * metrics[name] for name, weight in both_families.losses.loss_weights.items())
    np.testing.assert_allclose(metrics["generator"], total, rtol=1e-6)


def test_the_state_is_donated(decaying, batch, start):
    _, _, state, step = start(decaying)
    step(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state.generator, state.discriminator)))


def test_a_term_of_weight_0_is_neither_computed_nor_reported(tiny_config, monkeypatch):
    def computed(comparison):
        raise AssertionError("computed")

    monkeypatch.setitem(losses.TERMS, "mel", losses.TERMS["mel"]._replace(function=computed))
    audio = jax.ShapeDtypeStruct((tiny_config.optimization.batch_size, tiny_config.optimization.segment_size), jnp.float32)

    def reported(weight):
        config = tiny_config.replace({"loss_weights": {"mel": weight}})
        step = train_step(config, 2, mesh_over(config, jax.devices()[:1]))
        return jax.eval_shape(step, jax.eval_shape(lambda: first_state(config)), Batch(audio, None))[1].keys()

    assert reported(0) == {"discriminator", "generator", "learning_rate", "skipped", "adversarial", "feature_matching"}
    with pytest.raises(AssertionError, match="computed"):
        reported(1e-6)


@pytest.mark.parametrize("adversarial", [False, True])
def test_only_adversarial_terms_wait_for_adversarial_from_step(tiny_config, batch, monkeypatch, adversarial, start):
    term = losses.Term(lambda comparison: abs(comparison.fake - 1).mean(), adversarial, tag="training/loudness")
    monkeypatch.setitem(losses.TERMS, "loudness", term)
    config = tiny_config.replace({"loss_weights": {"loudness": 30.0}})
    _, _, state, step = start(config, optax.sgd, adversarial_from_step=1)
    waiting = {"adversarial", "feature_matching"} | ({"loudness"} if adversarial else set())
    for done, gated in ((0, waiting), (1, set())):
        _, metrics = step(jax.tree.map(jnp.copy, state)._replace(step=jnp.int32(done)), batch)
        weights = config.losses.loss_weights.items()
        total = sum(weight * metrics[name] for name, weight in weights if name not in gated)
        np.testing.assert_allclose(metrics["generator"], total, rtol=1e-6)


def test_a_given_mel_is_used_instead_of_the_audio_s(decaying, batch, start):
    mel = log_mel(batch.audio, decaying.mel)
    _, _, state, step = start(decaying)
    metrics = [step(jax.tree.map(jnp.copy, state), Batch(batch.audio, given))[1] for given in (None, mel, mel - 3)]
    np.testing.assert_allclose(metrics[0]["generator"], metrics[1]["generator"], rtol=1e-6)
    assert abs(metrics[0]["generator"] - metrics[2]["generator"]) > 1e-3


def test_from_parts_inverts_to_parts(both_families, start):
    _, _, state, _ = start(both_families)
    parts = to_parts(state)
    assert not any(name.startswith("generator/params") for name in parts["training"])
    jax.tree.map(np.testing.assert_array_equal, from_parts(parts, state), state)


def difference(after, before):
    return jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), after, before)


def relative(tree, expected):
    """The norm of the difference over all leaves, relative to that of `expected`."""
    apart = sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(difference(tree, expected)))
    size = sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(expected))
    return np.sqrt(apart / size)
