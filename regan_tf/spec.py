"""What an estimator of the generator's gradient is: its name, its settings, and the rules that tie
them.

Everything that asks for an estimator builds an `EstimatorSpec`: the command from its flags, the
laboratory from `rebar:step:loo`, Python from a name and keywords. Nothing here imports TensorFlow.
"""

import dataclasses
import numbers
from dataclasses import dataclass
from typing import Any, NamedTuple

from regan_tf.settings import SettingError, check, setting


class Traits(NamedTuple):
    """What an estimator is made of: one row of the table."""

    signal: str | None  # which weighs grad log p, a name in `signals.SIGNALS`; None: no score term
    has_c_hat: bool = False  # c is eta R(s_lambda(z)) plus c_hat_phi(z), equation (10)
    all_actions: bool = False  # with sum_i Q_t(i) grad p_t(i), over all tokens of each step
    always_leave_one_out: bool = False  # not only where it is asked for
    tokens: str = "sampled"  # or "data", or "straight_through"
    second_order: bool = False  # straight-through by ReinMax
    reward_per_token: bool = False  # by Monte Carlo continuation
    mediator: bool = False  # follows one, instead of a reward: see `penalty.Mediation`

    @property
    def is_likelihood(self) -> bool:
        """Whether it ascends the log-likelihood of data."""
        return self.tokens == "data"

    @property
    def relaxed(self) -> bool:
        """Whether there is a control variate c of relaxed tokens."""
        return self.signal in ("R - c", "R - Q - c")

    @property
    def critic(self) -> str | None:
        """What of a critic is in the estimate: "V" or "Q"; None: it has none."""
        return "V" if self.signal == "R - V" else "Q" if self.all_actions else None

    @property
    def reads_prior(self) -> bool:
        """Whether the signal has the log-probability of a prior."""
        return self.signal == "2 (sigma R - log p/p_0)"

    @property
    def is_of_reward(self) -> bool:
        """Whether the gradient is one of E[R] alone, biased or not: mle, reinvent and cot follow
        another objective.
        """
        return not self.mediator and (self.signal is None or self.signal.startswith("R"))


# To add an estimator, add a row; a signal that is not there yet goes into `signals.SIGNALS`.
ESTIMATORS = {
    "mle": Traits("1", tokens="data"),
    "reinforce": Traits("R"),
    "reinforce_loo": Traits("R", always_leave_one_out=True),
    "reinforce_rollout": Traits("R", reward_per_token=True),
    "reinvent": Traits("2 (sigma R - log p/p_0)"),
    "rebar": Traits("R - c"),
    "relax": Traits("R - c", has_c_hat=True),
    "actor_critic": Traits("R - V", always_leave_one_out=True),
    "doubly_robust": Traits("R - Q", all_actions=True, always_leave_one_out=True),
    "doubly_robust_relax": Traits(
        "R - Q - c", all_actions=True, has_c_hat=True, always_leave_one_out=True
    ),
    "all_actions_biased": Traits(None, all_actions=True),
    "straight_through": Traits(None, tokens="straight_through"),
    "reinmax": Traits(None, tokens="straight_through", second_order=True),
    "cot": Traits(None, mediator=True),
    "cot_unbiased": Traits("- KL", mediator=True, always_leave_one_out=True),
}
BASELINES = ("mean", "weighted")  # of leave-one-out: functions in `signals`
SAMPLINGS = ("iid", "sobol", "lhs")  # the last two by points of `quasi_random`
FORMS = ("sequence", "step", "rollout")  # of control variates: functions in `control_variate`

_OF_CONTROL_VARIATES = (
    "control_variate",
    "learn_eta",
    "learn_temperature",
    "control_samples",
    "coupled",
)
_NO_CONTROL = "which has no control variate; rebar and relax have"
OF_CRITICS = ("critics", "critic_target", "critic_reads")
NO_CRITIC = "which has no critic; actor_critic and doubly_robust have"
NO_REUSE = (
    "which needs fresh sequences; reinforce, reinforce_loo, reinforce_rollout, actor_critic and "
    "reinvent can use them again"
)


@dataclass(frozen=True)
class EstimatorSpec:
    """One estimator with its settings, checked once: it raises SettingError, a ValueError.

    eta and temperature may be tensors where they are not learned. updates_per_batch and clip are
    for who makes the updates: an estimate of fresh samples does not depend on them.
    """

    estimator: str = setting(
        "rebar",
        "Estimator of the generator's gradient (sections 3.1-3.3); mle: maximum likelihood goes "
        "on.",
        choices=tuple(ESTIMATORS),
    )
    control_variate: str = setting(
        "sequence",
        "Form of rebar's and relax's control variate: the paper's (biased), or unbiased ones; "
        "rollout has a heavy tail beyond a few steps.",
        choices=FORMS,
    )
    leave_one_out: bool = setting(
        False, "Subtract the mean of the other rows' learning signals from each row's."
    )
    baseline: str = setting(
        "mean",
        "What leave-one-out subtracts: the other rows' mean signal; or, at each step, their mean "
        "weighted by the squared size of their score in the logits, for a lower variance.",
        choices=BASELINES,
    )
    sampling: str = setting(
        "iid",
        "How a batch's tokens are drawn: independently, or by points that fill the space more "
        "evenly, shifted Sobol points or a Latin hypercube, in two halves that are independent; "
        "each is then the other's baseline, where leave-one-out would be.",
        choices=SAMPLINGS,
    )
    temperature: float = setting(
        1.0, "Temperature lambda of the relaxation (appendix B); the paper uses 1.", above=0
    )
    eta: float = setting(
        1.0, "Scale eta of D in the control variate (equation 17); the paper uses 1."
    )
    learn_temperature: bool = setting(
        False, "Train lambda, too, to lower the gradient's variance (rebar, relax)."
    )
    learn_eta: bool = setting(
        False, "Train eta, too, to lower the gradient's variance (rebar, relax)."
    )
    variance_loss: str = setting(
        "batch",
        "What is lowered: the batch gradient's squared norm, or the rows' mean one.",
        choices=("batch", "per_example"),
    )
    control_samples: int = setting(
        1, "Draws of z~ for each sequence, over which c is averaged (rebar, relax).", at_least=1
    )
    rollouts: int = setting(16, "Continuations per token (reinforce_rollout).", at_least=1)
    sigma: float = setting(
        120.0,
        "Weight of the reward beside the prior's log-probability (reinvent); 120 is published, for "
        "rewards in [0, 1].",
        above=0,
    )
    coupled: bool | None = setting(
        None,
        "Evaluate c once, at z = z~, instead of at independent z and z~; by default in the step "
        "and rollout forms.",
    )
    critics: int = setting(
        1, "Critics, from different random weights, whose mean is Q.", at_least=1
    )
    critic_target: str = setting(
        "doubly_robust",
        "What Q_t(b_t) is fitted to: R less sum_{s>t} (Q_s(b_s) - V_s), or R alone.",
        choices=("doubly_robust", "reward"),
    )
    critic_reads: str = setting(
        "prefix",
        "What critics read besides the generator's state, of a reward that values prefixes: its "
        "features and value of each (prefix), that after each next token, too (next), or nothing.",
        choices=("nothing", "prefix", "next"),
    )
    dropout: float = setting(
        0.0,
        "Share of units that are dropped in maximum likelihood, in pre-training, by mle and of "
        "cot's mediator: of the embedded tokens that the cell reads, and of the states that the "
        "output layer reads; for small data.",
        at_least=0,
        at_most=0.99,
    )
    updates_per_batch: int = setting(
        1,
        "Generator updates that each batch serves, for a dear reward: those after the first by "
        "PPO's clipped surrogate, which is biased (reinforce, reinforce_loo, reinforce_rollout, "
        "actor_critic); of reinvent by its own loss.",
        at_least=1,
    )
    clip: float = setting(
        0.2,
        "Of such an update: a token whose probability has already changed by more than this "
        "share, in the direction it is pushed, is left as it is.",
        above=0,
    )

    @classmethod
    def of(cls, estimator: "str | EstimatorSpec", /, **settings: Any) -> "EstimatorSpec":
        """A spec as it is, or with some settings changed; or that of a name."""
        if isinstance(estimator, EstimatorSpec):
            return dataclasses.replace(estimator, **settings) if settings else estimator
        return cls(estimator, **settings)

    def __post_init__(self):
        check(self)
        if not self.traits.relaxed:
            for name in _OF_CONTROL_VARIATES:
                if getattr(self, name) != getattr(EstimatorSpec, name):  # which is the default
                    self._contradiction(name, "estimator", _NO_CONTROL)
        if self.traits.critic is None:
            for name in OF_CRITICS:
                if getattr(self, name) != getattr(EstimatorSpec, name):
                    self._contradiction(name, "estimator", NO_CRITIC)
        elif self.traits.relaxed and self.control_variate == "sequence":
            reason = "which needs a control variate a token: step or rollout"
            self._contradiction("control_variate", "estimator", reason)
        if not self.traits.is_likelihood and not is_zero(self.dropout):
            reason = "which has no dropout; maximum likelihood, mle, has"
            self._contradiction("dropout", "estimator", reason)
        if not self.traits.reads_prior and self.sigma != EstimatorSpec.sigma:
            self._contradiction("sigma", "estimator", "which has none; reinvent has")
        if self.updates_per_batch == 1 and self.clip != EstimatorSpec.clip:
            self._contradiction("clip", "updates_per_batch", "without which nothing is clipped")
        for name in ("leave_one_out", "baseline"):
            if getattr(self, name) != getattr(EstimatorSpec, name) and not self.is_score_function:
                reason = "which has no learning signal of its own samples; the others have"
                self._contradiction(name, "estimator", reason)
        if self.baseline != "mean" and not self.uses_leave_one_out:
            self._contradiction("baseline", "leave_one_out", "without which there is no baseline")
        if self.updates_per_batch > 1 and not self.may_reuse:
            self._contradiction("updates_per_batch", "estimator", NO_REUSE)
        self._check_sampling()
        if self.learn_temperature and is_zero(self.eta) and not self.learn_eta:
            reason = "without which the control variate has no temperature"
            self._contradiction("learn_temperature", "eta", reason)

    def _check_sampling(self):
        if self.sampling == "iid":
            return
        if self.traits.is_likelihood:
            self._contradiction("sampling", "estimator", "which samples nothing")
        if self.traits.tokens == "straight_through" and not self.traits.second_order:
            reason = "which needs the Gumbel noise that independent tokens are made of"
            self._contradiction("sampling", "estimator", reason)

    def _contradiction(self, name, other, reason):
        raise SettingError(name, getattr(self, name), reason, (other, getattr(self, other)))

    def check_penalty(self, weights: "PenaltyWeights") -> None:
        """Raises SettingError if a weight is not 0 and the estimator cannot have a penalty."""
        if self.traits.reads_prior:
            reason = "which keeps to the prior by itself: a higher sigma keeps to it less"
        elif self.traits.mediator:
            reason = "which follows its mediator alone"
        elif not self.is_score_function:
            reason = "which has no learning signal of its own samples; the others have"
        else:
            return
        for name, value in dataclasses.asdict(weights).items():
            if not is_zero(value):
                raise SettingError(name, value, reason, ("estimator", self.estimator))

    def check_batch(self, batch_size: int) -> None:
        """Raises SettingError if the estimator needs more rows."""
        if self.uses_leave_one_out and batch_size < 2:
            raise SettingError("batch_size", batch_size, "leave-one-out needs at least 2 rows")
        if not self.divides(batch_size):
            reason = f"sampling={self.sampling} needs an even number of rows, at least 4"
            raise SettingError("batch_size", batch_size, reason)

    def divides(self, rows: int) -> bool:
        """Whether so many rows have the two halves that the sampling takes them in, if it does."""
        return self.sampling == "iid" or (rows >= 4 and rows % 2 == 0)

    @property
    def traits(self) -> Traits:
        """The estimator's row of the table."""
        return ESTIMATORS[self.estimator]

    @property
    def is_score_function(self) -> bool:
        """Whether the log-probabilities of samples of the generator are weighed by a reward."""
        return self.traits.signal is not None and self.traits.tokens == "sampled"

    @property
    def may_reuse(self) -> bool:
        """Whether sequences may be used again, for `updates_per_batch` or replay: what weighs them
        is a number that stays.
        """
        return self.traits.signal in ("R", "R - V") or self.traits.reads_prior

    @property
    def may_credit_tokens(self) -> bool:
        """Whether a token may be weighed by what is still to come of a reward, which comes one by
        one: nothing else is known of a token's worth, but by a critic that learns just that.
        """
        return self.traits.signal in ("R", "R - V", "R - Q") and not self.traits.reward_per_token

    @property
    def uses_leave_one_out(self) -> bool:
        """Whether the other rows' mean signal is subtracted, asked for or by nature."""
        return self.leave_one_out or self.traits.always_leave_one_out

    @property
    def is_coupled(self) -> bool:
        """Whether c is evaluated once, at z = z~."""
        return self.control_variate != "sequence" if self.coupled is None else self.coupled

    @property
    def differentiates_reward(self) -> bool:
        """Whether the gradient of R in relaxed rows is used: R must then be continuous in them."""
        has_reward = self.learn_eta or not is_zero(self.eta)
        return self.traits.tokens == "straight_through" or (self.traits.relaxed and has_reward)


@dataclass(frozen=True)
class PenaltyWeights:
    """How much a `Penalty` weighs; checked, they raise SettingError. Both may be tensors."""

    prior_kl: float = setting(
        0.0,
        "Weight beta of the divergence from the pre-trained generator, KL(p_theta || p_0) in nats "
        "per sequence, which is subtracted from the mean reward.",
        at_least=0,
    )
    entropy: float = setting(
        0.0,
        "Weight alpha of the generator's entropy, in nats per sequence, which is added to the mean "
        "reward.",
        at_least=0,
    )

    def __post_init__(self):
        check(self)

    @property
    def are_zero(self) -> bool:
        """Whether both are the plain number 0: nothing is then added to the gradient."""
        return is_zero(self.prior_kl) and is_zero(self.entropy)


def is_zero(value: Any) -> bool:
    """Whether it is the plain number 0: what it weighs is then left out. With eta = 0, R need not
    be defined on relaxed rows.
    """
    return isinstance(value, numbers.Real) and value == 0
