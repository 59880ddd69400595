"""Control variates c(z) in three forms, and what is learned in them (ReGAN sections 3.2-3.3).

A form is a function of (z [B, T, V]; what else it may depend on) to c, [B] or [B, T]. What may
carry gradient is decided by the caller, which differentiates c with respect to z alone: parameters,
prefixes, states and noise inside c are constants.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from regan_tf.estimators import rewards
from regan_tf.estimators.control_networks import ControlNetwork, StepControlNetwork
from regan_tf.estimators.relaxation import RelaxedTokens
from regan_tf.networks import autoregressive, continuations
from regan_tf.networks.protocol import SequenceGenerator, Unrolled
from regan_tf.spec import EstimatorSpec, is_zero


class Context(NamedTuple):
    """What a control variate may depend on besides z."""

    generator: SequenceGenerator
    reward: rewards.Reward
    network: Any  # c_hat_phi, a Keras model, or None
    unrolled: Unrolled  # gives prefixes b_<t, and the states after them
    later_noise: tf.Tensor  # Gumbel w [B, T, V], of the steps after t; independent of step t
    temperature: Any
    eta: Any


def sequence(z: tf.Tensor, context: Context) -> tf.Tensor:
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


def step(z: tf.Tensor, context: Context) -> tf.Tensor:
    """One control variate per action (RELAX, section on reinforcement learning): unbiased.

        c_t(z_t) = eta R([b_<t, s_lambda(z_t)]) + c_hat(features(b_<t), z_t),  [B, T]

    Given b_<t, z_t is a smooth function of l_t, so E[grad c_t(z_t)] = grad E[c_t(z_t)] with the
    prefix fixed, if R is continuous (`reward_trial.discontinuity`); the score's share of the prefix
    is carried by the terms of the earlier steps.
    """
    reward, tokens = context.reward, context.unrolled.tokens
    value, features = tf.zeros_like(z[..., 0]), tf.zeros_like(z[..., :0])
    if not is_zero(context.eta):
        of_reward, features = rewards.prefix_values(reward, tokens, _relax(z, context))
        value = context.eta * of_reward
    elif isinstance(reward, rewards.PrefixReward):
        features = reward.features(tokens, _relax(z, context))
    return (
        value + context.network(prefix_features(context.unrolled, features), z)
        if context.network
        else value
    )


def rollout(z: tf.Tensor, context: Context) -> tf.Tensor:
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


_FORMS = {"sequence": sequence, "step": step, "rollout": rollout}


def form(spec: EstimatorSpec) -> Callable[[tf.Tensor, Context], tf.Tensor]:
    """The function of (z, context) that is the spec's control variate."""
    return _FORMS[spec.control_variate]


def evaluate(
    spec: EstimatorSpec, z: tf.Tensor, z_tilde: tf.Tensor, context: Context
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Evaluates a control variate and its slopes.

    Args:
      spec: an EstimatorSpec. If it is coupled, z and z~ have the same value, so c is evaluated
        once.
      z, z_tilde: [K B, T, V] each, for K draws.
      context: what c may depend on besides.
    Returns:
      c(z~), averaged over draws, [B, 1] or [B, T]; and dc/dz and -dc/dz~, the weights with which z
      and z~ are differentiated. Gradients flow through all three to phi, eta and lambda.
    """
    points = z_tilde if spec.is_coupled else tf.concat([z, z_tilde], axis=0)
    copies = points.shape[0] // context.unrolled.tokens.shape[0]
    later_noise = tf.tile(context.later_noise, [copies, 1, 1])
    repeated = context._replace(
        unrolled=autoregressive.repeated(context.unrolled, copies), later_noise=later_noise
    )
    c, slopes = slope(lambda points: form(spec)(points, repeated), points)
    draws = copies if spec.is_coupled else copies // 2
    of_z, of_z_tilde = [slopes, slopes] if spec.is_coupled else tf.split(slopes, 2)
    c_tilde = c if spec.is_coupled else tf.split(c, 2)[1]
    c_tilde = tf.reduce_mean(tf.reshape(c_tilde, [draws, -1, *c.shape[1:]]), axis=0)
    c_tilde = c_tilde if c_tilde.shape.rank == 2 else c_tilde[:, tf.newaxis]
    return c_tilde, of_z / draws, -of_z_tilde / draws


def slope(function: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """function(x) and the gradient of its sum in x."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value = function(x)
    return value, tape.gradient(value, x, unconnected_gradients="zero")


def feature_dim(generator: SequenceGenerator, reward: rewards.Reward) -> int:
    """F: how many numbers c_hat reads of b_<t at each step, besides z_t, in the step and rollout
    forms: the `feature_dim` of a StepControlNetwork.

    They are the generator's state, or a ParallelGenerator's features, and the reward's where it is
    a PrefixReward.
    """
    zeros = tf.zeros([1, generator.seq_len, generator.vocab_size], generator.compute_dtype)
    tokens = tf.zeros([1, generator.seq_len], tf.int32)
    unrolled = autoregressive.teacher_force(generator, tokens)
    features = (
        reward.features(tokens, zeros)
        if isinstance(reward, rewards.PrefixReward)
        else zeros[..., :0]
    )
    return prefix_features(unrolled, features).shape[-1]


def prefix_features(unrolled: Unrolled, reward_features: tf.Tensor) -> tf.Tensor:
    """The generator's state, a function of b_<t, and the reward's features [B, T, .]: [B, T, F]."""

    def flat(x):
        x = tf.reshape(x, [*tf.unstack(tf.shape(x)[:2]), x.shape[2:].num_elements()])
        return tf.cast(tf.transpose(x, [1, 0, 2]), reward_features.dtype)

    states = [flat(x) for x in tf.nest.flatten(unrolled.states)]
    return tf.concat([*states, reward_features], axis=-1)


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


class LearnedScalar:
    """eta, or lambda, when it is trained to lower the variance, as in the REBAR paper (Tucker et
    al. 2017).

    Args:
      initial: its first value.
      positive: keep it positive, by training its logarithm: for lambda.
    """

    def __init__(self, initial: float, positive: bool = False):
        self.positive = positive
        self.variable = keras.Variable(np.log(initial) if positive else initial, dtype="float32")

    def value(self) -> tf.Tensor:
        """The scalar as a tensor; differentiable in `variable`."""
        return (
            tf.exp(self.variable.value)
            if self.positive
            else tf.convert_to_tensor(self.variable.value)
        )


class ControlVariate:
    """What is learned in the control variate of one estimator: c_hat_phi, eta, lambda.

    Args:
      spec: an EstimatorSpec, which says what is learned and where it starts.
      network: c_hat_phi, for relax: z -> [B] in the sequence form, (features, z) -> [B, T] in the
        others. None: as for an estimator without one.
    """

    def __init__(self, spec: EstimatorSpec, network: keras.Model | None = None):
        self.network = network if spec.traits.has_c_hat else None
        self._form = spec.control_variate
        self._eta = LearnedScalar(spec.eta) if spec.learn_eta else None
        self._temperature = (
            LearnedScalar(spec.temperature, positive=True) if spec.learn_temperature else None
        )

    @classmethod
    def create(
        cls,
        spec: EstimatorSpec,
        generator: SequenceGenerator,
        reward: rewards.Reward,
        filters: int = 32,
        units: int = 64,
    ) -> "ControlVariate":
        """With a new network, if the estimator has one, of the size that the form asks for and the
        generator's dtype.

        Args:
          spec, generator, reward: as for `estimate_gradient`.
          filters: of the sequence form's convolutions.
          units: of the other forms' hidden layers.
        """
        dtype = generator.compute_dtype
        if not spec.traits.has_c_hat:
            return cls(spec)
        if spec.control_variate == "sequence":
            return cls(spec, ControlNetwork(generator.vocab_size, filters, dtype=dtype))
        features = feature_dim(generator, reward)
        return cls(spec, StepControlNetwork(features, generator.vocab_size, units, dtype=dtype))

    @property
    def variables(self) -> list:
        """The network's Keras variables, then those of eta and lambda where they are learned."""
        network = list(self.network.trainable_variables) if self.network else []
        return network + [x.variable for x in (self._eta, self._temperature) if x]

    def learns(self, spec: EstimatorSpec) -> bool:
        """Whether it holds what the spec wants learned, and no more; c_hat is of one form."""
        held = self.network is not None, self._eta is not None, self._temperature is not None
        is_of_form = self.network is None or self._form == spec.control_variate
        wanted = spec.traits.has_c_hat, spec.learn_eta, spec.learn_temperature
        return is_of_form and held == wanted

    def scalars(self, spec: EstimatorSpec, dtype: Any) -> tuple[Any, Any]:
        """eta and lambda: the spec's, or the present values of what is learned."""

        def present(learned, fixed):
            return tf.cast(learned.value(), dtype) if learned else fixed

        return present(self._eta, spec.eta), present(self._temperature, spec.temperature)

    def context(
        self,
        spec: EstimatorSpec,
        generator: SequenceGenerator,
        reward: rewards.Reward,
        unrolled: Unrolled,
        gumbel: tf.Tensor,
    ) -> Context:
        """What c may depend on besides z; differentiable in `variables`."""
        eta, temperature = self.scalars(spec, gumbel.dtype)
        return Context(generator, reward, self.network, unrolled, gumbel, temperature, eta)
