"""Critics: what a sequence will be worth, read from its beginning, for every next token.

They are learned by regression on samples of the run, and make the `doubly_robust` estimator's
variance small. Nothing of them reaches the generator but the values of Q: any Q leaves that
estimator unbiased.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from regan_tf import replicas
from regan_tf.estimators.control_variate import prefix_features
from regan_tf.estimators.critic_network import CriticNetwork, mean_of_all
from regan_tf.estimators.penalty import later
from regan_tf.estimators.rewards import Reward, Told, tell
from regan_tf.networks import autoregressive
from regan_tf.networks.autoregressive import chosen, masked
from regan_tf.networks.dtypes import check_policy
from regan_tf.networks.protocol import SequenceGenerator, Unrolled
from regan_tf.spec import EstimatorSpec

_DECAY = 0.9  # of running variances
_FAR = 5.0  # standard deviations of R beyond which a prefix's value is cut off where it is read


class Reading(NamedTuple):
    """What Q is made of, a function of b_<t alone."""

    features: tf.Tensor  # the generator's state, and the reward's features, [B, T, F]
    value: tf.Tensor  # the reward's own of b_<t, [B, T, 1]; or [B, T, 0]
    next_values: tf.Tensor  # after b_<t and each next token, [B, T, V]; or [B, T, 0]


class Lesson(NamedTuple):
    """What a critic learns from."""

    reading: Reading
    target: tf.Tensor  # of Q_t(b_t), [B, T]
    reward: tf.Tensor  # R, [B]


class Exercise(NamedTuple):
    """A Lesson as `Critic.error` compares it."""

    x: tf.Tensor  # the networks' input, [B, T, .]
    tokens: tf.Tensor  # b, int32 [B, T]
    target: tf.Tensor  # in units of s from m_t, [B, T]
    weight: tf.Tensor  # 0 after a row's end, else 1, [B, T]
    ahead: tf.Tensor | tuple  # d_t(b_t) in units of s from n_t, [B, T]; () where it is not read


class Judgement(NamedTuple):
    """What a critic says of a batch; constant for the generator."""

    q: tf.Tensor  # Q_t(b_<t, .), [B, T, V]
    of_tokens: tf.Tensor  # Q_t(b_t), [B, T]; 0 after a row's end
    value: tf.Tensor  # V_t = sum_i p_t(i) Q_t(i), [B, T]; 0 after a row's end
    reading: Reading

    def lesson(self, spec: EstimatorSpec, credit: tf.Tensor, reward: tf.Tensor) -> Lesson:
        """The regression of Q_t(b_t) on what `EstimatorSpec.critic_target` says: the credit, R
        [B, 1] or less costs that come later [B, T], or with less noise and the same mean,

            credit_t - sum_{s>t} (Q_s(b_s) - V_s)
        """
        credit = tf.broadcast_to(credit, tf.shape(self.value))
        if spec.critic_target == "doubly_robust":
            credit -= later(self.of_tokens - self.value)
        return Lesson(self.reading, credit, reward)


@keras.saving.register_keras_serializable("regan_tf")
class Critic(keras.Model):
    """Q_t(b_<t, i) = E[R | b_<t, b_t = i], roughly: [B, T, V], one product with V outputs. With a
    penalty, later costs are taken from R.

        Q = m_t + a_t (d_t(i) - n_t) + s mean over networks of f_t(what is read of b_<t)_i

    with m_t the last batch's mean of what is learned, and s its running standard deviation within a
    step, so that rewards and costs of any scale are learned alike; d_t(i) the reward's own value
    after b_<t and i, where that is read, and n_t the last batch's mean of d_t(b_t): a_t is learned,
    and starts at 1 at the last step, where d_t is all that is to come, else at 0. f starts at 0.

    Args:
      feature_dim: F, see `control_variate.prefix_features`.
      seq_len, vocab_size: T and V.
      units: of both hidden layers.
      networks: how many there are.
      reads_value, reads_next: whether the reward's own values are read.
    Raises:
      ValueError: the dtype policy is neither float32 nor float64.
    """

    def __init__(
        self,
        feature_dim: int,
        seq_len: int,
        vocab_size: int,
        units: int = 64,
        networks: int = 1,
        reads_value: bool = False,
        reads_next: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_policy(self)
        self._sizes = {"feature_dim": feature_dim, "seq_len": seq_len, "vocab_size": vocab_size}
        self._sizes |= {"units": units, "networks": networks}
        self._sizes |= {"reads_value": reads_value, "reads_next": reads_next}
        self.widths = feature_dim, int(reads_value), reads_next * vocab_size
        sizes = sum(self.widths), seq_len, vocab_size, units
        self.networks = [
            CriticNetwork(sizes, dtype=self.dtype_policy, name=f"network_{n}")
            for n in range(networks)
        ]
        self.of_values: Any = (
            self.add_weight(shape=[seq_len], initializer=_at_the_end, name="of_values")
            if reads_next
            else None
        )
        observed = {"initializer": "zeros", "trainable": False}
        observed["aggregation"] = "only_first_replica"
        # Of each step's targets, and of the reward's own values, where they are read.
        shape = [seq_len, 1 + reads_value + reads_next]
        self.means = self.add_weight(shape=shape, name="means", **observed)
        # The sums that are the running variances of R and of targets, and what weighs these.
        self.squares = self.add_weight(shape=[3], name="squares", **observed)
        self.built = True

    @classmethod
    def create(
        cls, spec: EstimatorSpec, generator: SequenceGenerator, reward: Reward, units: int = 64
    ) -> "Critic":
        """With new weights, of the generator's dtype; arguments as for `estimate_gradient`."""
        tokens = tf.zeros([1, generator.seq_len], tf.int32)
        options = generator.vocab_size, generator.compute_dtype, spec.critic_reads
        told = tell(reward, tokens, *options)
        reading = read(told, autoregressive.teacher_force(generator, tokens))
        return cls(
            reading.features.shape[-1],
            generator.seq_len,
            generator.vocab_size,
            units,
            spec.critics,
            reading.value.shape[-1] > 0,
            reading.next_values.shape[-1] > 0,
            dtype=generator.compute_dtype,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | self._sizes

    def call(self, reading: Reading) -> tf.Tensor:
        """Q, [B, T, V]."""
        of_reward, of_targets = self._deviations()
        x, values = self._inputs(reading, of_reward)
        q = self.means.value[:, :1] + of_targets * mean_of_all(self.networks, x)
        return q if self.of_values is None else q + self.of_values.value[:, tf.newaxis] * values

    def exercise(self, lesson: Lesson, tokens: tf.Tensor, mask: tf.Tensor | None) -> Exercise:
        """A Lesson of int32 [B, T] in the units of what was observed last; mask: of
        `autoregressive.alive`.
        """
        of_reward, of_targets = self._deviations()
        x, values = self._inputs(lesson.reading, of_reward)
        target = (lesson.target - self.means.value[:, 0]) / of_targets
        weight = tf.ones_like(target) if mask is None else mask
        ahead = () if self.of_values is None else chosen(values, tokens) / of_targets
        return Exercise(x, tokens, target, weight, ahead)

    def error(self, exercise: Exercise) -> tf.Tensor:
        """The mean over tokens of (Q_t(b_t) - target)^2 / s^2, summed over networks, a scalar."""
        x, tokens, target, weight, ahead = exercise
        if self.of_values is not None:
            target -= self.of_values.value * ahead
        errors = [(network.of_tokens(x, tokens) - target) ** 2 for network in self.networks]
        return tf.reduce_sum(tf.add_n(errors) * weight) / replicas.mean(tf.reduce_sum(weight))

    def observe(self, lesson: Lesson, tokens: tf.Tensor, mask: tf.Tensor | None) -> None:
        """Sets the means to this batch's, and moves the deviations to its own. A mean that is wrong
        by the same for all sequences does no harm; but rewards that move, as a discriminator's do,
        by more than they differ, would else be all that there is to learn; and so would a penalty's
        later costs, which are the more the more steps are to come.

        Args:
          lesson: a Lesson of int32 tokens [B, T].
          mask: of `autoregressive.alive`.
        """
        (_, value, next_values), target, reward = lesson
        weight = tf.ones_like(target) if mask is None else mask
        ahead = [] if self.of_values is None else [chosen(next_values, tokens)[..., tf.newaxis]]
        x = tf.concat([target[..., tf.newaxis], value, *ahead], axis=-1)
        near, mean = replicas.mean([tf.reduce_mean(x, axis=0), tf.reduce_mean(reward)])
        of_steps = tf.reduce_sum(weight[..., tf.newaxis] * (x - near), axis=0)
        beyond, rows = replicas.mean([of_steps, tf.reduce_sum(weight, axis=0)])
        means = near + tf.math.divide_no_nan(beyond, rows[:, tf.newaxis])
        of_reward, of_targets = replicas.mean(
            [
                tf.reduce_mean((reward - mean) ** 2),
                tf.reduce_sum(weight * (target - means[:, 0]) ** 2) / tf.reduce_sum(rows),
            ]
        )
        self.means.assign(means)
        now = tf.stack([of_reward, of_targets, tf.ones_like(mean)])
        self.squares.assign(_DECAY * self.squares.value + (1 - _DECAY) * now)

    def _deviations(self):
        """Of R, and of targets; 1 before anything was observed, and where nothing but rounding
        differs.
        """
        *squares, weight = tf.unstack(self.squares.value)
        rounding = 1e-6 * tf.reduce_max(tf.abs(self.means.value[:, 0]))
        found = [tf.sqrt(tf.math.divide_no_nan(x, weight)) for x in squares]
        return [tf.where(x > rounding, x, tf.ones_like(x)) for x in found]

    def _inputs(self, reading, deviation):
        """The networks' input, with values in units of R's deviation; and d_t(i) - n_t."""
        value = reading.value - self.means.value[:, 1 : 1 + self.widths[1]]
        next_values = reading.next_values
        if self.of_values is not None:
            next_values -= self.means.value[:, -1:]
        read = [tf.clip_by_value(x / deviation, -_FAR, _FAR) for x in (value, next_values)]
        return tf.concat([reading.features, *read], axis=-1), next_values


def _at_the_end(shape, dtype=None):
    return tf.one_hot(shape[0] - 1, shape[0], dtype=dtype)


def read(told: Told, unrolled: Unrolled) -> Reading:
    """What a critic is told of each prefix, by the reward and by a pass of the generator."""
    return Reading(prefix_features(unrolled, told.features), told.values, told.next_values)


def judge(
    critic: Callable[[Reading], tf.Tensor],
    told: Told,
    unrolled: Unrolled,
    mask: tf.Tensor | None,
) -> Judgement:
    """What a critic says of a pass of the generator; mask: of `autoregressive.alive`.

    Raises ValueError unless that is [B, T, V].
    """
    reading, tokens, shape = read(told, unrolled), unrolled.tokens, unrolled.log_probs.shape
    q = critic(reading)
    if not q.shape.is_compatible_with(shape):
        raise ValueError(f"the critic gave shape {q.shape}: it must give [B, T, V], {shape}")
    q = tf.ensure_shape(q, shape)
    value = tf.reduce_sum(tf.exp(unrolled.log_probs) * q, axis=-1)
    return Judgement(q, masked(chosen(q, tokens), mask), masked(value, mask), reading)


def fit(critic: Critic, optimizer: keras.optimizers.Optimizer, exercise: Exercise) -> tf.Tensor:
    """One step of the regression; returns a network's loss, in units of the targets' variance."""
    phi = [v.value for v in critic.trainable_variables]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(phi)
        loss = critic.error(exercise)
    gradient = [tf.convert_to_tensor(g) for g in tape.gradient(loss, phi)]
    *gradient, loss = replicas.mean([*gradient, loss / len(critic.networks)])
    optimizer.apply(gradient, critic.trainable_variables)
    return loss


def learn(
    critic: Critic,
    optimizer: keras.optimizers.Optimizer,
    lesson: Lesson,
    tokens: tf.Tensor,
    mask: tf.Tensor | None,
) -> tf.Tensor:
    """Observes a batch, int32 [B, T], and makes one step on it; mask: of `autoregressive.alive`.
    Returns what `fit` does.
    """
    critic.observe(lesson, tokens, mask)
    return fit(critic, optimizer, critic.exercise(lesson, tokens, mask))


def rows_of(x: Any, number: tf.Tensor, size: int) -> Any:
    """`size` rows of a nest of [B, ...], or all if B is less: others for each number, until all
    have been.
    """
    of = tf.nest.flatten(x)[0].shape[0]
    size = min(size, of)
    rows = (number * size + tf.range(size)) % of
    return tf.nest.map_structure(lambda each: tf.gather(each, rows), x)
