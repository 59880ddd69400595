"""The compiled steps that `regan_tf.benchmark` times: those of a run, at sizes of its own."""

import functools
import math

import tensorflow as tf

from regan_tf.config import Config, UserError
from regan_tf.graphs import compiled
from regan_tf.networks import fused
from regan_tf.networks.discriminator import Discriminator
from regan_tf.networks.generator import Generator
from regan_tf.studies import yardsticks
from regan_tf.training.trainer import Trainer

_TRACKED = ("reinforce", "rebar", "relax")  # also timed with the variance over all parameters
_END = 0


def steps(sizes, updates, d_steps, peer=None):
    """Names to functions without arguments; and the floating-point operations of the bare products.

    Args:
      sizes: a dict of seq_len, batch_size, vocab_size, hidden_dim; mean_length, if sequences end.
      updates: names to what is set for each, as fields of Config.
      d_steps: of the discriminator's epoch.
      peer: "jax" for its steps, too. Raises UserError where that is not installed.
    """
    trainer, real = trainer_of(sizes)
    config, seed = trainer.config, tf.constant([0, 0])
    batches = tf.tile(real[tf.newaxis], [d_steps, 1, 1])
    likelihood_step = compiled(fused.allowed()(trainer.likelihood_step))  # as a run does
    discriminator_step = compiled(fused.allowed()(trainer.discriminator.step))
    multiply, operations = yardsticks.products(config, sizes["vocab_size"])

    def reinforce():
        return trainer.update_generator(seed, real)["reward"].numpy()

    def epoch():
        return trainer.train_discriminator(batches, seed)[0]["discriminator_loss"].numpy()

    found = {
        "bare products": multiply,
        "bare keras LSTM": yardsticks.keras_lstm(config),
        "mle step": lambda: likelihood_step(real),
        "discriminator step": lambda: discriminator_step(real, real),
        "discriminator epoch": epoch,
        "whole iteration": lambda: (reinforce(), epoch()),
        "reinforce update": reinforce,
    }
    for name, options in updates.items():
        if name != "reinforce":
            found[f"{name} update"] = update(sizes, options)
        if name in _TRACKED:
            found[f"{name} update, with variance"] = update(sizes, options, track_variance=True)
    if peer:
        of_peer = _peer(trainer, real, d_steps)
        found |= {f"{peer}: {name}": call for name, call in of_peer.items()}
    return found, operations


def update(sizes, options, track_variance=False):
    """An update of the generator, as a function without arguments."""
    trainer, real = trainer_of(sizes, track_variance=track_variance, **options)
    seed = tf.constant([0, 0])
    return lambda: trainer.update_generator(seed, real)["reward"].numpy()


def _peer(trainer, real, d_steps):
    """JAX's steps, from the same weights."""
    try:
        from regan_tf.studies import jax_peer
    except ImportError as error:
        raise UserError(f"{error}; --peer=jax needs `pip install 'regan-tf[bench]'`") from None
    weights = (
        jax_peer.generator_weights(trainer.generator),
        jax_peer.discriminator_weights(trainer.discriminator.network),
    )
    peer = jax_peer.Peer(*weights, real.numpy())
    return {
        **{name: functools.partial(peer.update, name) for name in jax_peer.UPDATES},
        "discriminator step": peer.discriminate,
        "discriminator epoch": lambda: peer.epoch(d_steps),
    }


def trainer_of(sizes, reward=None, estimator="reinforce", track_variance=False, **options):
    """A Trainer, and tokens int32 [B, T] for data.

    Args:
      sizes: as above.
      reward: instead of the discriminator's.
      estimator, track_variance, **options: fields of Config.
    """
    hidden, batch_size, seq_len = (sizes[x] for x in ("hidden_dim", "batch_size", "seq_len"))
    config = Config(
        estimator=estimator,
        track_variance=track_variance,
        seq_len=seq_len,
        batch_size=batch_size,
        data_size=batch_size,
        embed_dim=hidden,
        generator_dim=hidden,
        discriminator_dim=hidden,
        **options,
    ).resolved()
    vocab_size, mean_length = sizes["vocab_size"], sizes.get("mean_length")
    end = _END if mean_length else None
    generator = Generator(vocab_size, seq_len, hidden, hidden, end_token=end)
    shape = [batch_size, seq_len]
    tokens = tf.random.stateless_uniform(shape, [0, 0], maxval=vocab_size, dtype=tf.int32)
    if mean_length:  # of a new generator, whose other logits are near 0
        bias = math.log((vocab_size - 1) / max(mean_length - 1, 1e-3))
        generator.output_layer.bias.assign(bias * tf.one_hot(_END, vocab_size))
        tokens = generator.sample(batch_size, 0)
    discriminator = Discriminator(vocab_size, hidden, end_token=end)
    return Trainer(config, generator, discriminator, reward), tokens
