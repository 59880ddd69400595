"""Small problems whose exact answers are known, shared by the tests."""

import keras
import numpy as np
import scipy.stats
import tensorflow as tf

from regan_tf import Discriminator, Generator, text_reward
from regan_tf.graphs import compiled, repeat


def networks(
    seed,
    vocab_size=3,
    seq_len=2,
    hidden_dim=4,
    dtype="float32",
    spread=1.5,
    reward_spread=1.0,
    end_token=None,
):
    """A generator and a discriminator with random weights far from their initial ones, so that
    nothing is near zero.
    """
    keras.utils.set_random_seed(seed)
    generator = Generator(vocab_size, seq_len, hidden_dim, hidden_dim, end_token, dtype=dtype)
    discriminator = Discriminator(vocab_size, hidden_dim, end_token, dtype=dtype)
    rng = np.random.default_rng(seed)
    for variable in generator.variables + discriminator.variables:
        variable.assign(spread * rng.normal(size=variable.shape))
    # How much the reward tells sequences apart.
    discriminator.head.kernel.assign(reward_spread * discriminator.head.kernel.value)
    return generator, discriminator


class Protocol:
    """A generator with what the protocol asks for and nothing more: its fast paths are hidden."""

    def __init__(self, generator):
        names = "vocab_size seq_len end_token compute_dtype trainable_variables initial_state step"
        for name in names.split():
            setattr(self, name, getattr(generator, name))


def ignore_prefix(generator):
    """Makes all embeddings equal: the logits then depend on the step, not on the tokens read."""
    rows = generator.embedding.embeddings
    rows.assign(tf.repeat(rows.value[:1], rows.shape[0], axis=0))


def many_plus(rows):
    """A reward for `--reward`: the share of '+'."""
    return tf.reduce_mean(rows[:, :, 1], axis=1)


@text_reward
def plus_and_sign(texts):
    """A reward for `--reward` with a component."""
    return {"reward": [float("+" in text) for text in texts], "sign": [3.0] * len(texts)}


def many_plus_in_numpy(rows):
    """The same by way of NumPy: without a gradient, and without a shape in a graph."""
    return tf.numpy_function(lambda x: x[:, :, 1].mean(axis=1), [rows], tf.float32)


def in_eager_numpy(rows):
    """A reward for `--reward` that no graph can run."""
    return tf.constant(np.asarray(rows)[:, :, 1].mean(axis=1))


def with_python_if(rows):
    """A reward for `--reward` that needs autograph."""
    if tf.reduce_sum(rows) > 0:
        return many_plus(rows)
    return -many_plus(rows)


with_python_if_compiled = tf.function(with_python_if)


def failing(rows):
    """A reward for `--reward` that fails when it runs."""
    return tf.numpy_function(_fail, [rows], tf.float32)


def _fail(rows):
    raise ZeroDivisionError(f"no reward for {len(rows)} rows\nnor for more")


def failing_for_many_plus(rows):
    """A reward for `--reward` that fails on '++...', which no data have."""
    return tf.numpy_function(_fail_for_many_plus, [rows], tf.float32)


def _fail_for_many_plus(rows):
    return _fail(rows) if np.any(np.all(rows[:, :2, 1] == 1, axis=1)) else rows[:, 0, 1]


def nan_for_many_plus(rows):
    """The same, but it gives NaN."""
    return tf.where(rows[:, 0, 1] * rows[:, 1, 1] == 1, np.nan, rows[:, 0, 1])


def nan_for_x(rows):
    """A reward for `--reward` that is not finite for data that begin with 'x'."""
    return tf.where(rows[:, 0, 0] == 1, np.nan, many_plus(rows))


def nan_in_relaxed_rows(rows):
    """A reward for `--reward` that is finite for hard rows alone."""
    return many_plus(rows) + tf.reduce_sum(
        tf.where((rows == 0) | (rows == 1), rows, np.nan), axis=[1, 2]
    )


def with_jumps(rows):
    """A reward for `--reward` with a gradient that misses what it does at 1/2."""
    return many_plus(rows) + tf.reduce_mean(tf.where(rows > 0.5, 1.0, 0.0)[:, :, 1], axis=1)


def with_kinks(rows):
    """A reward for `--reward` that is continuous."""
    return tf.reduce_mean(tf.nn.relu(rows[:, :, 1] - 0.3) + tf.abs(rows[:, :, 2] - 0.5), axis=1)


def first_token(rows):
    """A reward for `--reward` that is not differentiable."""
    return tf.cast(tf.argmax(rows[:, 0], axis=-1), tf.float32)


def flat(tensors):
    return tf.concat([tf.reshape(t, [-1]) for t in tensors], axis=0)


def batch_means(draw, batches):
    """Stacks draw(seed) [P] for `batches` seeds, in one graph: [batches, P]."""

    @compiled
    def run():
        def write(i, means):
            return (means.write(i, tf.cast(draw(tf.stack([i, 1])), tf.float32)),)

        (means,) = repeat(batches, write, (tf.TensorArray(tf.float32, batches),))
        return means.stack()

    return run().numpy().astype(np.float64)


class Comparison:
    """Mean gradients of independent batches against the exact gradient.

    Attributes:
      relative_bias: ||mean - exact|| / ||exact||.
      relative_noise: what it would be from Monte Carlo noise alone.
      worst_p: the smallest two-sided p-value over coordinates, times their number (Bonferroni).
      norm_ratio: ||mean - exact||^2 over its expectation if there is no bias.
    """

    def __init__(self, means, exact):
        exact = np.asarray(exact, np.float64)
        difference = means.mean(axis=0) - exact
        error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
        self.relative_bias = np.linalg.norm(difference) / np.linalg.norm(exact)
        self.relative_noise = np.linalg.norm(error) / np.linalg.norm(exact)
        rounding = 1e-6 * np.abs(exact).max()
        t = np.abs(difference) / (error + rounding)
        self.worst_p = float(2 * scipy.stats.t.sf(t.max(), len(means) - 1) * len(exact))
        self.norm_ratio = np.sum(difference**2) / np.sum(error**2)

    def is_unbiased(self):
        """True unless there is evidence at the level 1e-4 in a coordinate, or in the norm (at worst
        one degree of freedom).
        """
        return self.worst_p > 1e-4 and self.norm_ratio < scipy.stats.chi2.isf(1e-4, 1)

    def __str__(self):
        """The figures in one line."""
        figures = f"bias {self.relative_bias:.4f}, noise {self.relative_noise:.4f}"
        return f"{figures}, p {self.worst_p:.2g}, norm ratio {self.norm_ratio:.2f}"
