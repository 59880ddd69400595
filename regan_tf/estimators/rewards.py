"""Rewards: R of whole rows, and what a per-step control variate asks of them, their value after
every prefix.
"""

import importlib
import math

import tensorflow as tf

from regan_tf import replicas
from regan_tf.config import UserError
from regan_tf.graphs import compiled
from regan_tf.networks import continuations
from regan_tf.networks.autoregressive import AT_ONCE
from regan_tf.networks.noise import gumbel_noise, to_gumbel, uniform_noise

# What `discontinuity` gives above which a reward has jumps: kinks and rounding give about 0.01 at
# most.
JUMPS = 0.05


class UnsuitableError(ValueError):
    """A reward is not what is asked of it."""


class DiscriminatorReward:
    """R = D(b) = sigmoid(logit), section 3, with a fast evaluation of every prefix.

    A reward is any callable from rows [B, T, V] to [B]. `of_tokens` and `prefixes` are optional:
    see the functions below.
    """

    def __init__(self, discriminator):
        self._discriminator = discriminator

    def __call__(self, rows):
        """[B, T, V], one-hot or relaxed -> D in (0, 1), [B]. Differentiable in the rows."""
        return self._discriminator.probability(rows)

    def of_tokens(self, tokens):
        """D of hard tokens, int32 [B, T] -> [B], without their one-hot rows."""
        return self._discriminator.probability(tokens)

    def prefixes(self, tokens, last_rows):
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


def of_tokens(reward, tokens, vocab_size, dtype):
    """R of hard tokens, int32 [B, T] -> [B]; as one-hot rows unless the reward has `of_tokens`."""
    if hasattr(reward, "of_tokens"):
        return _one_a_row(
            reward.of_tokens(tokens), f"tokens {tokens.shape}", tokens.shape[:1], dtype
        )
    return checked(reward, tf.one_hot(tokens, vocab_size, dtype=dtype))


def prefix_values(reward, tokens, last_rows):
    """Values and features for a control variate c_t(z_t) given b_<t, with last_rows_t =
    s_lambda(z_t).

    A reward with `prefixes` answers itself. For any other, the rows after t are filled with 1/V, at
    O(T^2) cost: that keeps the estimator unbiased if the reward treats rows independently and is
    continuous, and finite, inside the simplex.

    Args:
      reward: maps [N, T, V] to [N].
      tokens: b, int32 [B, T].
      last_rows: [B, T, V].
    Returns:
      Values [B, T], and features [B, T, F] (F = 0 without `prefixes`).
    """
    if hasattr(reward, "prefixes"):
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


def all_prefixes(reward, rows):
    """R of [B, T (t), T, V] -> [B, T]."""
    length, vocab_size = rows.shape[-2:]
    return tf.reshape(
        checked(reward, tf.reshape(rows, [-1, length, vocab_size])), tf.shape(rows)[:2]
    )


def checked(reward, rows):
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


def of_continuations(generator, reward, tokens, rollouts, seed):
    """SeqGAN's reward per token: the mean of R over continuations of b_<=t, [B, T]; the last is
    R(b) itself.

    Args:
      generator, reward: as for `estimate_gradient`.
      tokens: b, int32 [B, T].
      rollouts: how many continuations a token has.
      seed: a stateless seed, int32 [2].
    """
    batch_size, length = tokens.shape
    shape = [rollouts, batch_size * replicas.count(), length, length, generator.vocab_size]
    noise = to_gumbel(
        replicas.own_rows(uniform_noise(shape, seed, generator.compute_dtype), axis=1)
    )
    sampled = continuations.sampled(generator, tokens, noise)
    value = of_tokens(reward, tf.reshape(sampled, [-1, length]), generator.vocab_size, noise.dtype)
    return tf.reduce_mean(tf.reshape(value, [rollouts, batch_size, length]), axis=0)


def require_differentiable(reward, rows):
    """Raises UnsuitableError unless reward(rows) has a gradient in the rows.

    It must be continuous in them, too, which `discontinuity` measures.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(rows)
        values = reward(rows)
    if tape.gradient(values, rows) is None:
        raise UnsuitableError(
            "the reward is not differentiable in relaxed rows, and it must be continuous, too: "
            "use an estimator without a control variate (reinforce, reinforce_loo), or relax with "
            "eta=0, whose control variate is c_hat alone"
        )


def discontinuity(reward, tokens, vocab_size, temperature=1.0, points=64):
    """How much of the change of R along straight lines x(u) between relaxed rows its gradient
    misses.

        sum |R(x(1)) - R(x(0)) - int R'(u) du| / sum (|R(x(1)) - R(x(0))| + int |R'(u)| du),
        R'(u) = <grad R(x(u)), x(1) - x(0)>,   0 <= u <= 1

    The fundamental theorem of calculus: near 0 if R is continuous, also with kinks; more if it
    jumps, which automatic differentiation does not see. Forms that are unbiased otherwise are then
    biased.

    Args:
      reward: maps rows [N, T, V] to [N], and has a gradient in them.
      tokens: int32 [N, T], near whose one-hot rows the relaxed ones lie; half of them are
        exchanged.
      vocab_size, temperature: V and lambda.
      points: of the midpoint rule. A slope that is narrower than 1 / points counts as a jump.
    Returns:
      A float; above JUMPS there are jumps. NaN if R or its gradient is not finite there.
    """
    length = tokens.shape[1]
    size = max(2, min(64, AT_ONCE // (8 * length * vocab_size)))  # lines

    @compiled
    def measure(tokens):
        seeds = tf.unstack(tf.random.experimental.stateless_split([0, 1], 5))
        tokens = tf.gather(
            tokens, tf.random.stateless_uniform([2 * size], seeds[0], 0, tokens.shape[0], tf.int32)
        )
        other = tf.random.stateless_uniform([2 * size, length], seeds[1], 0, vocab_size, tf.int32)
        tokens = tf.where(
            tf.random.stateless_uniform([2 * size, length], seeds[2]) < 0.5, other, tokens
        )
        # Logits of all degrees of certainty: V log V beside the V - 1 others is about even.
        certain = tf.random.stateless_uniform(
            [2 * size, length, 1], seeds[3], 0.0, 2 * math.log(vocab_size)
        )
        z = gumbel_noise([2 * size, length, vocab_size], seeds[4]) + certain * tf.one_hot(
            tokens, vocab_size
        )
        start, end = tf.split(tf.nn.softmax(z / temperature), 2)

        def slope(u):
            u = tf.fill([size, 1, 1], u)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(u)
                value = checked(reward, start + u * (end - start))
            return tf.reshape(tape.gradient(value, u, unconnected_gradients="zero"), [size])

        slopes = tf.map_fn(
            slope, (tf.range(points, dtype=tf.float32) + 0.5) / points, parallel_iterations=1
        )
        first, last = checked(reward, start), checked(reward, end)
        missed = tf.abs(last - first - tf.reduce_mean(slopes, axis=0))
        change = tf.abs(last - first) + tf.reduce_mean(tf.abs(slopes), axis=0)
        # Of a reward that hardly changes, what is missed is rounding.
        return tf.reduce_sum(missed) / tf.reduce_sum(
            change + 1e-4 * (tf.abs(first) + tf.abs(last)) + 1e-30
        )

    return float(measure(tf.constant(tokens)))


def tried(reward, tokens, vocab_size, differentiable):
    """R of hard tokens, int32 [N, T] -> [N], as training will ask for it: in a graph.

    Args:
      reward, tokens, vocab_size: as for `of_tokens`.
      differentiable: whether the reward must have a gradient.
    Raises:
      UnsuitableError: it is not what is asked of it; or what the reward itself raises.
    """

    @compiled
    def values(tokens):
        if differentiable:
            require_differentiable(reward, tf.one_hot(tokens, vocab_size))
        return of_tokens(reward, tokens, vocab_size, tf.float32)

    return values(tokens)


def source(error):
    """The error as it was raised, where a tf.function has made another of it, with its stack for a
    message.
    """
    return (
        error.__context__ if str(error).startswith("in user code:") and error.__context__ else error
    )


def described(error):
    """An error's type and message in one line; of one that a graph ran into, without the stacks."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, tf.errors.OpError):
        stacks = ("Graph execution error:", "Detected at node", "Traceback ")
        lines = [line for line in str(error.message).splitlines() if line and not line[0].isspace()]
        text = next((line for line in lines if not line.startswith(stacks)), type(error).__name__)
    return " ".join(text.split())


def load(name):
    """The reward `module:function`. Raises UserError if there is none."""
    module, _, function = name.partition(":")
    try:
        reward = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(
            f"--reward={name} cannot be loaded ({error}): it must be module:function, importable "
            "from here"
        ) from None
    if not callable(reward):
        raise UserError(f"--reward={name} is not callable: it must map rows [B, T, V] to [B]")
    return reward
