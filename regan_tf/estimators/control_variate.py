"""Control variates c(z) in three forms, and the networks c_hat_phi that RELAX adds to them (ReGAN
sections 3.2-3.3).

A form is a function of (z [B, T, V]; what else it may depend on) to c, [B] or [B, T]. What may
carry gradient is decided by the caller, which differentiates c with respect to z alone: parameters,
prefixes, states and noise inside c are constants.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from regan_tf.estimators import rewards
from regan_tf.estimators.relaxation import RelaxedTokens
from regan_tf.networks import autoregressive, continuations


class Context(NamedTuple):
    """What a control variate may depend on besides z."""

    generator: object
    reward: object
    network: object  # c_hat_phi, or None
    unrolled: autoregressive.Unrolled  # gives prefixes b_<t, and the states after them
    later_noise: tf.Tensor  # Gumbel w [B, T, V], of the steps after t; independent of step t
    temperature: object
    eta: object


def sequence(z, context):
    """The paper's form, equations (8)-(12): c(z_1:T) = eta R(s_lambda(z_1:T)) + c_hat(z_1:T), [B].

    One value for the whole sequence. Biased for a generator that reads its own samples: b_t decides
    the later l_t', so z_t' jumps where z_t crosses from one token to another, and the pathwise
    gradient does not see the jump.
    """
    value = tf.zeros_like(z[:, 0, 0])
    if not is_zero(context.eta):
        value = context.eta * rewards.checked(context.reward, _relax(z, context))
    if not context.network:
        return value
    return value + context.network(
        autoregressive.masked(z, autoregressive.alive(context.generator, context.unrolled.tokens))
    )


def step(z, context):
    """One control variate per action (RELAX, section on reinforcement learning): unbiased.

        c_t(z_t) = eta R([b_<t, s_lambda(z_t)]) + c_hat(features(b_<t), z_t),  [B, T]

    Given b_<t, z_t is a smooth function of l_t, so E[grad c_t(z_t)] = grad E[c_t(z_t)] with the
    prefix fixed, if R is continuous (`rewards.discontinuity`); the score's share of the prefix is
    carried by the terms of the earlier steps.
    """
    if is_zero(context.eta) and not hasattr(context.reward, "prefixes"):
        value, features = tf.zeros_like(z[..., 0]), tf.zeros_like(z[..., :0])
    else:
        value, features = rewards.prefix_values(
            context.reward, context.unrolled.tokens, _relax(z, context)
        )
        value = context.eta * value
    return (
        value + context.network(_features(context.unrolled, features), z)
        if context.network
        else value
    )


def rollout(z, context):
    """REBAR's multi-layer form: unbiased, with a soft look-ahead.

        c_t(z_t) = eta R([b_<t, s_lambda(z_t), y_t+1:T]) + c_hat(features(b_<t), z_t),  [B, T]

    y is the generator fed its own relaxed outputs, with the later steps' noise: a smooth function
    of z_t. The noise is independent of step t, so the argument for `step` holds, and R must be
    continuous here, too; the hard b_>t, which depend on b_t by jumps, are not used.
    T (T - 1) / 2 generator steps a row.
    """
    if is_zero(context.eta):
        return step(z, context)
    rows = continuations.relaxed(
        context.generator,
        context.unrolled,
        _relax(z, context),
        context.later_noise,
        context.temperature,
    )
    value = context.eta * rewards.all_prefixes(context.reward, rows)
    return value + step(z, context._replace(eta=0.0)) if context.network else value


FORMS = {"sequence": sequence, "step": step, "rollout": rollout}


def evaluate(form, pair, context, coupled):
    """Evaluates a control variate and its slopes.

    Args:
      form: one of FORMS.
      pair: z and z~, [K B, T, V] each, for K draws.
      context: what c may depend on besides.
      coupled: z and z~ have the same value, so c is evaluated once.
    Returns:
      c(z~), averaged over draws, [B, 1] or [B, T]; and dc/dz and -dc/dz~, the weights with which z
      and z~ are differentiated. Gradients flow through both to phi, eta and lambda.
    """
    points = pair[1] if coupled else tf.concat(pair, axis=0)
    copies = points.shape[0] // context.unrolled.tokens.shape[0]
    later_noise = tf.tile(context.later_noise, [copies, 1, 1])
    repeated = context._replace(
        unrolled=autoregressive.repeated(context.unrolled, copies), later_noise=later_noise
    )
    c, slopes = slope(lambda z: form(z, repeated), points)
    draws = copies if coupled else copies // 2
    slopes = [slopes, slopes] if coupled else tf.split(slopes, 2)
    c = c if coupled else tf.split(c, 2)[1]
    c = tf.reduce_mean(tf.reshape(c, [draws, -1, *c.shape[1:]]), axis=0)
    return c if c.shape.rank == 2 else c[:, tf.newaxis], [slopes[0] / draws, -slopes[1] / draws]


def slope(function, x):
    """function(x) and the gradient of its sum in x."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value = function(x)
    return value, tape.gradient(value, x, unconnected_gradients="zero")


def feature_dim(generator, reward):
    """F: how many features `step` hands to c_hat for each step."""
    zeros = tf.zeros([1, generator.seq_len, generator.vocab_size], generator.compute_dtype)
    unrolled = autoregressive.unroll(generator, zeros)
    features = (
        reward.prefixes(unrolled.tokens, zeros)[1]
        if hasattr(reward, "prefixes")
        else zeros[..., :0]
    )
    return _features(unrolled, features).shape[-1]


def _features(unrolled, reward_features):
    """The generator's state, a function of b_<t, and the reward's features: [B, T, F]."""
    flat = [
        tf.reshape(x, [*tf.unstack(tf.shape(x)[:2]), x.shape[2:].num_elements()])
        for x in tf.nest.flatten(unrolled.states)
    ]
    return tf.concat([tf.transpose(tf.concat(flat, axis=-1), [1, 0, 2]), reward_features], axis=-1)


def _relax(z, context):
    """s_lambda(z), and the end token after the end."""
    rows = RelaxedTokens(context.temperature, context.unrolled.log_probs).relax(z)
    alive = autoregressive.alive(context.generator, context.unrolled.tokens)
    if alive is None:
        return rows
    return tf.where(
        alive[..., tf.newaxis] > 0,
        rows,
        tf.one_hot(context.generator.end_token, rows.shape[-1], dtype=rows.dtype),
    )


def is_zero(eta):
    """Whether eta is the plain number 0: R is then left out of c, and need not be defined on
    relaxed rows.
    """
    return isinstance(eta, (int, float)) and eta == 0


class LearnedScalar:
    """eta, or lambda, when it is trained to lower the variance, as in the REBAR paper (Tucker et
    al. 2017).

    Args:
      initial: its first value.
      positive: keep it positive, by training its logarithm: for lambda.
    """

    def __init__(self, initial, positive=False):
        self.positive = positive
        self.variable = keras.Variable(np.log(initial) if positive else initial, dtype="float32")

    def value(self):
        """The scalar as a tensor; differentiable in `variable`."""
        return (
            tf.exp(self.variable.value)
            if self.positive
            else tf.convert_to_tensor(self.variable.value)
        )


def float_or_tensor(scalar, dtype):
    """A plain number as it is; a LearnedScalar's value."""
    return tf.cast(scalar.value(), dtype) if isinstance(scalar, LearnedScalar) else scalar


class ControlNetwork(keras.Model):
    """c_hat_phi(z) for the sequence form: two convolutions over time, the mean over steps, one
    linear output.

    The activations are smooth since the estimator uses the gradient in z, and equation (19)
    differentiates that. The output starts at zero, so that RELAX starts as REBAR and departs from
    it only as far as that lowers the variance.

    Args:
      vocab_size: V.
      filters: channels of both convolutions.
      width: steps that a convolution sees.
    """

    def __init__(self, vocab_size, filters=32, width=3, **kwargs):
        super().__init__(**kwargs)

        def convolution(name):
            return keras.layers.Conv1D(
                filters,
                width,
                padding="same",
                activation="tanh",
                dtype=self.dtype_policy,
                name=name,
            )

        self.convolutions = [convolution("first"), convolution("second")]
        self.head = keras.layers.Dense(
            1, kernel_initializer="zeros", dtype=self.dtype_policy, name="head"
        )
        for layer, channels in zip(self.convolutions, (vocab_size, filters), strict=True):
            layer.build((None, None, channels))
        self.head.build((None, filters))
        self.built = True

    def call(self, z):
        """z [B, T, V], unrelaxed -> [B]. Gradients flow through z and the weights phi."""
        for layer in self.convolutions:
            z = layer(z)
        return tf.squeeze(self.head(tf.reduce_mean(z, axis=1)), axis=-1)


class StepControlNetwork(keras.Model):
    """c_hat_phi(features(b_<t), z_t) for the step and rollout forms: two hidden layers, the same
    for every t.

    It reads z_t as it is and relaxed: without the former the variance it reaches is nearly twice as
    high (BUILD_NOTES.md).

    Smooth, and zero at the start, for the same reasons as `ControlNetwork`.

    Args:
      feature_dim: F: the sizes of the generator's state and, if the reward has `prefixes`, of its
        features.
      vocab_size: V.
      units: of both hidden layers.
    """

    def __init__(self, feature_dim, vocab_size, units=64, **kwargs):
        super().__init__(**kwargs)
        sizes = [(feature_dim + 2 * vocab_size, units), (units, units)]
        self.hidden = [
            keras.layers.Dense(n, activation="tanh", dtype=self.dtype_policy, name=f"hidden_{m}")
            for m, n in sizes
        ]
        self.head = keras.layers.Dense(
            1, kernel_initializer="zeros", dtype=self.dtype_policy, name="head"
        )
        for layer, (width, _) in zip([*self.hidden, self.head], [*sizes, (units, 1)], strict=True):
            layer.build((None, None, width))
        self.built = True

    def call(self, features, z):
        """features [B, T, F], z [B, T, V] -> [B, T]. Gradients flow through both and the weights
        phi.
        """
        x = tf.concat([features, z, tf.nn.softmax(z)], axis=-1)
        for layer in self.hidden:
            x = layer(x)
        return tf.squeeze(self.head(x), axis=-1)
