"""The estimators' algebra, ReGAN equations (4)-(12) and (17)-(18): pure functions, no randomness, no variables.

Every estimator of the gradient of J(theta) = E[R] is a batch mean of one form,

    g_hat = 1/B sum_j [ sum_t signal_jt grad log p(b_jt | b_j<t)  +  grad c(z_j)  -  grad c(z~_j) ]

and they differ in the learning signal, and in whether there is a control variate c. The paper's equations (5)-(12) write a
sum over the batch in the first term and a mean in the others; a sum there would weigh the score term B times too much.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


def maximum_likelihood(reward, control):
    """signal = 1, for tokens of the data instead of the generator's: the gradient of the log-likelihood.

    Args:
      reward: [B], of which only shape and dtype are used.
      control: not used.
    """
    del control
    return tf.ones_like(reward)[:, tf.newaxis]


def reinforce(reward, control):
    """signal = R: the score-function estimator, equations (4)-(7) and (14). Unbiased.

    Args:
      reward: R = D(b), [B].
      control: not used.
    Returns:
      The learning signal, [B, 1].
    """
    del control
    return reward[:, tf.newaxis]


def control_variate(reward, control):
    """signal = R - c(z~): REBAR, equations (8) and (17), and RELAX, equations (11) and (18), which differ in c alone.

    Args:
      reward: R = D(b), [B].
      control: c(z~), [B] for a control variate of whole sequences.
    Returns:
      The learning signal, [B, 1]. The gradient flows through `control`, which is what trains phi (equation 19).
    """
    return (reward - control)[:, tf.newaxis]


class Estimator(NamedTuple):
    """One row of the table of estimators."""

    signal: Callable  # (reward, c(z~)) -> learning signal, broadcast over [B, T]
    on_data: bool = False  # the tokens are the data's, not the generator's
    relaxed: bool = False  # there is a control variate c, eta D(s_lambda(z)) ...
    network: bool = False  # ... plus c_hat_phi(z), equation (10)


ESTIMATORS = {
    "mle": Estimator(maximum_likelihood, on_data=True),
    "reinforce": Estimator(reinforce),
    "rebar": Estimator(control_variate, relaxed=True),
    "relax": Estimator(control_variate, relaxed=True, network=True),
}
