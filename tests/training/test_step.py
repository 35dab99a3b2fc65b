import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from hifigan_jax import losses
from hifigan_jax.config import LOSS_WEIGHTS
from hifigan_jax.data import Batch
from hifigan_jax.mel import input_mel, log_mel, loss_mel
from hifigan_jax.models import build_discriminator, build_generator
from hifigan_jax.training.setup import first_state, mesh_over, placed_first_state, train_step
from hifigan_jax.training.state import adamw, from_parts, to_parts

RATE = 1e-3


def start(config, optimizer, adversarial_from_step=0):
    generator, discriminator = build_generator(config), build_discriminator(config)
    config = config.model_copy(update={"adversarial_from_step": adversarial_from_step})
    state = jax.jit(lambda: first_state(config, optimizer))()
    step = train_step(config, 2, mesh_over(config, jax.devices()[:1]), optimizer)
    return generator, discriminator, state, step


@pytest.fixture
def both_families(tiny_config, one_scale):
    return tiny_config.model_copy(
        update={
            "discriminators": ("mpd", "msd"),
            "discriminator_channel_mult": 0.125,
            "learning_rate": RATE,
        }
    )


@pytest.fixture
def batch(tiny_config, rng):
    audio = rng.normal(0, 0.1, (tiny_config.batch_size, tiny_config.segment_size))
    return Batch(jnp.asarray(audio, jnp.float32), None)


def test_the_first_state_drawn_draw_by_draw_is_that_of_one_program(both_families, caplog):
    sharding = NamedSharding(mesh_over(both_families, jax.devices()[:1]), PartitionSpec())
    with jax.log_compiles():
        state = placed_first_state(both_families, sharding)
    expected = jax.jit(lambda: first_state(both_families))()
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    for ours, other in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        assert ours.sharding == sharding
        assert ours.dtype == other.dtype
        np.testing.assert_allclose(ours, other, rtol=1e-6)
    assert "conv_general_dilated" not in caplog.text  # no pass through the models, which the parameters don't need


def test_the_discriminator_moves_first_and_the_generator_through_the_moved_one(both_families, batch):
    config = both_families
    generator, discriminator, state, step = start(config, optax.sgd)
    before = jax.device_get(state)
    after, metrics = step(state, batch)

    real, weights = batch.audio, LOSS_WEIGHTS
    mel = jax.jit(log_mel, static_argnums=1)(real, input_mel(config))

    def speak(params):
        return generator.apply({"params": params}, mel)

    @jax.jit
    def judge(params, spectral, audio):  # one forward pass at a time, as the reference does it
        verdict, updated = discriminator.apply({"params": params, "spectral": spectral}, audio, mutable=["spectral"])
        return verdict, updated["spectral"]

    def discriminator_loss(params, fake):
        on_real, spectral = judge(params, before.spectral, real)
        on_fake, spectral = judge(params, spectral, fake)
        return losses.discriminator_loss(on_real.scores, on_fake.scores), spectral

    fake = jax.jit(speak)(before.generator.params)
    gradient_of = jax.jit(jax.value_and_grad(discriminator_loss, has_aux=True))
    (d_loss, spectral), gradient = gradient_of(before.discriminator.params, fake)
    moved = jax.tree.map(lambda param, slope: param - RATE * slope, before.discriminator.params, gradient)

    def generator_loss(params):
        fake = speak(params)
        on_real, between = judge(moved, spectral, real)
        on_fake, last = judge(moved, between, fake)
        total = weights["adversarial"] * losses.adversarial_loss(on_fake.scores)
        total += weights["feature_matching"] * losses.feature_matching_loss(on_real.features, on_fake.features)
        mels = (log_mel(audio, loss_mel(config)) for audio in (real, fake))
        return total + weights["mel"] * losses.mean_absolute_difference(*mels), last

    (g_loss, spectral), slopes = jax.jit(jax.value_and_grad(generator_loss, has_aux=True))(before.generator.params)
    np.testing.assert_allclose(metrics["discriminator"], d_loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["generator"], g_loss, rtol=1e-5)
    for player, given in (("discriminator", gradient), ("generator", slopes)):
        way = difference(getattr(after, player).params, getattr(before, player).params)
        assert relative(way, jax.tree.map(lambda slope: -RATE * slope, given)) < 1e-3
    assert relative(after.spectral, spectral) < 1e-5


def test_until_adversarial_from_step_the_generator_learns_from_the_mel_alone(tiny_config, batch):
    config = tiny_config.model_copy(update={"learning_rate": RATE})
    generator, _, state, step = start(config, optax.sgd, adversarial_from_step=1)
    before = jax.device_get(state.generator.params)
    moves = []
    for done in (0, 1):
        after, metrics = step(jax.tree.map(jnp.copy, state)._replace(step=jnp.int32(done)), batch)
        moves.append(difference(after.generator.params, before))
        assert metrics["adversarial"] > 1  # it is measured all the same

    def mel_loss(params):
        fake = generator.apply({"params": params}, log_mel(batch.audio, input_mel(config)))
        mels = (log_mel(audio, loss_mel(config)) for audio in (batch.audio, fake))
        return LOSS_WEIGHTS["mel"] * losses.mean_absolute_difference(*mels)

    alone = jax.tree.map(lambda slope: -RATE * slope, jax.jit(jax.grad(mel_loss))(before))
    assert relative(moves[0], alone) < 1e-4
    assert relative(moves[1], alone) > 1e-3


def test_epochs_decay_the_learning_rate_of_both_players(tiny_config, batch):
    config = tiny_config.model_copy(update={"learning_rate": RATE, "lr_decay": 0.5})
    _, _, state, step = start(config, adamw(config))
    rates, places = [], []
    for _ in range(5):
        state, metrics = step(state, batch)
        rates.append(float(metrics["learning_rate"]))
        places.append((int(state.step), int(state.epoch), int(state.batch_in_epoch)))
    np.testing.assert_allclose(rates, [RATE, RATE, RATE / 2, RATE / 2, RATE / 4], rtol=1e-6)
    assert places == [(1, 0, 1), (2, 1, 0), (3, 1, 1), (4, 2, 0), (5, 2, 1)]


def test_losses_start_where_theory_puts_them(both_families, batch):
    _, _, state, step = start(both_families, optax.sgd)
    _, metrics = step(state, batch)
    assert 2.5 < metrics["discriminator"] < 3.5  # three judges that answer about 0 to both
    assert 2 < metrics["adversarial"] < 3.5
    total = sum(LOSS_WEIGHTS[name] * metrics[name] for name in LOSS_WEIGHTS)
    np.testing.assert_allclose(metrics["generator"], total, rtol=1e-6)


def test_the_state_is_donated(tiny_config, batch):
    _, _, state, step = start(tiny_config, adamw(tiny_config))
    step(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state.generator, state.discriminator)))


def test_a_loss_without_a_weight_is_an_error(tiny_config):
    config = tiny_config.model_copy(update={"loss_weights": {"adversarial": 1.0, "mel": 45.0}})
    _, _, state, step = start(config, adamw(config))
    audio = jnp.zeros((config.batch_size, config.segment_size))
    with pytest.raises(KeyError, match="feature_matching"):
        jax.eval_shape(step, state, Batch(audio, None))


def test_a_given_mel_is_used_instead_of_the_audio_s(tiny_config, rng):
    audio = jnp.asarray(rng.normal(0, 0.1, (2, tiny_config.segment_size)), jnp.float32)
    mel = log_mel(audio, input_mel(tiny_config))
    _, _, state, step = start(tiny_config, adamw(tiny_config))
    metrics = [step(jax.tree.map(jnp.copy, state), Batch(audio, given))[1] for given in (None, mel, mel - 3)]
    np.testing.assert_allclose(metrics[0]["generator"], metrics[1]["generator"], rtol=1e-6)
    assert abs(metrics[0]["generator"] - metrics[2]["generator"]) > 1e-3


def test_a_state_taken_apart_is_put_together_again(both_families):
    _, _, state, _ = start(both_families, adamw(both_families))
    parts = to_parts(state)
    assert not any(name.startswith("generator/params") for name in parts["training"])
    jax.tree.map(np.testing.assert_array_equal, from_parts(parts, state), state)


def difference(after, before):
    return jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), after, before)


def relative(tree, expected):
    """Distance by norm, over all leaves."""
    apart = sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(difference(tree, expected)))
    size = sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(expected))
    return np.sqrt(apart / size)
