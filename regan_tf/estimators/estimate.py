"""Gradient estimates of J(theta) = E[R(b)] from samples, by every estimator, and their variance
over rows.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from regan_tf import replicas
from regan_tf.estimators import relaxation, rewards, signals
from regan_tf.estimators.control_variate import (
    FORMS,
    Context,
    LearnedScalar,
    evaluate,
    float_or_tensor,
    is_zero,
    slope,
)
from regan_tf.estimators.signals import ESTIMATORS
from regan_tf.networks import autoregressive, backprop, continuations
from regan_tf.networks.autoregressive import chosen
from regan_tf.networks.backprop import RowGradients, values
from regan_tf.networks.noise import to_gumbel, uniform_noise


class Diagnostics(NamedTuple):
    """What an estimate leaves behind besides the gradient."""

    tokens: tf.Tensor  # int32 [B, T]; for mle the data's
    reward: tf.Tensor  # [B]
    rows: RowGradients | None  # if asked for
    # of the variance loss with respect to what is learned in c (equation 19), see `learned`
    control_gradient: list


def estimate_gradient(
    estimator,
    generator,
    reward,
    *,
    batch_size,
    seed,
    temperature=1.0,
    eta=1.0,
    control_variate="step",
    leave_one_out=False,
    control_network=None,
    coupled=None,
    control_samples=1,
    variance_loss="batch",
    rollouts=16,
    data=None,
    row_gradients=False,
):
    """One draw of g_hat: Algorithm 1, lines 6-12 and 14.

        g_hat = 1/B sum_j sum_t [ signal_jt grad log p(b_jt | b_j<t)
                                  + grad c_t(z_jt) - grad c_t(z~_jt) ]

    Equations (8)-(12) for control_variate="sequence". The gradient of c reaches theta through z and
    z~ alone, that is through the log-probabilities l: what else c contains is constant. With an end
    token the sum over t ends there.

    Args:
      estimator: a name in `signals.ESTIMATORS`.
      generator: keeps the protocol of `autoregressive`.
      reward: maps rows [B, T, V] to [B]. rebar, straight_through, and relax unless eta = 0, want it
        differentiable in relaxed rows, and continuous: where it jumps (`rewards.discontinuity`),
        rebar and relax are biased. It may offer `prefixes` and `of_tokens` (see `rewards`).
      batch_size: B, of all replicas together: under a `tf.distribute` strategy each has B / count
        rows, and estimate, leave-one-out and variance are those of the whole batch.
      seed: an int, or a stateless seed, int32 [2].
      temperature, eta: lambda > 0 and eta; floats, or `control_variate.LearnedScalar` where they
        are to be learned.
      control_variate: for rebar and relax, a name in `control_variate.FORMS`: "step", the default
        here, and "rollout" are unbiased; "sequence" is the paper's, and the command's default.
      leave_one_out: subtract the other rows' mean signal.
      control_network: c_hat_phi, for relax: z -> [B] in the sequence form, (features, z) -> [B, T]
        in the others.
      coupled: evaluate c once, at z = z~, instead of at independent z and z~; by default wherever
        it is not the paper's form.
      control_samples: draws of z~ for each b, over which c is averaged; z, where it is not coupled,
        is the one that gave b.
      variance_loss: what the control variate is trained to lower: "batch", the squared norm of the
        batch's mean gradient, or "per_example", the mean over rows of the squared norm of the row's
        gradient.
      rollouts: continuations per token, for reinforce_rollout.
      data: real tokens int32 [B, T], for mle.
      row_gradients: also give the rows' gradient norms.
    Returns:
      The gradient of J, to be ascended: one tensor for each of `generator.trainable_variables`; and
      Diagnostics.
    Raises:
      ValueError: the arguments contradict each other, or the reward is not what the estimator
        needs.
    """
    entry = _checked_entry(
        estimator,
        control_variate,
        leave_one_out,
        batch_size,
        control_network,
        data,
        variance_loss,
        control_samples,
        temperature,
    )
    network = control_network if entry.network else None
    phi = values(learned(network, eta, temperature)) if entry.relaxed else []
    want_rows = row_gradients or (phi and variance_loss == "per_example")
    gumbel, uniform, rollout_seed = _noise(generator, batch_size, seed, control_samples)
    coupled = control_variate != "sequence" if coupled is None else coupled

    with tf.GradientTape(watch_accessed_variables=False) as variance_tape:
        variance_tape.watch(phi)
        eta, temperature = (
            float_or_tensor(scalar, generator.compute_dtype) for scalar in (eta, temperature)
        )
        unrolled, rows, pullback = _unroll(entry, generator, gumbel, temperature, data)
        mask = autoregressive.alive(generator, unrolled.tokens)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(unrolled.log_probs)
            log_prob = chosen(unrolled.log_probs, unrolled.tokens)
            pair = (
                _relaxations(temperature, unrolled, gumbel, uniform, coupled)
                if entry.relaxed
                else ()
            )
        score = rewards.of_tokens(reward, unrolled.tokens, generator.vocab_size, log_prob.dtype)
        if rows is not None or (entry.relaxed and not is_zero(eta)):
            rewards.require_differentiable(
                reward, tf.one_hot(unrolled.tokens, generator.vocab_size, dtype=log_prob.dtype)
            )
        conditional, slopes, signal = None, None, None
        if entry.relaxed:
            context = Context(generator, reward, network, unrolled, gumbel, temperature, eta)
            conditional, slopes = evaluate(FORMS[control_variate], pair, context, coupled)
        if entry.signal:
            credit = score[:, tf.newaxis]
            if entry.rollouts:
                credit = _rollout_rewards(
                    generator, reward, unrolled.tokens, rollouts, rollout_seed
                )
            signal = entry.signal(credit, conditional)
            if leave_one_out or entry.leave_one_out:
                signal = _held(signal, mask)
                signal = signals.leave_one_out(
                    signal, replicas.mean(tf.reduce_mean(signal, axis=0, keepdims=True)), batch_size
                )
            signal = tf.broadcast_to(signal, tf.shape(log_prob))
        # g_hat is the gradient of log p, z and z~, with signal and slopes for weights. Those are
        # made outside the tape: nothing in them reaches theta, but the variance tape sees phi in
        # them.
        if rows is not None:
            cotangent = slope(lambda y: rewards.checked(reward, y), rows)[1]
        elif entry.relaxed:
            cotangent = tape.gradient(
                [log_prob, *pair], unrolled.log_probs, output_gradients=[signal, *slopes]
            )
        else:
            cotangent = signal
        summed, row_norms = pullback(autoregressive.masked(cotangent, mask), want_rows)
        gradient = replicas.mean([g / log_prob.shape[0] for g in summed])
        loss = _variance_loss(variance_loss, gradient, row_norms)
    control_gradient = (
        replicas.mean(variance_tape.gradient(loss, phi, unconnected_gradients="zero"))
        if phi
        else []
    )
    return gradient, Diagnostics(unrolled.tokens, score, row_norms, control_gradient)


def _checked_entry(
    estimator,
    control_variate,
    leave_one_out,
    batch_size,
    control_network,
    data,
    variance_loss,
    control_samples,
    temperature,
):
    if estimator not in ESTIMATORS:
        raise ValueError(
            f"estimator={estimator!r} is not allowed: it must be one of {', '.join(ESTIMATORS)}"
        )
    entry = ESTIMATORS[estimator]
    if control_variate not in FORMS:
        raise ValueError(
            f"control_variate={control_variate!r} is not allowed: it must be one of "
            f"{', '.join(FORMS)}"
        )
    if leave_one_out and not entry.signal:
        raise ValueError(f"leave_one_out needs a score term, which {estimator} has not")
    if (leave_one_out or entry.leave_one_out) and batch_size < 2:
        raise ValueError(
            f"batch_size={batch_size} is not allowed with leave_one_out: there must be at least 2 "
            "rows"
        )
    if variance_loss not in ("batch", "per_example"):
        raise ValueError(
            f"variance_loss={variance_loss!r} is not allowed: it must be batch or per_example"
        )
    if control_samples < 1:
        raise ValueError(f"control_samples={control_samples} is not allowed: it must be at least 1")
    # A symbolic tensor has no value yet, and what is learned is positive.
    unknown = isinstance(temperature, LearnedScalar) or tf.is_symbolic_tensor(temperature)
    if not unknown and not temperature > 0:
        raise ValueError(f"temperature={temperature} is not allowed: it must be above 0")
    if entry.network and control_network is None:
        raise ValueError(f"{estimator} needs a control_network; rebar does without")
    if entry.tokens == "data" and (data is None or data.shape[0] != batch_size):
        raise ValueError(f"{estimator} needs data: int32 [B, T], with B = batch_size={batch_size}")
    return entry


def _unroll(entry, generator, gumbel, temperature, data):
    """Unrolled; the relaxed rows, or None; and the pullback of the rows, or of the
    log-probabilities, to theta.
    """
    if entry.tokens == "straight_through":

        def relaxed():
            return autoregressive.straight_through(generator, gumbel, temperature)

        return backprop.with_tape(generator, relaxed, lambda _, rows: [rows])

    def run():
        if entry.tokens == "data":
            return autoregressive.teacher_force(generator, replicas.own_rows(data))
        return autoregressive.unroll(generator, gumbel)

    unrolled, pullback = backprop.with_pullback(generator, run)
    return unrolled, None, pullback


def _relaxations(temperature, unrolled, gumbel, uniform, coupled):
    """z and z~, each [K B, T, V], for K draws of z~ given b.

    Given b, z~ has the law of z: so z may take the value of z~, and is then only differentiated in
    another way: z = l + g moves with l as it is, z~ as its formula says. c need not be evaluated
    twice, and what c(z) and c(z~) have in common cancels.
    """
    copies = uniform.shape[0] // gumbel.shape[0]
    log_probs = tf.tile(unrolled.log_probs, [copies, 1, 1])
    tokens = tf.tile(unrolled.tokens, [copies, 1])
    law = relaxation.RelaxedTokens(temperature, log_probs)
    conditional = law.conditional(tokens, uniform)
    noise = (
        tf.stop_gradient(conditional - log_probs) if coupled else tf.tile(gumbel, [copies, 1, 1])
    )
    return law.unrelaxed(noise), conditional


def _held(signal, mask):
    """A row that has ended stands among the others, whose mean it lowers or raises, with its last
    signal: [B, T].
    """
    if mask is None or signal.shape[1] == 1:
        return signal
    last = tf.cast(tf.reduce_sum(mask, axis=1), tf.int32) - 1
    return tf.where(mask > 0, signal, tf.gather(signal, last, axis=1, batch_dims=1)[:, tf.newaxis])


def _rollout_rewards(generator, reward, tokens, rollouts, seed):
    """SeqGAN's reward per token: the mean of R over continuations of b_<=t, [B, T]; the last is
    R(b) itself.
    """
    batch_size, length = tokens.shape
    shape = [rollouts, batch_size * replicas.count(), length, length, generator.vocab_size]
    noise = to_gumbel(
        replicas.own_rows(uniform_noise(shape, seed, generator.compute_dtype), axis=1)
    )
    sampled = continuations.sampled(generator, tokens, noise)
    value = rewards.of_tokens(
        reward, tf.reshape(sampled, [-1, length]), generator.vocab_size, noise.dtype
    )
    return tf.reduce_mean(tf.reshape(value, [rollouts, batch_size, length]), axis=0)


def _variance_loss(kind, gradient, rows):
    if kind == "per_example" and rows is not None:
        return tf.reduce_mean(tf.add_n(rows.squared_norms))
    return tf.add_n([tf.reduce_sum(g**2) for g in gradient])


def _noise(generator, batch_size, seed, copies=1):
    """All the randomness of one estimate: Gumbel g [B, T, V], uniform v [K B, T, V], and a seed for
    continuations.
    """
    shape, dtype = [batch_size, generator.seq_len, generator.vocab_size], generator.compute_dtype
    seeds = tf.unstack(tf.random.experimental.stateless_split(autoregressive.stateless(seed), 3))
    gumbel = to_gumbel(replicas.own_rows(uniform_noise(shape, seeds[0], dtype)))
    uniform = replicas.own_rows(uniform_noise([copies, *shape], seeds[1], dtype), axis=1)
    return gumbel, tf.reshape(uniform, [-1, *shape[1:]]), seeds[2]


def learned(control_network, eta, temperature):
    """What is trained in a control variate: the network's Keras variables, then those of eta and
    lambda where they are learned.
    """
    variables = list(control_network.trainable_variables) if control_network else []
    return variables + [
        scalar.variable for scalar in (eta, temperature) if isinstance(scalar, LearnedScalar)
    ]


def log_variances(rows, mean_gradient):
    """Log of the variance over rows of the gradient of one row, in nats.

    Args:
      rows: `backprop.RowGradients` g_j of this replica's rows; B >= 2 in all.
      mean_gradient: their mean over j, one tensor a variable.
    Returns:
      The log variance of the first parameter of the last layer (figures 4b and 5b), and the log of
      the mean variance over all parameters, both with B - 1:
      1/P sum_p var_j(g_jp) = (sum_j ||g_j||^2 - B ||mean||^2) / ((B - 1) P).
    """
    first, parameters = rows.last_layer_first, sum(g.shape.num_elements() for g in mean_gradient)
    batch_size = first.shape[0] * replicas.count()
    bessel = batch_size / (batch_size - 1)
    mean_square, mean_first = replicas.mean(
        [tf.reduce_mean(tf.add_n(rows.squared_norms)), tf.reduce_mean(first)]
    )
    square_mean = tf.add_n([tf.reduce_sum(g**2) for g in mean_gradient])
    variance_all = bessel * (mean_square - square_mean) / parameters
    variance_first = bessel * replicas.mean(tf.reduce_mean((first - mean_first) ** 2))
    tiny = np.finfo(first.dtype.as_numpy_dtype).tiny
    return tf.math.log(tf.maximum(variance_first, tiny)), tf.math.log(
        tf.maximum(variance_all, tiny)
    )
