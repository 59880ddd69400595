"""The discriminator's rewards: D, and the logit of one that was trained on every prefix."""

from typing import Any

import tensorflow as tf

from regan_tf.estimators.rewards import CausalReward, PrefixReward, TellingReward, TokenReward, Told
from regan_tf.networks import autoregressive
from regan_tf.networks.discriminator import Discriminator


class DiscriminatorReward(TokenReward, PrefixReward):
    """R = D(b) = sigmoid(logit), section 3, with a fast evaluation of every prefix."""

    def __init__(self, discriminator: Discriminator):
        self._discriminator = discriminator

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """[B, T, V], one-hot or relaxed -> D in (0, 1), [B]. Differentiable in the rows."""
        return self._discriminator.probability(rows)

    def of_tokens(self, tokens: tf.Tensor) -> tf.Tensor:
        """D of hard tokens, int32 [B, T] -> [B], without their one-hot rows."""
        return self._discriminator.probability(tokens)

    def prefixes(self, tokens: tf.Tensor, last_rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """D read after t tokens, the last of them relaxed: one cell step for each (row, t), not a
        pass.

        Args:
          tokens: b, int32 [B, T].
          last_rows: [B, T, V].
        Returns:
          D([b_<t, last_rows_t]), [B, T], and features of b_<t, [B, T, F]: the discriminator's
          state. Gradients flow through `last_rows`.
        """
        return self._discriminator.prefix_probability(tokens, last_rows)

    def tell(self, tokens: tf.Tensor, vocab_size: int, dtype: Any, ahead: bool = False) -> Told:
        """By one pass, and a cell step for each next token, without its input's product."""
        del vocab_size, dtype
        said = _logits_told(self._discriminator, tokens, ahead)
        return said._replace(
            reward=tf.sigmoid(said.reward),
            values=tf.sigmoid(said.values),
            next_values=tf.sigmoid(said.next_values),
        )


def _logits_told(discriminator, tokens, ahead):
    """logit D of hard tokens, int32 [B, T], and of their beginnings."""
    so_far, states = discriminator.so_far(tokens)
    alive = autoregressive.alive(discriminator, tokens)
    if alive is None:
        total = so_far[:, -1]
    else:  # of what there is up to the end
        length = tf.cast(tf.reduce_sum(alive, axis=1), tf.int32)
        total = tf.gather(so_far, length, axis=1, batch_dims=1)
    none = tf.zeros_like(states)[..., :0]
    next_values = discriminator.next_logits(states) if ahead else none
    return Told(total, so_far[:, :-1, tf.newaxis], states, next_values)


class PrefixLogitReward(CausalReward, TellingReward):
    """R = logit D(b), of a discriminator that was trained on every prefix.

        r_t = logit D(b_<=t) - logit D(b_<t),   logit D(b_<1) = 0

    Where D is the best that there is, logit D(b_<=t) = log p_data(b_<=t) / p_theta(b_<=t). Then r_t
    is that of b_t given b_<t, and E[R] is - KL(p_theta || p_data). What is to go at t is
    R - logit D(b_<t): R with a baseline that has read the prefix, so nothing becomes biased. And
    unlike D itself its logit tells bad sequences from worse.

    Verdicts on prefixes are of de Masson d'Autume et al. 2019 (ScratchGAN), where the reward of a
    token is 2 D(b_<=t) - 1.
    """

    def __init__(self, discriminator: Discriminator):
        self._discriminator = discriminator

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """[B, T, V], one-hot or relaxed -> logit D, [B]. Differentiable in the rows."""
        return self._discriminator(rows)

    def to_go(self, tokens: tf.Tensor) -> tf.Tensor:
        """R - logit D(b_<t) of hard tokens, int32 [B, T] -> [B, T]; 0 after an end token."""
        logits, _ = self._discriminator.with_pullback(tokens, prefixes=True)
        added = logits - tf.pad(logits[:, :-1], [[0, 0], [1, 0]])
        alive = autoregressive.alive(self._discriminator, tokens)
        return tf.cumsum(autoregressive.masked(added, alive), axis=1, reverse=True)

    def tell(self, tokens: tf.Tensor, vocab_size: int, dtype: Any, ahead: bool = False) -> Told:
        """logit D of beginnings, by one pass; `next_values` are for the token alone, less what was
        so far.
        """
        del vocab_size, dtype
        said = _logits_told(self._discriminator, tokens, ahead)
        before = tf.concat([tf.zeros_like(said.values[:, :1]), said.values[:, 1:]], axis=1)
        alive = autoregressive.alive(self._discriminator, tokens)
        to_go = autoregressive.masked(said.reward[:, tf.newaxis] - before[..., 0], alive)
        return said._replace(values=before, next_values=said.next_values - before, to_go=to_go)
