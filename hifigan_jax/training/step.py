"""The training step: both networks are updated once, in one compiled program, over any number of devices."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from hifigan_jax.config.sections import Losses, Mel
from hifigan_jax.data import Batch
from hifigan_jax.faults import poison
from hifigan_jax.losses import GAN_LOSSES, TERMS, Comparison
from hifigan_jax.mel import generator_input, log_mel
from hifigan_jax.models.generator import Conditions
from hifigan_jax.training.accumulation import gradient_of_parameters, gradient_of_rows, vjp_of_parameters
from hifigan_jax.training.state import NetworkState, Optimizer, TrainState

AXIS = "data"  # the mesh axis that batches are sharded over


def make_train_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimizer: Optimizer,
    mel: Mel,
    losses: Losses,
    learning_rate: Callable[[jax.Array], jax.Array],
    batches_per_epoch: int,
    mesh: Mesh,
    accumulation_steps: int = 1,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """The jitted step (state, batch) -> (state, scalars), as in Kong et al. 2020, section 2.4.

    The discriminator is updated first, on real and generated audio; then the generator, through the updated discriminator. Both
    use one forward pass of the generator (recomputed with accumulation). `learning_rate` is a function of the epoch. The state is
    replicated over `mesh` and donated; the batch is sharded over it. One all-reduce per network averages its losses and gradients
    over all devices, which gives those of the full batch. Each device processes its rows in `accumulation_steps` micro-batches.
    If a loss or a gradient is not finite, the step is skipped: both networks stay what they were, and "skipped" is true.
    """
    gan_loss = GAN_LOSSES[losses.gan_loss]
    weights = {name: weight for name, weight in losses.loss_weights.items() if weight > 0}
    loss_mel = mel.replace(fmax=losses.fmax_for_loss)

    def generate(params, mel):
        return generator.apply({"params": params}, Conditions(mel))

    def discriminate(params, spectral, *batches):
        variables = {"params": params, "spectral": spectral}
        outputs, updated = discriminator.apply(variables, *batches, mutable=["spectral"])
        return *outputs, updated.get("spectral", {})

    def apply_gradients(network: NetworkState, gradient, rate) -> NetworkState:
        updates, opt_state = optimizer(rate).update(gradient, network.opt_state, network.params)
        return NetworkState(optax.apply_updates(network.params, updates), opt_state)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        rate = learning_rate(state.epoch)
        real = batch.audio
        input_mel = generator_input(real, mel) if batch.mel is None else batch.mel
        fake, pull_back = vjp_of_parameters(generate, state.generator.params, input_mel, accumulation_steps)

        def discriminator_loss(params, real, fake):
            on_real, on_fake, spectral = discriminate(params, state.spectral, real, fake)
            loss = gan_loss.discriminator(on_real.scores, on_fake.scores)
            return poison("loss.discriminator", loss, state.step), spectral

        value_and_gradient = gradient_of_parameters(discriminator_loss, accumulation_steps)
        (d_loss, spectral), d_gradient = value_and_gradient(state.discriminator.params, real, fake)
        d_loss, d_gradient = jax.lax.pmean((d_loss, poison("discriminator_gradient", d_gradient, state.step)), AXIS)
        updated_discriminator = apply_gradients(state.discriminator, d_gradient, rate)

        def generator_loss(fake, real):
            on_real, spectral_after_real = discriminate(updated_discriminator.params, spectral, real)
            on_fake, new_spectral = discriminate(updated_discriminator.params, spectral_after_real, fake)
            comparison = Comparison(real, fake, on_real, on_fake, gan_loss, lambda audio: log_mel(audio, loss_mel))
            terms = {name: poison(f"loss.{name}", TERMS[name].function(comparison), state.step) for name in weights}
            adversarial_gate = jnp.where(state.step < losses.adversarial_from_step, 0, 1)
            gates = {name: adversarial_gate if TERMS[name].adversarial else 1 for name in terms}
            return sum(weights[name] * gates[name] * term for name, term in terms.items()), (terms, new_spectral)

        (g_loss, (terms, spectral)), fake_gradient = gradient_of_rows(generator_loss, accumulation_steps)(fake, real)
        g_gradient = poison("generator_gradient", pull_back(fake_gradient), state.step)
        g_loss, terms, g_gradient = jax.lax.pmean((g_loss, terms, g_gradient), AXIS)
        updated_generator = apply_gradients(state.generator, g_gradient, rate)

        # Finite norms also keep the optimizers' second moments finite.
        finite = jnp.isfinite(d_loss + g_loss + optax.tree.norm(d_gradient) + optax.tree.norm(g_gradient))
        epoch_ends = state.batch_in_epoch + 1 >= batches_per_epoch
        position = jnp.where(epoch_ends, state.epoch + 1, state.epoch), jnp.where(epoch_ends, 0, state.batch_in_epoch + 1)
        skipped = TrainState(state.step + 1, *position, *state[3:])
        updated = skipped._replace(generator=updated_generator, discriminator=updated_discriminator, spectral=spectral)
        metrics = {"discriminator": d_loss, "generator": g_loss, "learning_rate": rate, "skipped": ~finite, **terms}
        return jax.tree.map(functools.partial(jnp.where, finite), updated, skipped), metrics

    replicated, sharded = PartitionSpec(), PartitionSpec(AXIS)
    # With check_vma, shard_map would insert one all-reduce per parameter and micro-batch.
    on_mesh = jax.shard_map(step, mesh=mesh, in_specs=(replicated, sharded), out_specs=(replicated, replicated), check_vma=False)
    return jax.jit(on_mesh, donate_argnums=0)
