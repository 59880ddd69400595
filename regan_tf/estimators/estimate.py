"""Gradient estimates of J(theta) = E[R(b)] from samples, by every estimator: Algorithm 1, lines
6-12 and 14.

The paper's symbols are the names here: b the tokens, l their log-probabilities, z and z~ the
relaxations, R the reward, c the control variate. What an estimator is made of stands in
`regan_tf.spec`; the signals, the forms of c and the relaxations in the modules beside this one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from regan_tf import replicas
from regan_tf.estimators import (
    control_variate,
    likelihood,
    mixed_reward,
    relaxation,
    rewards,
    signals,
    variance,
)
from regan_tf.estimators.control_variate import ControlVariate
from regan_tf.estimators.critic import Lesson, Reading, judge
from regan_tf.estimators.penalty import NO_TERMS, Mediation, Penalty, fitting, later
from regan_tf.estimators.relaxation import RelaxedTokens
from regan_tf.estimators.rewards import Reward, Told
from regan_tf.networks import autoregressive, backprop, fused, quasi_random
from regan_tf.networks.autoregressive import chosen
from regan_tf.networks.backprop import values
from regan_tf.networks.noise import by_inversion, to_gumbel, uniform_noise, unit_interval
from regan_tf.networks.protocol import (
    RowGradients,
    SequenceGenerator,
    check_generator,
    check_reward,
)
from regan_tf.spec import EstimatorSpec


class Diagnostics(NamedTuple):
    """What an estimate leaves behind besides the gradient."""

    tokens: tf.Tensor  # b, int32 [B, T]; for mle the data's
    reward: tf.Tensor  # R, [B]; 0 for cot and cot_unbiased
    signal: tf.Tensor  # what weighs grad log p(b_t | b_<t), [B, T]; 0 for straight_through, reinmax
    log_prob: tf.Tensor  # log p(b_t | b_<t), [B, T]; 0 for straight_through, reinmax
    measured: dict[str, tf.Tensor]  # what else there is of each row, by `measured_names`, [B]
    row_gradients: RowGradients | None  # if asked for, or needed for the variance loss
    # of the variance loss with respect to `ControlVariate.variables` (equation 19)
    control_gradient: list
    lesson: Lesson | tuple = ()  # what a critic is fitted to, with `tokens`; () where there is none


def measured_names(
    reward: Reward, penalty: Penalty | None, mediator: SequenceGenerator | None = None
) -> tuple[str, ...]:
    """Of `Diagnostics.measured`: a MixedReward's parts, and what a penalty or a mediator gives."""
    penalty = penalty if mediator is None else Mediation(mediator)
    return mixed_reward.measured(reward) + (penalty.names if penalty else ())


@tf.autograph.experimental.do_not_convert
@fused.allowed()
def estimate_gradient(
    estimator: str | EstimatorSpec,
    generator: SequenceGenerator,
    reward: Reward | None,
    *,
    batch_size: int,
    seed: Any,
    control: ControlVariate | None = None,
    critic: Callable[[Reading], tf.Tensor] | None = None,
    data: tf.Tensor | None = None,
    penalty: Penalty | None = None,
    mediator: SequenceGenerator | None = None,
    row_gradients: bool = False,
    **settings: Any,
) -> tuple[list, Diagnostics]:
    """One draw of g_hat, to be ascended.

        g_hat = 1/B sum_j sum_t [ signal_jt grad log p(b_jt | b_j<t)
                                  + grad c_t(z_jt) - grad c_t(z~_jt) ]

    In the sequence form, equations (8)-(12), c(z) - c(z~) is one for all t and stands outside the
    sum over t. The gradient of c reaches theta through z and z~ alone, that is through the
    log-probabilities l: what else c contains is constant. A critic Q is in the signal, and adds
    sum_i Q_t(i) grad p_t(i): see `signals.doubly_robust`. A penalty is in the signal, and adds
    - grad h_t: see `Penalty`. With an end token the sum over t ends there.

    Args:
      estimator: an EstimatorSpec, or a name in `spec.ESTIMATORS`.
      generator: a SequenceGenerator. `check_generator` is called on it: where this function is
        not part of a graph, that costs a ParallelGenerator some tenths of a second a call.
      reward: maps rows [B, T, V] to [B]. Where `EstimatorSpec.differentiates_reward`, it must be
        differentiable in relaxed rows, and continuous: where it jumps, rebar and relax are biased
        (`reward_trial.discontinuity` tells). Faster where it is a TokenReward and
        a PrefixReward. cot and cot_unbiased do not call it: it may be None.
      batch_size: B, of all replicas together: under a `tf.distribute` strategy each has B / count
        rows, and estimate, leave-one-out and variance are those of the whole batch.
      seed: an int, or a stateless seed, int32 [2].
      control: what is learned in the control variate; needed where something is.
      critic: Q, for estimators that have one: a `Critic`, or any function of a `critic.Reading` to
        [B, T, V]. No gradient reaches it, nor the generator through it.
      data: real tokens int32 [B, T], for mle.
      penalty: what J has besides E[R], for estimators with a learning signal of their samples;
        for reinvent the prior alone.
      mediator: M, a SequenceGenerator of the same tokens, which cot and cot_unbiased follow instead
        of the reward: see `Mediation`. No gradient reaches it.
      row_gradients: also give the rows' gradient norms.
      **settings: fields of EstimatorSpec, such as leave_one_out=True.
    Returns:
      The gradient of J, one tensor for each of `generator.trainable_variables`; and Diagnostics.
    Raises:
      ValueError: the settings contradict each other, the reward is not what the estimator needs,
        or a ParallelGenerator's pass is not what its steps give. TypeError: the generator lacks
        what it must have, or the reward cannot be called.
    """
    check_generator(generator)
    spec = EstimatorSpec.of(estimator, **settings)
    if not spec.traits.mediator:
        check_reward(reward)
    control = _control(spec, control)
    _check_critic(spec, critic)
    _check_batch(spec, batch_size, data)
    penalty = fitting(spec, penalty, generator, mediator)
    noise = _noise(spec, generator, batch_size, seed)
    phi = values(control.variables)
    is_straight_through = spec.traits.tokens == "straight_through"
    draw = _straight_through if is_straight_through else _score_function
    with tf.GradientTape(watch_accessed_variables=False) as variance_tape:
        variance_tape.watch(phi)
        drawn = draw(spec, control, critic, generator, reward, penalty, noise, batch_size, data)
        mask = autoregressive.alive(generator, drawn.b)
        summed, by_row = drawn.pullback(
            autoregressive.masked(drawn.weights, mask),
            row_gradients or (phi and spec.variance_loss == "per_example"),
        )
        g_hat = replicas.mean([g / drawn.b.shape[0] for g in summed])  # line 12
        variance_loss = variance.loss(spec.variance_loss, g_hat, by_row)  # equation (19)
    control_gradient = (
        replicas.mean(variance_tape.gradient(variance_loss, phi, unconnected_gradients="zero"))
        if phi
        else []
    )
    found = drawn.b, drawn.r, drawn.signal, drawn.log_p, drawn.measured
    return g_hat, Diagnostics(*found, by_row, control_gradient, drawn.lesson)


def lesson_of(
    spec: EstimatorSpec,
    critic: Callable[[Reading], tf.Tensor],
    generator: SequenceGenerator,
    reward: Reward,
    tokens: tf.Tensor,
    values: tf.Tensor | None = None,
    penalty: Penalty | None = None,
) -> Lesson:
    """What a critic may learn from sequences of before: how the present generator would go on from
    their prefixes is in it, but how it went on is an earlier one's.

    Args:
      spec, critic, generator, reward, penalty: as for `estimate_gradient`.
      tokens: b, int32 [B, T].
      values: R, [B], of a reward that is not to be called for it again; one that says something of
        beginnings is.
    """
    unrolled = autoregressive.teacher_force(generator, tokens)
    log_probs, mask = unrolled.log_probs, autoregressive.alive(generator, tokens)
    if values is None:
        told, credit, _ = _credit(spec, generator, reward, tokens, log_probs.dtype)
    else:
        options = generator.vocab_size, log_probs.dtype, spec.critic_reads
        told = rewards.tell(reward, tokens, *options, total=values)
        credit = values[:, tf.newaxis]
    if penalty:
        of_prior = penalty.prior_log_probs(tokens, log_probs.dtype)
        cost = penalty.terms(log_probs, of_prior, mask).cost
        credit = credit if cost is None else credit - later(cost)
    return judge(critic, told, unrolled, mask).lesson(spec, credit, told.reward)


class _Draw(NamedTuple):
    """One batch on its way to a gradient."""

    b: tf.Tensor  # int32 [B, T]
    r: tf.Tensor  # [B]
    signal: tf.Tensor  # [B, T]
    log_p: tf.Tensor  # [B, T]
    measured: dict  # name to [B]
    # B g_hat = pullback(weights), the sum of weights times the gradients of what they weigh: log
    # p(b), [B, T]; the log-probabilities l, or relaxed rows, [B, T, V].
    weights: tf.Tensor
    pullback: Callable
    lesson: Lesson | tuple = ()


def _score_function(spec, control, critic, generator, reward, penalty, noise, batch_size, data):
    """Equations (4)-(12), and maximum likelihood."""
    unrolled, pullback = _tokens(spec, generator, noise, data)  # line 6: b ~ p_theta, equation (6)
    b, log_probs = unrolled.tokens, unrolled.log_probs
    mask = autoregressive.alive(generator, b)
    # Line 7: R = D(b).
    told, credit, parts = _credit(spec, generator, reward, b, log_probs.dtype, noise.seed)
    context = control.context(spec, generator, reward, unrolled, noise.gumbel)
    of_prior = penalty and penalty.prior_log_probs(b, log_probs.dtype)
    log_p = autoregressive.log_prob(unrolled)  # line 8: log p(b_t | b_<t)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(log_probs)
        if spec.traits.relaxed:  # line 9: z ~ p(z), z~ ~ p(z | b), section 3.2
            distribution = RelaxedTokens(context.temperature, log_probs)
            z, z_tilde = relaxation.pair(
                distribution, b, noise.of_z(distribution, b), noise.v, spec.is_coupled
            )
        cost, measured = penalty.terms(log_probs, of_prior, mask) if penalty else NO_TERMS
        needs_probs = spec.traits.all_actions or spec.baseline == "weighted"
        probs = tf.exp(log_probs) if needs_probs else None
    against, others = None, []  # in the signal; and in the gradient, besides log p(b)
    if spec.traits.relaxed:  # line 10: c(z~), dc/dz and -dc/dz~, equations (10) and (17)
        _require_differentiable(spec, reward, b, generator.vocab_size, log_probs.dtype)
        against, slope, minus_slope_tilde = control_variate.evaluate(spec, z, z_tilde, context)
        others = [(z, slope), (z_tilde, minus_slope_tilde)]
    if spec.traits.reads_prior:
        against = _log_ratio(log_p, chosen(of_prior, b), mask)
    if cost is not None:
        credit -= later(cost)
        others.append((cost, -tf.ones_like(cost)))
    lesson: Lesson | tuple = ()
    if spec.traits.critic:
        judged = judge(critic, told, unrolled, mask)
        lesson = judged.lesson(spec, credit, told.reward)
        of_critic, advantages = _of_critic(spec, judged)
        against = of_critic if against is None else against + of_critic
        others += [(probs, advantages)] if spec.traits.all_actions else []
    signal = _signal(spec, credit, against)
    if spec.uses_leave_one_out:
        signal = signals.held(signal, mask)
        if spec.baseline == "weighted":
            signal -= _weighted_mean(spec, signal, probs, log_p, mask, batch_size)
        else:
            signal = _less_mean(spec, signal, batch_size)
    signal = tf.broadcast_to(signal, tf.shape(b))
    found = b, told.reward, signal, log_p, parts | measured
    if not others:
        return _Draw(*found, signal, pullback, lesson)  # line 11: equation (7)
    # Line 11: signal grad log p(b) + grad c(z) - grad c(z~), equations (8)-(9) and (11)-(12), as
    # signal dlog p(b)/dl + dc/dz dz/dl - dc/dz~ dz~/dl; and - dh/dl of the penalty. Signal and
    # slopes are made outside this tape: nothing in them reaches theta, but the variance tape sees
    # phi in them.
    targets, factors = zip(*others, strict=True)
    weights = tape.gradient(list(targets), log_probs, list(factors), unconnected_gradients="zero")
    return _Draw(*found, autoregressive.added(weights, b, signal), pullback, lesson)


def _of_critic(spec, judged):
    """What is set against R, [B, T]; and Q_t - V_t, which weighs grad p_t as Q_t would, [B, T, V],
    or None.
    """
    if not spec.traits.all_actions:
        return judged.value, None
    of_sequence = signals.doubly_robust(judged.of_tokens, judged.value)
    return of_sequence, judged.q - judged.value[..., tf.newaxis]


def _credit(spec, generator, reward, b, dtype, seed=None):
    """What R tells; what is known of each token's worth, R or sigma R, [B, 1], or one a token,
    [B, T]; and what is measured of R.
    """
    if spec.traits.mediator:  # which is followed instead
        nothing = tf.zeros(b.shape[0], dtype)
        return Told(nothing, *[tf.zeros([*b.shape, 0], dtype)] * 3), nothing[:, tf.newaxis], {}
    options = generator.vocab_size, dtype, spec.critic_reads if spec.traits.critic else "nothing"
    told, parts = mixed_reward.tell(reward, b, *options)
    if told.to_go is not None and spec.may_credit_tokens:
        return told, told.to_go, parts
    if spec.traits.reward_per_token:
        return told, rewards.of_continuations(generator, reward, b, spec.rollouts, seed), parts
    r = spec.sigma * told.reward if spec.traits.reads_prior else told.reward
    return told, r[:, tf.newaxis], parts


def _log_ratio(log_p, of_prior, mask):
    """log p(b) / p_0(b) of whole sequences, [B, 1], from that of tokens, [B, T]."""
    return tf.reduce_sum(autoregressive.masked(log_p - of_prior, mask), axis=1, keepdims=True)


def _signal(spec, credit, against):
    """R, R - c(z~) or another; 0 without a score."""
    if spec.traits.signal is None:
        return tf.zeros_like(credit)
    return signals.SIGNALS[spec.traits.signal](credit, against)


def _less_mean(spec, signal, batch_size):
    """Less the other rows' mean; or, where rows depend on each other, the other half's."""
    mean = replicas.mean(tf.reduce_mean(signal, axis=0, keepdims=True))
    if spec.sampling == "iid":
        return signals.leave_one_out(signal, mean, batch_size)
    sign = replicas.own_rows(quasi_random.signs(batch_size, signal.dtype))
    signed_mean = replicas.mean(tf.reduce_mean(sign * signal, axis=0, keepdims=True))
    return signals.other_half(signal, sign, mean, signed_mean)


def _weighted_mean(spec, signal, probs, log_p, mask, batch_size):
    """Of the same rows, by weights: [B, T]."""
    weight = autoregressive.masked(signals.score_size(probs, log_p), mask)
    sign = None if spec.sampling == "iid" else quasi_random.signs(batch_size, signal.dtype)
    mean = signals.weighted_mean(replicas.gather(signal), replicas.gather(weight), sign)
    return replicas.own_rows(mean)


def _straight_through(spec, control, critic, generator, reward, penalty, noise, batch_size, data):
    """Hard rows with a gradient, that of relaxed ones or ReinMax's, which the generator reads, too;
    dR/drows weighs them.
    """
    del control, critic, penalty, batch_size, data

    def relaxed():
        return autoregressive.straight_through(
            generator, noise.of_tokens, spec.temperature, spec.traits.second_order
        )

    unrolled, rows, pullback = backprop.with_tape(generator, relaxed, lambda _, rows: [rows])
    b = unrolled.tokens
    told, measured = mixed_reward.tell(reward, b, generator.vocab_size, rows.dtype, "nothing")
    _require_differentiable(spec, reward, b, generator.vocab_size, rows.dtype)
    weights = control_variate.slope(lambda rows: rewards.checked(reward, rows), rows)[1]
    none = tf.zeros_like(rows[..., 0])
    return _Draw(b, told.reward, none, none, measured, weights, pullback)


class _Noise(NamedTuple):
    """All the randomness of one estimate."""

    u: tf.Tensor  # uniform [B, T, V], for z and, but where there are points, for b
    v: tf.Tensor  # uniform [K B, T, V], for z~
    seed: tf.Tensor  # of continuations, and of dropout
    points: tf.Tensor | None = None  # for b, [B, T], where rows are not independent, or V is large

    @property
    def gumbel(self):
        """Of every token, [B, T, V]."""
        return to_gumbel(self.u)

    @property
    def of_tokens(self):
        """What `autoregressive.unroll` makes b of."""
        return self.gumbel if self.points is None else self.points

    def of_z(self, distribution, b):
        """g, [B, T, V], of z = l + g, whose argmax is b."""
        return self.gumbel if self.points is None else distribution.gumbel_given(b, self.u)


def _noise(spec, generator, batch_size, seed):
    shape, dtype = [batch_size, generator.seq_len, generator.vocab_size], generator.compute_dtype
    seeds = tf.unstack(tf.random.experimental.stateless_split(autoregressive.stateless(seed), 3))
    u = replicas.own_rows(uniform_noise(shape, seeds[0], dtype))
    v = uniform_noise([spec.control_samples, *shape], seeds[1], dtype)
    v, points = replicas.own_rows(v, axis=1), None
    of_b = tf.random.experimental.stateless_fold_in(seeds[0], 1)
    if spec.sampling != "iid":
        points = quasi_random.in_halves(spec.sampling, shape[0], shape[1], of_b)
    elif by_inversion(generator.vocab_size) and spec.traits.tokens == "sampled":
        points = unit_interval(shape[:2], of_b)
    points = None if points is None else replicas.own_rows(points)
    return _Noise(u, tf.reshape(v, [-1, *shape[1:]]), seeds[2], points)


def _tokens(spec, generator, noise, data):
    """Samples of the generator, or the data, and the pullback of log-probabilities to theta."""
    if spec.traits.is_likelihood:
        return likelihood.read(generator, data, spec.dropout, noise.seed)
    return backprop.with_pullback(
        generator, lambda: autoregressive.unroll(generator, noise.of_tokens)
    )


def _control(spec, control):
    """The given one; or, where nothing is learned, an empty one."""
    found = ControlVariate(EstimatorSpec()) if control is None else control
    if not found.learns(spec):
        given = "" if control is None else ", unlike the one given"
        raise ValueError(
            f"estimator={spec.estimator!r} with these settings learns {_learned(spec)}{given}: "
            "pass control=ControlVariate.create(spec, generator, reward)"
        )
    return found


def _learned(spec):
    parts = {
        f"c_hat in {spec.control_variate} form": spec.traits.has_c_hat,
        "eta": spec.learn_eta,
        "lambda": spec.learn_temperature,
    }
    return " and ".join(name for name, learned in parts.items() if learned) or "nothing"


def _check_critic(spec, critic):
    if spec.traits.critic and critic is None:
        raise ValueError(
            f"estimator={spec.estimator!r} needs a critic: pass "
            "critic=Critic.create(spec, generator, reward)"
        )
    if critic is not None and not spec.traits.critic:
        raise ValueError(f"estimator={spec.estimator!r} has no critic: pass none")


def _check_batch(spec, batch_size, data):
    spec.check_batch(batch_size)
    if spec.traits.is_likelihood and (data is None or data.shape[0] != batch_size):
        raise ValueError(
            f"estimator={spec.estimator!r} needs data: int32 [B, T], with B = "
            f"batch_size={batch_size}"
        )


def _require_differentiable(spec, reward, tokens, vocab_size, dtype):
    if spec.differentiates_reward:
        rewards.require_differentiable(reward, tf.one_hot(tokens, vocab_size, dtype=dtype))
