"""The estimators' algebra, ReGAN equations (4)-(12) and (17)-(18): pure functions, no randomness,
no variables.

Every score-function estimator of the gradient of J(theta) = E[R] is a batch mean of the one form
that `estimate.estimate_gradient` gives; they differ in the learning signal, and in the control
variate c. The paper's equations (5)-(12) write a sum over the batch in the first term and a mean in
the others; a sum there would weigh the score term B times too much.
"""

import tensorflow as tf


def maximum_likelihood(reward: tf.Tensor, control: tf.Tensor | None) -> tf.Tensor:
    """signal = 1, for tokens of the data instead of the generator's: the gradient of the
    log-likelihood.

    Args:
      reward: [B, 1], of which only shape and dtype are used.
      control: not used.
    """
    del control
    return tf.ones_like(reward)


def reinforce(reward: tf.Tensor, control: tf.Tensor | None) -> tf.Tensor:
    """signal = R: the score-function estimator, equations (4)-(7) and (14). Unbiased.

    Args:
      reward: R = D(b), [B, 1]; or one a token, [B, T].
      control: not used.
    Returns:
      The learning signal, of the reward's shape.
    """
    del control
    return reward


def controlled(reward: tf.Tensor, control: tf.Tensor) -> tf.Tensor:
    """signal = R - c(z~): REBAR, equations (8) and (17), and RELAX, equations (11) and (18), which
    differ in c alone.

    Args:
      reward: R = D(b), [B, 1].
      control: c(z~), [B, 1] for a control variate of whole sequences, [B, T] for one a step.
    Returns:
      The learning signal, of the control's shape. The gradient flows through `control`, which is
      what trains phi, eta and lambda (equation 19).
    """
    return reward - control


def doubly_robust(q: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """What a critic has to say of a sequence's reward beyond step t's own tokens, set against R:

        Q_t(b_t) + sum_{s>t} (Q_s(b_s) - V_s),   V_t = sum_i p_t(i) Q_t(i)

    R less this is the signal of the doubly robust estimator, to which sum_i Q_t(i) grad p_t(i) is
    added. Unbiased for any Q that is fixed while the estimate is made: given b_<t, the product of
    Q_t(b_t) and grad log p(b_t | b_<t) has the mean of what is added, and Q_s(b_s) - V_s has the
    mean 0 given b_<s, of which the score of a t < s is a function. Cheng et al. 2019; Huang and
    Jiang 2020.

    Args:
      q: Q_t(b_t), [B, T]; 0 after a row's end.
      value: V_t, [B, T]; likewise.
    Returns:
      [B, T].
    """
    return q + tf.cumsum(q - value, axis=1, exclusive=True, reverse=True)


def reinvent(reward: tf.Tensor, log_ratio: tf.Tensor) -> tf.Tensor:
    """signal = 2 (sigma R - log p(b) / p_0(b)): REINVENT (Olivecrona et al. 2017; Blaschke et al.
    2020), which lowers the batch mean of

        (log p_0(b) + sigma R(b) - log p(b))^2

    by the gradient through log p(b) alone. At samples of the generator itself its mean is

        2 sigma grad E[R] - 2 grad KL(p || p_0)  =  2 sigma grad { E[R] - 1/sigma KL(p || p_0) },

    since grad KL = E[log p(b) / p_0(b) grad log p(b)]: REINFORCE with a `Penalty` of weight
    1/sigma, but for the scale, and with a divergence that is sampled instead of summed over a
    step's tokens. Rows may have a baseline, as there.

    Args:
      reward: sigma R, [B, 1].
      log_ratio: log p(b) - log p_0(b) of whole sequences, [B, 1].
    Returns:
      The learning signal, [B, 1].
    """
    return 2 * (reward - log_ratio)


def leave_one_out(signal: tf.Tensor, mean: tf.Tensor, size: int) -> tf.Tensor:
    """Subtracts from each row's signal, step by step, the others' mean: [B, ...] -> [B, ...].

        signal_j - 1/(B-1) sum_{i != j} signal_i  =  B/(B-1) (signal_j - mean)

    Rows are independent, so this adds no bias. The gradient flows through the mean too: what is
    trained through the signal needs it (a stop-gradient there diverges).

    Args:
      signal: of all rows, or of some of them.
      mean: [1, ...], of all rows' signals.
      size: B >= 2, the number of all rows.
    """
    return size / (size - 1) * (signal - mean)


def other_half(
    signal: tf.Tensor, sign: tf.Tensor, mean: tf.Tensor, signed_mean: tf.Tensor
) -> tf.Tensor:
    """Subtracts from each row's signal, step by step, the mean of the half that it is not in:
    [B, ...] -> [B, ...].

    With sign s = 1 in one half and -1 in the other, their means are mean(signal) + mean(s signal)
    and mean(signal) - mean(s signal). Where the rows of a half depend on each other, leave-one-out
    would be biased; the halves are independent, so this adds no bias. The gradient flows through
    both means, as there.

    Args:
      signal: of all rows, or of some of them.
      sign: which half each is in, [B, 1].
      mean, signed_mean: [1, ...], of all rows' signal, and of s times it.
    """
    return signal - (mean - sign * signed_mean)


def score_size(probs: tf.Tensor, log_p: tf.Tensor) -> tf.Tensor:
    """The squared size of the score grad log p(b_t | b_<t), taken in the logits of step t:

        || one_hot(b_t) - p_t ||^2  =  (1 - p_t(b_t))^2 + sum_{i != b_t} p_t(i)^2

    Args:
      probs: p_t, [B, T, V].
      log_p: log p_t(b_t), [B, T].
    Returns:
      [B, T], in [0, 2].
    """
    of_others = -tf.math.expm1(log_p)  # their probability
    squares = tf.reduce_sum(probs**2, axis=-1) - tf.exp(2 * log_p)
    # Where b_t is almost certain, rounding is all that is left of the difference. The squares of
    # numbers that are not negative sum to no more than their sum's square.
    return of_others**2 + tf.clip_by_value(squares, 0, of_others**2)


def weighted_mean(signal: tf.Tensor, weight: tf.Tensor, sign: tf.Tensor | None) -> tf.Tensor:
    """The other rows' mean signal, weighted step by step, for a baseline:

        b_jt = sum_{i != j} w_it signal_it / sum_{i != j} w_it

    With w the squared size of the score this estimates the constant b that minimises
    E[w (signal - b)^2], which is E[w signal] / E[w] (Greensmith et al. 2004 have such baselines).
    It reads other rows alone, their weights included, and those are independent: so any weights add
    no bias. Where the others weigh nothing, it is their plain mean. The gradient flows through the
    signal; nothing that is trained through it is in the weights of `score_size`.

    Args:
      signal: of all rows, [B, T] or [B, 1].
      weight: [B, T], none negative; a row that has ended weighs 0.
      sign: which half each row is in, [B, 1], where rows of a half depend on each other: the others
        are then those of the other half. Else None.
    Returns:
      [B, T].
    """
    total = _sum_of_others(weight, sign)
    weighted = tf.math.divide_no_nan(_sum_of_others(weight * signal, sign), total)
    plain = _sum_of_others(signal, sign) / _sum_of_others(tf.ones_like(signal), sign)
    return tf.where(total > 0, weighted, plain)


def _sum_of_others(x, sign):
    """Of rows [B, ...]. Nothing is subtracted from a total: in float32 little would be left of the
    others where one row has most of it.
    """
    if sign is None:
        return tf.cumsum(x, exclusive=True) + tf.cumsum(x, exclusive=True, reverse=True)
    first, second = (
        tf.reduce_sum(tf.where(half, x, tf.zeros_like(x)), axis=0, keepdims=True)
        for half in (sign > 0, sign < 0)
    )
    return tf.where(sign > 0, second, first)


SIGNALS = {  # by name in the spec: of the reward, and of what is set against it
    "1": maximum_likelihood,
    "R": reinforce,
    "R - c": controlled,
    "R - V": controlled,
    "R - Q": controlled,
    "R - Q - c": controlled,
    "2 (sigma R - log p/p_0)": reinvent,
    "- KL": reinforce,  # what is later of it, as of a penalty, where there is no R
}


def held(signal: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """A row that has ended stands among the others, whose mean it lowers or raises, with its last
    signal.

    Args:
      signal: [B, T] or [B, 1].
      mask: of `autoregressive.alive`, [B, T] or None.
    Returns:
      A signal of that shape.
    """
    if mask is None or signal.shape[1] == 1:
        return signal
    last = tf.cast(tf.reduce_sum(mask, axis=1), tf.int32) - 1
    return tf.where(mask > 0, signal, tf.gather(signal, last, axis=1, batch_dims=1)[:, tf.newaxis])
