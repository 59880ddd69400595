"""Maximum likelihood: a pass over data, with dropout or without, and the gradient of their
log-likelihood.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from regan_tf import replicas
from regan_tf.networks.autoregressive import alive, log_prob, masked, teacher_force
from regan_tf.networks.backprop import with_pullback
from regan_tf.networks.protocol import SequenceGenerator, Unrolled
from regan_tf.spec import is_zero


def read(
    generator: SequenceGenerator, data: tf.Tensor, dropout: Any = 0.0, seed: Any = None
) -> tuple[Unrolled, Callable]:
    """A pass over this replica's rows of the data, and its pullback: as `backprop.with_pullback`.

    Args:
      generator: a SequenceGenerator; for dropout one with `dropout_masks`, as `Generator` has.
      data: int32 [B, T], of all replicas.
      dropout: the share of units that are dropped; with the plain number 0 there are no masks.
      seed: of the masks, a stateless seed, int32 [2]. They are drawn for all rows: so those of a
        row do not depend on how many replicas there are.
    Raises:
      TypeError: the generator cannot drop units.
    """
    tokens = replicas.own_rows(data)
    if is_zero(dropout):
        return with_pullback(generator, lambda: teacher_force(generator, tokens))
    make: Any = getattr(generator, "dropout_masks", None)
    if make is None:
        raise TypeError(
            f"dropout={dropout} is not allowed: {type(generator).__name__} has no dropout_masks, "
            "by which Generator drops units; take 0"
        )
    masks = [replicas.own_rows(x, axis=1) for x in make(data.shape, dropout, seed)]
    thinned: Any = generator
    return with_pullback(generator, lambda: thinned.teacher_force(tokens, masks))


def descent(
    generator: SequenceGenerator, data: tf.Tensor, dropout: Any = 0.0, seed: Any = None
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """The gradient of the mean negative log-likelihood of all replicas' data, and that itself, in
    nats per sequence, up to the sequences' ends; with the same masks in both. Arguments and errors
    are those of `read`.

        - 1/B sum_j sum_t log p(b_jt | b_j<t)

    Returns:
      A tensor for each of `trainable_variables`; and a scalar.
    """
    unrolled, pullback = read(generator, data, dropout, seed)
    tokens = unrolled.tokens
    mask = alive(generator, tokens)
    mean = tf.reduce_mean(tf.reduce_sum(masked(log_prob(unrolled), mask), axis=1))
    share = tf.constant(1 / tokens.shape[0], mean.dtype)
    gradient, _ = pullback(masked(tf.fill(tokens.shape, share), mask))
    *gradient, mean = replicas.mean([*gradient, mean])
    return [-g for g in gradient], -mean
