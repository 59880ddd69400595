"""The discriminator's rewards: D; and of one that was trained on every prefix its logit, or what it
says of each.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from regan_tf.estimators.rewards import (
    CausalReward,
    PrefixReward,
    Reward,
    TellingReward,
    TokenReward,
    Told,
)
from regan_tf.networks import autoregressive
from regan_tf.networks.convolutional import AnyDiscriminator
from regan_tf.networks.discriminator import Discriminator


def reward_of(
    discriminator: AnyDiscriminator,
    prefixes: bool = False,
    dense: bool = False,
    discount: float = 1.0,
) -> Reward:
    """A discriminator's reward.

    Args:
      prefixes: it was trained on every prefix, and a sequence gets its logit.
      dense: a sequence gets the sum of what it says of prefixes instead.
      discount: gamma, of a token's later rewards, where it was trained on prefixes.
    """
    if not prefixes:
        judges_prefixes = isinstance(discriminator, Discriminator)
        return (DiscriminatorReward if judges_prefixes else SequenceReward)(discriminator)
    reward = (PrefixProbabilityReward if dense else PrefixLogitReward)(discriminator)
    return reward if discount == 1 else DiscountedReward(reward, discount)


class SequenceReward(TokenReward):
    """R = D(b) = sigmoid(logit), section 3, of any discriminator."""

    def __init__(self, discriminator: AnyDiscriminator):
        self._discriminator: Any = discriminator

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """[B, T, V], one-hot or relaxed -> D in (0, 1), [B]. Differentiable in the rows."""
        return self._discriminator.probability(rows)

    def of_tokens(self, tokens: tf.Tensor) -> tf.Tensor:
        """D of hard tokens, int32 [B, T] -> [B], without their one-hot rows."""
        return self._discriminator.probability(tokens)


class DiscriminatorReward(SequenceReward, PrefixReward):
    """R = D(b) = sigmoid(logit), section 3, of an LSTM, with a fast evaluation of every prefix."""

    def __init__(self, discriminator: Discriminator):
        super().__init__(discriminator)

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

    Verdicts on prefixes are of de Masson d'Autume et al. 2019 (ScratchGAN), whose own reward is
    `PrefixProbabilityReward`.
    """

    def __init__(self, discriminator: Discriminator):
        self._discriminator = discriminator

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """[B, T, V], one-hot or relaxed -> logit D, [B]. Differentiable in the rows."""
        return self._discriminator(rows)

    def of_steps(self, tokens: tf.Tensor) -> tf.Tensor:
        """r_t of hard tokens, int32 [B, T] -> [B, T]; 0 after an end token."""
        logits, _ = self._discriminator.with_pullback(tokens, prefixes=True)
        added = logits - tf.pad(logits[:, :-1], [[0, 0], [1, 0]])
        return autoregressive.masked(added, autoregressive.alive(self._discriminator, tokens))

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


class PrefixProbabilityReward(CausalReward, TellingReward):
    """R = sum_t r_t of a discriminator that was trained on every prefix, with

        r_t = 2 D(b_<=t) - 1 = tanh(logit D(b_<=t) / 2)

    up to the end token: a token's reward in ScratchGAN (de Masson d'Autume et al. 2019). Each
    verdict is of all tokens so far, so what an early one earns counts again at every later step.
    """

    def __init__(self, discriminator: Discriminator):
        self._discriminator = discriminator

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """R of rows [B, T, V], one-hot or relaxed -> [B]. Differentiable in the rows."""
        return tf.reduce_sum(self._verdicts(rows), axis=1)

    def of_steps(self, tokens: tf.Tensor) -> tf.Tensor:
        """r_t of hard tokens, int32 [B, T] -> [B, T]; 0 after an end token."""
        return self._verdicts(tokens)

    def _verdicts(self, rows):
        so_far, _ = self._discriminator.so_far(rows)
        alive = autoregressive.alive(self._discriminator, rows)
        return autoregressive.masked(tf.tanh(so_far[:, 1:] / 2), alive)

    def tell(self, tokens: tf.Tensor, vocab_size: int, dtype: Any, ahead: bool = False) -> Told:
        """By one pass; a value is the last verdict, 0 of nothing, and `next_values` are verdicts,
        which are what the next token gets at once.
        """
        del vocab_size, dtype
        so_far, states = self._discriminator.so_far(tokens)
        verdicts = tf.tanh(so_far[:, 1:] / 2)
        alive = autoregressive.alive(self._discriminator, tokens)
        to_go = tf.cumsum(autoregressive.masked(verdicts, alive), axis=1, reverse=True)
        values = tf.pad(verdicts[:, :-1], [[0, 0], [1, 0]])[..., tf.newaxis]
        next_values = tf.zeros_like(states)[..., :0]
        if ahead:
            next_values = tf.tanh(self._discriminator.next_logits(states) / 2)
        return Told(to_go[:, 0], values, states, next_values, to_go)


class DiscountedReward(CausalReward):
    """The rewards r_t of another, of which later ones count less for a token:

        R_t = sum_{s>=t} gamma^(s-t) r_s,   R = R_1

    With gamma < 1 the mean of sum_t R_t grad log p(b_t | b_<t) is no gradient of E[R], nor of
    another mean reward: each step ascends its own E[R_t | b_<t], as if the earlier ones had none of
    it. A critic learns nothing of it, whose sums over later tokens are not discounted.

    Args:
      reward: has r_t.
      discount: gamma, above 0 and at most 1.
    """

    def __init__(self, reward: CausalReward, discount: float):
        self._reward, self._discount = reward, discount

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """R of one-hot rows [B, T, V] -> [B]; no gradient."""
        return self.of_tokens(tf.argmax(rows, axis=-1, output_type=tf.int32))

    def of_steps(self, tokens: tf.Tensor) -> tf.Tensor:
        """r_t itself, int32 [B, T] -> [B, T]."""
        return self._reward.of_steps(tokens)

    def to_go(self, tokens: tf.Tensor) -> tf.Tensor:
        """R_t of int32 [B, T] -> [B, T]; 0 after an end token."""
        of_steps, steps = self.of_steps(tokens), np.arange(tokens.shape[1])
        later = steps[:, np.newaxis] - steps  # s - t, in row s and column t
        weights = np.where(later < 0, 0, self._discount ** np.maximum(later, 0))
        return of_steps @ tf.constant(weights, of_steps.dtype)
