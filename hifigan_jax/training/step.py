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
from hifigan_jax.training.accumulation import gradient_of_parameters, gradient_of_rows, vjp_of_parameters
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
    accumulation_steps: int = 1,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """The jitted step (state, batch) -> (state, scalars), as in Kong et al. 2020, section 2.4.

    The discriminator moves first, on real audio and the generator's as data; then the generator, through the discriminator that
    has just moved. One forward pass of the generator serves both. `learning_rate` is a function of the epoch. What the
    discriminators say counts for the generator from `adversarial_from_step` on. The state is replicated over `mesh` and donated,
    the batch split over it, and every loss and gradient is the mean over all devices, one all-reduce a player: those of the whole
    batch. Each device takes its rows in `accumulation_steps` micro-batches.
    """

    def speak(params, mel):
        return generator.apply({"params": params}, mel)

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
        fake, pull_back = vjp_of_parameters(speak, state.generator.params, mel, accumulation_steps)

        def discriminator_loss(params, real, fake):
            verdict, spectral = judge(params, state.spectral, jnp.concatenate([real, fake]), passes=2)
            on_real, on_fake = halves(verdict)
            return losses.discriminator_loss(on_real.scores, on_fake.scores), spectral

        d_gradient = gradient_of_parameters(discriminator_loss, accumulation_steps)
        (d_loss, spectral), gradient = d_gradient(state.discriminator.params, real, fake)
        d_loss, gradient = jax.lax.pmean((d_loss, gradient), AXIS)
        moved = move(state.discriminator, gradient, rate)

        def generator_loss(fake, real):
            on_real, between = judge(moved.params, spectral, real, passes=1)
            on_fake, new_spectral = judge(moved.params, between, fake, passes=1)
            terms = {
                "adversarial": losses.adversarial_loss(on_fake.scores),
                "feature_matching": losses.feature_matching_loss(on_real.features, on_fake.features),
                "mel": losses.mean_absolute_difference(log_mel(real, loss_mel), log_mel(fake, loss_mel)),
            }
            judged = jnp.where(state.step < adversarial_from_step, 0, 1)
            weights = {name: loss_weights[name] * (1 if name == "mel" else judged) for name in terms}
            return sum(weights[name] * term for name, term in terms.items()), (terms, new_spectral)

        (g_loss, (terms, spectral)), to_fake = gradient_of_rows(generator_loss, accumulation_steps)(fake, real)
        g_loss, terms, gradient = jax.lax.pmean((g_loss, terms, pull_back(to_fake)), AXIS)
        player = move(state.generator, gradient, rate)

        last = state.batch_in_epoch + 1 >= batches_per_epoch
        position = jnp.where(last, state.epoch + 1, state.epoch), jnp.where(last, 0, state.batch_in_epoch + 1)
        metrics = {"discriminator": d_loss, "generator": g_loss, "learning_rate": rate, **terms}
        return TrainState(state.step + 1, *position, player, moved, spectral), metrics

    whole, split = PartitionSpec(), PartitionSpec(AXIS)
    # check_vma would sum every gradient by itself, and once for each micro-batch.
    sharded = jax.shard_map(step, mesh=mesh, in_specs=(whole, split), out_specs=(whole, whole), check_vma=False)
    return jax.jit(sharded, donate_argnums=0)


def halves(verdict: Verdict) -> tuple[Verdict, Verdict]:
    """The verdicts on the first and on the second half of a batch."""
    first = jax.tree.map(lambda x: x[: x.shape[0] // 2], verdict)
    second = jax.tree.map(lambda x: x[x.shape[0] // 2 :], verdict)
    return first, second
