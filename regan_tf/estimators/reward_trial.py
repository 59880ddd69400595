"""The trial of a reward of one's own before a run: that it can be loaded, runs in a graph, gives
finite numbers, and has what its estimator asks of it.
"""

import contextlib
import math
import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from regan_tf.config import UserError
from regan_tf.estimators.answers import RewardError
from regan_tf.estimators.black_box import BlackBoxReward
from regan_tf.estimators.reward_functions import PythonReward, load
from regan_tf.estimators.rewards import (
    TellingReward,
    UnsuitableError,
    checked,
    of_tokens,
    require_differentiable,
)
from regan_tf.graphs import compiled
from regan_tf.networks.autoregressive import AT_ONCE
from regan_tf.networks.noise import gumbel_noise
from regan_tf.tasks.text import Vocabulary

# What `discontinuity` gives above which a reward has jumps: kinks and rounding give about 0.01 at
# most.
JUMPS = 0.05


_TRIED = 8  # sequences that a reward of texts or tokens is tried on: it may be slow


def suitable(
    config,
    tokens: tf.Tensor,
    vocabulary: Vocabulary,
    reward: Callable | None = None,
    has_calls: bool = False,
):
    """The --reward, tried on data tokens int32 [N, T].

    Args:
      config, tokens: of the run.
      vocabulary: what the tokens stand for.
      reward: what config.reward names, if it is there already.
      has_calls: whether the run has had calls of it already: one in Python is then not tried.
    Raises:
      UserError: it is not what the estimator needs. Of jumps it warns on standard error.
    """
    reward = reward or load(config.reward)
    spec = config.estimator_spec
    _require_next_values(config, reward)
    if isinstance(reward, PythonReward):
        tried = [] if has_calls else _tried_tokens(tokens[:_TRIED].numpy(), vocabulary)
        return _black_box(config, reward, tried, vocabulary)
    if config.reward_calls:
        raise UserError(
            f"--reward_calls={config.reward_calls} needs a --reward of texts or tokens "
            f"(regan_tf.text_reward or token_reward): {config.reward} reads rows"
        )
    values, missed = _tried(config, reward, tokens, len(vocabulary))
    if not np.all(np.isfinite(values)):
        wrong = values[~np.isfinite(values)][0]
        raise UserError(
            f"--reward={config.reward} gave {wrong} for a row of the data: it must be finite"
        )
    # straight_through and reinmax ask for the gradient at hard rows alone.
    is_straight_through = spec.traits.tokens == "straight_through"
    if np.isnan(missed) and not is_straight_through:
        raise UserError(
            f"--reward={config.reward} is not finite in relaxed rows, where "
            f"--estimator={config.estimator} asks for it"
        )
    if missed > JUMPS:
        print(
            f"warning: --reward={config.reward} does not change as its gradient says, which "
            f"misses {missed:.0%} (a jump: rebar and relax are then biased): make it "
            "continuous, or take reinforce_loo",
            file=sys.stderr,
        )
    return reward


def _require_next_values(config, reward):
    """Where --critic_reads asks for them. The discriminator has some."""
    asked = config.estimator_spec.critic_reads == "next" and not config.rewards_by_discriminator
    if asked and not isinstance(reward, TellingReward):
        raise UserError(
            f"--critic_reads=next contradicts --reward={config.reward}, which has no values of "
            "beginnings: take prefix or nothing, or a regan_tf.PrefixReward"
        )


def _tried_tokens(tokens, vocabulary):
    """Some of the data, int32 [N, T], and what a generator may write besides: nothing, and a token
    that is unknown.
    """
    odd = []
    if vocabulary.end is not None:
        odd.append(np.full_like(tokens[0], vocabulary.end))
    if vocabulary.unknown is not None:
        odd.append(np.concatenate([[vocabulary.unknown], tokens[0, 1:]]))
    return np.array([*tokens, *odd], np.int32)


def _black_box(config, function, tokens, vocabulary):
    """A reward of texts or tokens, tried outside of a graph."""
    reward = BlackBoxReward(
        function, vocabulary, config.reward, config.reward_workers, config.reward_calls
    )
    name = f"--reward={config.reward}"
    with contextlib.ExitStack() as unless_it_serves:
        unless_it_serves.callback(reward.close)
        try:
            if config.estimator_spec.differentiates_reward:
                reward(tokens)
            if len(tokens):
                reward.try_on(tokens)
        except UnsuitableError as error:
            reason = f"does not serve --estimator={config.estimator}: {error}"
            raise UserError(f"{name} {reason}") from None
        except RewardError as error:
            raise UserError(f"{name} {error}") from None
        unless_it_serves.pop_all()
    return reward


def _tried(config, reward, tokens, vocab_size):
    """Its values, [N], and its `discontinuity`, 0 where nobody asks for its gradient."""
    name, relaxed = f"--reward={config.reward}", config.estimator_spec.differentiates_reward
    try:
        values = _in_graph(reward, tokens, vocab_size, relaxed).numpy()
        if not relaxed:
            return values, 0.0
        return values, discontinuity(reward, tokens, vocab_size, config.temperature)
    except tf.errors.OpError as error:
        raise UserError(f"{name} failed: {described(error)}") from None
    except Exception as raised:
        source = _source(raised)
        if isinstance(source, UnsuitableError):
            reason = f"does not serve --estimator={config.estimator}: {source}"
        else:
            reason = (
                "failed in a graph, in which training runs it (if it reads texts or tokens, "
                "decorate it with regan_tf.text_reward or token_reward; else write it with "
                f"TensorFlow ops, or wrap it in tf.numpy_function): {described(source)}"
            )
        raise UserError(f"{name} {reason}") from None


def _in_graph(reward, tokens, vocab_size, differentiable):
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


def _source(error):
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
