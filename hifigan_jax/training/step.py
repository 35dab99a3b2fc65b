"""The training step: both players move once, in one compiled program, over any number of devices."""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from hifigan_jax import losses
from hifigan_jax.data import Batch
from hifigan_jax.mel import MelSettings, log_mel
from hifigan_jax.models.discriminators import Verdict
from hifigan_jax.training.state import Optimizer, Player, TrainState

AXIS = "data"  # the mesh axis that batches are split over


def make_train_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimizer: Optimizer,
    input_mel: MelSettings,
    loss_mel: MelSettings,
    loss_weights: Mapping[str, float],
    learning_rate: Callable[[jax.Array], jax.Array],
    batches_per_epoch: int,
    mesh: Mesh,
    adversarial_from_step: int = 0,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """The jitted step (state, batch) -> (state, scalars), as in Kong et al. 2020, section 2.4.

    The discriminator moves first, on real audio and the generator's as data; then the generator, through the discriminator that
    has just moved. One forward pass of the generator serves both. `learning_rate` is a function of the epoch. What the
    discriminators say counts for the generator from `adversarial_from_step` on. The state is replicated over `mesh` and donated,
    the batch split over it, and every loss is the mean over all devices, so that the gradients are those of the whole batch.
    """

    def judge(params, spectral, audio, passes):
        variables = {"params": params, "spectral": spectral}
        verdict, updated = discriminator.apply(variables, audio, passes, mutable=["spectral"])
        return verdict, updated.get("spectral", {})

    def move(player: Player, gradient, rate) -> Player:
        updates, moments = optimizer(rate).update(gradient, player.moments, player.params)
        return Player(optax.apply_updates(player.params, updates), moments)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        rate = learning_rate(state.epoch)
        real = batch.audio
        mel = log_mel(real, input_mel) if batch.mel is None else batch.mel
        fake, pull_back = jax.vjp(lambda params: generator.apply({"params": params}, mel), state.generator.params)

        def discriminator_loss(params):
            verdict, spectral = judge(params, state.spectral, jnp.concatenate([real, fake]), passes=2)
            on_real, on_fake = halves(verdict)
            return jax.lax.pmean(losses.discriminator_loss(on_real.scores, on_fake.scores), AXIS), spectral

        (d_loss, spectral), gradient = jax.value_and_grad(discriminator_loss, has_aux=True)(state.discriminator.params)
        moved = move(state.discriminator, gradient, rate)

        on_real, spectral = judge(moved.params, spectral, real, passes=1)

        def generator_loss(fake):
            on_fake, new_spectral = judge(moved.params, spectral, fake, passes=1)
            terms = {
                "adversarial": losses.adversarial_loss(on_fake.scores),
                "feature_matching": losses.feature_matching_loss(on_real.features, on_fake.features),
                "mel": losses.mean_absolute_difference(log_mel(real, loss_mel), log_mel(fake, loss_mel)),
            }
            terms = jax.lax.pmean(terms, AXIS)
            judged = jnp.where(state.step < adversarial_from_step, 0, 1)
            weights = {name: loss_weights[name] * (1 if name == "mel" else judged) for name in terms}
            return sum(weights[name] * term for name, term in terms.items()), (terms, new_spectral)

        (g_loss, (terms, spectral)), to_fake = jax.value_and_grad(generator_loss, has_aux=True)(fake)
        player = move(state.generator, pull_back(to_fake)[0], rate)

        last = state.batch_in_epoch + 1 >= batches_per_epoch
        position = jnp.where(last, state.epoch + 1, state.epoch), jnp.where(last, 0, state.batch_in_epoch + 1)
        metrics = {"discriminator": d_loss, "generator": g_loss, "learning_rate": rate, **terms}
        return TrainState(state.step + 1, *position, player, moved, spectral), metrics

    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    sharded = jax.shard_map(step, mesh=mesh, in_specs=(whole, split), out_specs=(whole, whole))
    return jax.jit(sharded, donate_argnums=0)


def halves(verdict: Verdict) -> tuple[Verdict, Verdict]:
    """The verdicts on the first and on the second half of a batch."""
    first = jax.tree.map(lambda x: x[: x.shape[0] // 2], verdict)
    second = jax.tree.map(lambda x: x[x.shape[0] // 2 :], verdict)
    return first, second
