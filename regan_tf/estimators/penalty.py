"""What keeps a generator to the law that it had, and from certainty: KL divergence and entropy, for
which the expectation over a step's tokens is taken analytically.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from regan_tf.networks import autoregressive
from regan_tf.networks.autoregressive import masked
from regan_tf.networks.protocol import SequenceGenerator, check_generator, end_token
from regan_tf.settings import SettingError
from regan_tf.spec import EstimatorSpec, PenaltyWeights, is_zero


class Terms(NamedTuple):
    """What a penalty is at a batch, in nats; nothing counts after a row's end. Differentiable in
    the log-probabilities.
    """

    cost: tf.Tensor | None  # h_t, [B, T]; None where both weights are 0
    measured: dict[str, tf.Tensor]  # by `Penalty.names`, sums over t of KL_t and H_t, [B]


NO_TERMS = Terms(None, {})  # without a penalty


class Penalty:
    """Keeps the generator p_theta to a prior p_0, and its entropy H up.

        J = E[R(b)] - beta KL(p_theta || p_0) + alpha H(p_theta)

    Both are sums over tokens: with KL_t and H_t those of p(. | b_<t), and
    h_t = beta KL_t - alpha H_t, a function of b_<t and theta, J = E[R - sum_t h_t] and

        grad J = E sum_t { [R - sum_{s>t} h_s] grad log p(b_t | b_<t) - grad h_t }

    Costs that are past when b_t is drawn do not depend on it, so they are left out of its signal.
    With an end token all sums end there. The prior has no gradient.

    Args:
      prior: a SequenceGenerator of the same vocabulary, length and end; None: beta must be 0.
      prior_kl, entropy: beta and alpha, at least 0, per nat of a sequence; numbers or tensors.
        Where both are the plain number 0 divergence and entropy are measured, and the gradient is
        that of E[R], bit for bit.
    Raises:
      SettingError, a ValueError: a weight is not allowed, or prior_kl has no prior.
      TypeError: the prior is no SequenceGenerator.
    """

    def __init__(
        self, prior: SequenceGenerator | None = None, prior_kl: Any = 0.0, entropy: Any = 0.0
    ):
        self.prior, self.weights = prior, PenaltyWeights(prior_kl, entropy)
        if prior is not None:
            check_generator(prior)
        elif not is_zero(prior_kl):
            raise SettingError("prior_kl", prior_kl, "it needs a prior")

    role, divergence = "the penalty's prior", "prior_kl"  # in messages, and in what is measured

    @property
    def names(self) -> tuple[str, ...]:
        """Of what is measured."""
        return ("entropy",) if self.prior is None else (self.divergence, "entropy")

    def check(self, generator: SequenceGenerator) -> None:
        """Raises ValueError unless the prior writes the generator's sequences."""
        if self.prior is None:
            return
        for name, of in (
            ("vocab_size", lambda g: g.vocab_size),
            ("seq_len", lambda g: g.seq_len),
            ("end_token", end_token),
        ):
            if of(self.prior) != of(generator):
                raise ValueError(
                    f"{self.role} has {name}={of(self.prior)}: it must be the generator's, "
                    f"{of(generator)}"
                )

    def prior_log_probs(self, tokens: tf.Tensor, dtype: Any) -> tf.Tensor | None:
        """log p_0(. | b_<t), [B, T, V], of tokens int32 [B, T]; no gradient. None: no prior."""
        if self.prior is None:
            return None
        log_probs = autoregressive.teacher_force(self.prior, tokens).log_probs
        return tf.stop_gradient(tf.cast(log_probs, dtype))

    def terms(
        self, log_probs: tf.Tensor, of_prior: tf.Tensor | None, mask: tf.Tensor | None
    ) -> Terms:
        """KL_t, H_t and what they cost.

        Args:
          log_probs: l_t = log p(. | b_<t), [B, T, V]. A token of which it is -inf, as where logits
            are masked, adds nothing, the limit of p log p, and has no gradient.
          of_prior: what `prior_log_probs` gives.
          mask: of `autoregressive.alive`, [B, T] or None.
        """
        probs = tf.exp(log_probs)
        by_token = {"entropy": masked(-_weighed(probs, log_probs), mask)}
        cost = -self.weights.entropy * by_token["entropy"]
        if of_prior is not None:
            divergence = masked(_weighed(probs, log_probs - of_prior), mask)
            cost += self.weights.prior_kl * divergence
            by_token[self.divergence] = divergence
        measured = {name: tf.reduce_sum(x, axis=1) for name, x in by_token.items()}
        return Terms(None if self.weights.are_zero else cost, measured)


class Mediation(Penalty):
    """What cooperative training follows (Lu et al. 2019): - KL(p_theta || p_m), step by step.

    The mediator p_m is a generator that learns the mixture of data and samples,
    (p_data + p_theta) / 2, by maximum likelihood on as many of both. Where it is that, the
    Jensen-Shannon divergence of p_data and p_theta has half of the gradient of KL(p_theta || p_m)
    with p_m held. With KL_t that of p(. | b_<t), `cot` ascends the mean over prefixes b_<t of

        - sum_t grad KL_t  =  sum_t sum_i grad p_t(i) [log m_t(i) - log p_t(i)],

    in which b_<t is held, too. That is not the gradient of - KL(p_theta || p_m), which has
    - sum_{s>t} KL_s grad log p(b_t | b_<t) besides: `cot_unbiased` has both.
    """

    role, divergence = "the mediator", "mediator_kl"

    def __init__(self, mediator: SequenceGenerator):
        super().__init__(mediator, prior_kl=1.0)


def fitting(
    spec: EstimatorSpec,
    penalty: Penalty | None,
    generator: SequenceGenerator,
    mediator: SequenceGenerator | None = None,
) -> Penalty | None:
    """The penalty, if the estimator can have it for this generator, or what it follows of its
    mediator; None where there is neither, and where an estimator has no signal that a penalty
    could change.

    Raises SettingError, or another ValueError: they do not fit, or the estimator needs a prior or a
    mediator.
    """
    if spec.traits.mediator:
        return _mediation(spec, penalty, generator, mediator)
    if mediator is not None:
        raise ValueError(f"estimator={spec.estimator!r} has no mediator: pass none")
    if spec.traits.reads_prior and (penalty is None or penalty.prior is None):
        raise ValueError(
            f"estimator={spec.estimator!r} needs a prior: pass penalty=Penalty(prior), with no "
            "weights"
        )
    if penalty is None:
        return None
    spec.check_penalty(penalty.weights)
    penalty.check(generator)
    return penalty if spec.is_score_function else None


def _mediation(spec, penalty, generator, mediator):
    if mediator is None:
        raise ValueError(
            f"estimator={spec.estimator!r} needs a mediator: pass mediator=, a generator of the "
            "same tokens"
        )
    if penalty is not None:
        raise ValueError(f"estimator={spec.estimator!r} follows its mediator alone: no penalty")
    found = Mediation(mediator)
    found.check(generator)
    return found


def later(cost: tf.Tensor) -> tf.Tensor:
    """sum_{s>t} h_s: [B, T] -> [B, T]."""
    return tf.cumsum(cost, axis=1, exclusive=True, reverse=True)


def _weighed(weights, x):
    """The sum over v of w_v x_v, [..., V] -> [...]. Where w_v is 0 x_v may be infinite, as the
    log-probability of a masked logit is: it adds nothing. Gradients flow through both.
    """

    @tf.custom_gradient
    def finite(x):  # not 0 times infinity; backward the product with w_v is 0 there by itself
        return tf.where(weights > 0, x, tf.zeros_like(x)), lambda gradient: gradient

    return tf.reduce_sum(weights * finite(x), axis=-1)
