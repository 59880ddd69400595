"""Rewards: R of whole rows, and what a per-step control variate asks of them, their value after
every prefix.
"""

import abc
from typing import Any, NamedTuple, Protocol, cast

import tensorflow as tf

from regan_tf import replicas
from regan_tf.estimators.reward_functions import PythonReward
from regan_tf.networks import continuations
from regan_tf.networks.noise import by_inversion, to_gumbel, token_noise
from regan_tf.networks.protocol import SequenceGenerator

# What serves where a reward has no gradient.
WITHOUT_GRADIENT = (
    "use an estimator without a control variate (reinforce, reinforce_loo), or relax with eta=0, "
    "whose control variate is c_hat alone"
)


class UnsuitableError(ValueError):
    """A reward is not what is asked of it."""


class Reward(Protocol):
    """Any callable from rows [B, T, V] to [B]. One that inherits from TokenReward or PrefixReward
    has a faster way to the same besides.
    """

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """R of rows, one-hot or relaxed: one float a row. Differentiable in them where
        `EstimatorSpec.differentiates_reward`.
        """


class TokenReward(abc.ABC):
    """A reward that reads hard tokens without their one-hot rows."""

    @abc.abstractmethod
    def of_tokens(self, tokens: tf.Tensor) -> tf.Tensor:
        """R of int32 [B, T] -> [B]; no gradient."""


class CausalReward(TokenReward):
    """A reward of tokens that comes one by one, R(b) = sum_t r_t, where r_t depends on b_<=t."""

    @abc.abstractmethod
    def of_steps(self, tokens: tf.Tensor) -> tf.Tensor:
        """r_t of int32 [B, T] -> [B, T]; 0 after an end token. No gradient."""

    def to_go(self, tokens: tf.Tensor) -> tf.Tensor:
        """sum_{s>=t} r_s of int32 [B, T] -> [B, T], which is all that the choice of b_t can change;
        0 after an end token. No gradient.
        """
        return tf.cumsum(self.of_steps(tokens), axis=1, reverse=True)

    def of_tokens(self, tokens: tf.Tensor) -> tf.Tensor:
        """R of int32 [B, T] -> [B]; no gradient."""
        return self.to_go(tokens)[:, 0]


class Told(NamedTuple):
    """What a reward says of sequences b, int32 [B, T], and of their beginnings."""

    reward: tf.Tensor  # R, [B]
    values: tf.Tensor  # of b_<t as far as it goes, [B, T, 1]; or [B, T, 0]
    features: tf.Tensor  # of b_<t, [B, T, F]; or [B, T, 0]
    next_values: tf.Tensor  # of b_<t and each token that may be next, [B, T, V]; or [B, T, 0]
    to_go: tf.Tensor | None = None  # of a CausalReward, [B, T]


class TellingReward(abc.ABC):
    """A reward from which a critic may learn more than R."""

    @abc.abstractmethod
    def tell(self, tokens: tf.Tensor, vocab_size: int, dtype: Any, ahead: bool = False) -> Told:
        """All that there is to say of int32 [B, T], at once; no gradient.

        Args:
          ahead: with `next_values`.
        """


class PrefixReward(TellingReward):
    """A reward with a value after every prefix, which the step form of a control variate uses."""

    @abc.abstractmethod
    def prefixes(self, tokens: tf.Tensor, last_rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Values of [b_<t, last_rows_t], and features of b_<t that c_hat reads.

        Args:
          tokens: b, int32 [B, T].
          last_rows: relaxed rows [B, T, V], one for each t.
        Returns:
          [B, T] and [B, T, F]. Gradients of the values flow through `last_rows`.
        """

    def features(self, tokens: tf.Tensor, last_rows: tf.Tensor) -> tf.Tensor:
        """The features of `prefixes` alone, [B, T, F], where its values are of no use."""
        return self.prefixes(tokens, last_rows)[1]

    def tell(self, tokens: tf.Tensor, vocab_size: int, dtype: Any, ahead: bool = False) -> Told:
        """Of `prefixes`, and of one-hot rows for the next tokens."""
        values, features = self.prefixes(tokens, tf.one_hot(tokens, vocab_size, dtype=dtype))
        next_values = tf.zeros_like(features)[..., :0]
        if ahead:
            size, length = tf.shape(tokens)[0], tokens.shape[1]
            rows = tf.repeat(tf.eye(vocab_size, dtype=dtype), size, axis=0)[:, tf.newaxis]
            rows = tf.tile(rows, [1, length, 1])
            each, _ = self.prefixes(tf.tile(tokens, [vocab_size, 1]), rows)
            next_values = tf.transpose(tf.reshape(each, [vocab_size, -1, length]), [1, 2, 0])
        return Told(
            of_tokens(cast(Reward, self), tokens, vocab_size, dtype),
            tf.pad(values[:, :-1], [[0, 0], [1, 0]])[..., tf.newaxis],
            features,
            next_values,
        )


def of_tokens(reward: Reward, tokens: tf.Tensor, vocab_size: int, dtype: Any) -> tf.Tensor:
    """R of hard tokens, int32 [B, T] -> [B]; as one-hot rows unless it is a TokenReward.

    Raises UnsuitableError for a text_reward or token_reward that is no BlackBoxReward yet.
    """
    if isinstance(reward, PythonReward):
        raise UnsuitableError(
            f"the reward reads {reward.reads}: give regan_tf.BlackBoxReward(reward, vocabulary)"
        )
    if isinstance(reward, TokenReward):
        return _one_a_row(
            reward.of_tokens(tokens), f"tokens {tokens.shape}", tokens.shape[:1], dtype
        )
    return checked(reward, tf.one_hot(tokens, vocab_size, dtype=dtype))


def tell(
    reward: Reward,
    tokens: tf.Tensor,
    vocab_size: int,
    dtype: Any,
    reads: str,
    total: tf.Tensor | None = None,
) -> Told:
    """R of hard tokens, int32 [B, T], and what `EstimatorSpec.critic_reads` asks of beginnings, if
    it is a TellingReward; total: R, [B], if it is known already: any other is then not called.
    """
    if reads != "nothing" and isinstance(reward, TellingReward):
        told = reward.tell(tokens, vocab_size, dtype, ahead=reads == "next")
        asked = f"tokens {tokens.shape}", tokens.shape[:1]
        return told._replace(reward=_one_a_row(told.reward, *asked, dtype))
    to_go = reward.to_go(tokens) if isinstance(reward, CausalReward) and total is None else None
    if to_go is not None:
        total = to_go[:, 0]
    elif total is None:
        total = of_tokens(reward, tokens, vocab_size, dtype)
    nothing = tf.zeros([*tf.unstack(tf.shape(tokens)), 0], dtype)
    return Told(total, nothing, nothing, nothing, to_go)


def prefix_values(
    reward: Reward, tokens: tf.Tensor, last_rows: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Values and features for a control variate c_t(z_t) given b_<t, with last_rows_t =
    s_lambda(z_t).

    A PrefixReward answers itself. For any other, the rows after t are filled with 1/V, at
    O(T^2) cost: that keeps the estimator unbiased if the reward treats rows independently and is
    continuous, and finite, inside the simplex.

    Args:
      reward: maps [N, T, V] to [N].
      tokens: b, int32 [B, T].
      last_rows: [B, T, V].
    Returns:
      Values [B, T], and features [B, T, F] (F = 0 unless it is a PrefixReward).
    """
    if isinstance(reward, PrefixReward):
        return reward.prefixes(tokens, last_rows)
    length, vocab_size = last_rows.shape[1:]
    position, t = tf.range(length)[tf.newaxis], tf.range(length)[:, tf.newaxis]
    hard = tf.one_hot(tokens, vocab_size, dtype=last_rows.dtype)[:, tf.newaxis]
    rest = tf.where(
        (position > t)[..., tf.newaxis],
        tf.constant(1 / vocab_size, last_rows.dtype),
        last_rows[:, tf.newaxis],
    )
    rows = tf.where((position < t)[..., tf.newaxis], hard, rest)
    return all_prefixes(reward, rows), tf.zeros([*tf.unstack(tf.shape(tokens)), 0], last_rows.dtype)


def all_prefixes(reward: Reward, rows: tf.Tensor) -> tf.Tensor:
    """R of [B, T (t), T, V] -> [B, T]."""
    length, vocab_size = rows.shape[-2:]
    return tf.reshape(
        checked(reward, tf.reshape(rows, [-1, length, vocab_size])), tf.shape(rows)[:2]
    )


def checked(reward: Reward, rows: tf.Tensor) -> tf.Tensor:
    """reward(rows). Raises UnsuitableError unless it is one floating-point number a row."""
    return _one_a_row(reward(rows), f"rows {rows.shape}", rows.shape[:1], rows.dtype)


def _one_a_row(values, given, shape, dtype):
    values = tf.convert_to_tensor(values)
    if not values.shape.is_compatible_with(shape) or not values.dtype.is_floating:
        raise UnsuitableError(
            f"the reward gave shape {values.shape}, {values.dtype.name}, for {given}: it must "
            "give one float a row, [B]"
        )
    # What a tf.numpy_function gives has no static shape, on which those that go on with it rest.
    return tf.cast(tf.ensure_shape(values, shape), dtype)


def of_continuations(
    generator: SequenceGenerator, reward: Reward, tokens: tf.Tensor, rollouts: int, seed: tf.Tensor
) -> tf.Tensor:
    """SeqGAN's reward per token: the mean of R over continuations of b_<=t, [B, T]; the last is
    R(b) itself.

    Args:
      generator, reward: as for `estimate_gradient`.
      tokens: b, int32 [B, T].
      rollouts: how many continuations a token has.
      seed: a stateless seed, int32 [2].
    """
    (batch_size, length), vocab_size = tokens.shape, generator.vocab_size
    shape = [rollouts, batch_size * replicas.count(), length, length]
    dtype = generator.compute_dtype
    noise = replicas.own_rows(token_noise(shape, vocab_size, seed, dtype), axis=1)

    def values(sequences):
        found = of_tokens(reward, tf.reshape(sequences, [-1, length]), vocab_size, dtype)
        return tf.reshape(found, [-1, batch_size, length])

    if by_inversion(vocab_size):  # one after the other: their logits would be large
        by_rollout = tf.map_fn(
            lambda uniform: values(continuations.inverted(generator, tokens, uniform))[0],
            noise,
            fn_output_signature=dtype,
            parallel_iterations=1,
        )
    else:
        by_rollout = values(continuations.sampled(generator, tokens, to_gumbel(noise)))
    return tf.reduce_mean(by_rollout, axis=0)


def require_differentiable(reward: Reward, rows: tf.Tensor) -> None:
    """Raises UnsuitableError unless reward(rows) has a gradient in the rows.

    It must be continuous in them, too, which `reward_trial.discontinuity` measures.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(rows)
        values = reward(rows)
    if tape.gradient(values, rows) is None:
        raise UnsuitableError(
            "the reward is not differentiable in relaxed rows, and it must be continuous, too: "
            f"{WITHOUT_GRADIENT}"
        )
