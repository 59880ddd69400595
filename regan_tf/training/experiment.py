"""All parts of a run: its data, its networks and what trains them, how far they have come, and what
judges them. `algorithm` moves them; no files, and no printing but a warning of a reward with jumps.
"""

import contextlib

import keras
import tensorflow as tf

from regan_tf import replicas
from regan_tf.config import UserError
from regan_tf.estimators import reward_trial
from regan_tf.estimators.black_box import BlackBoxReward
from regan_tf.estimators.calls import top_means
from regan_tf.estimators.mixed_reward import MixedReward
from regan_tf.tasks.registry import task_of
from regan_tf.training.evaluation import Evaluation
from regan_tf.training.models import Models
from regan_tf.training.progress import Progress
from regan_tf.training.trainer import Trainer


class Experiment:
    """One run of Algorithm 1, at its start.

    Args:
      config: a resolved Config.
      dataset: what the task's `load` gives, if it has been called already.
      own_reward: what config.reward names, if it is there already.
      has_calls: whether the run has had calls of a --reward in Python already.

    Attributes:
      task, dataset, models, generator, trainer, progress, evaluation: see their classes.
      own_reward: what config.reward names, as estimators ask it; None: there is none.
      checkpoint: a tf.train.Checkpoint of everything that a continued run needs.

    Raises UserError if replicas cannot share the minibatch, or the --reward does not serve.
    """

    def __init__(self, config, dataset=None, own_reward=None, has_calls=False):
        if config.batch_size % replicas.count():
            raise UserError(
                f"--batch_size={config.batch_size} is not allowed: {replicas.count()} replicas "
                "must share it evenly"
            )
        self.config, self.task = config, task_of(config)
        self.dataset = self.task.load() if dataset is None else dataset
        real, vocabulary = self.dataset.real, self.dataset.vocabulary
        keras.utils.set_random_seed(config.seed)  # for all that is initialized from here on
        self.models = Models(config, vocabulary)
        self.generator = self.models.generator
        models, reward, self.own_reward = self.models, None, None
        if config.reward:
            tokens = tf.constant(real[: config.batch_size])
            reward = reward_trial.suitable(config, tokens, vocabulary, own_reward, has_calls)
            self.own_reward = reward
            if config.reward_weight < 1:
                reward = MixedReward(reward, models.discriminator, config.reward_weight)
        if config.replay and not isinstance(self.own_reward, BlackBoxReward):
            raise UserError(
                f"--replay={config.replay} contradicts --reward={config.reward}, which reads rows: "
                "only sequences of a text_reward or token_reward are kept"
            )
        self.progress = Progress(self.task, len(real))
        self.trainer = Trainer(
            config,
            self.generator,
            models.discriminator,
            reward,
            models.prior,
            self.progress.pretrain_batches,
        )
        self.evaluation = Evaluation(self.task, self.dataset, self.models)
        self.checkpoint = tf.train.Checkpoint(
            **self.models.checkpoint_parts(self.trainer.learned_variables),
            optimizers=[v.value for v in self.trainer.optimizer_variables],
            **self.progress.checkpoint_parts(),
        )

    @property
    def black_box(self) -> BlackBoxReward | None:
        """The reward in Python whose calls are counted: not where other workers make some, too."""
        reward, alone = self.own_reward, self.config.distribution != "multi_worker"
        return reward if isinstance(reward, BlackBoxReward) and alone else None

    @contextlib.contextmanager
    def within_calls(self):
        """An iteration. If it asks for more calls than --reward_calls leaves, it is as if it had
        not begun, but for the calls.
        """
        box = self.black_box
        before = self._state() if box and self._may_exceed(box) else None
        if box:
            box.iteration = self.progress.iteration + 1
        try:
            yield
        except UserError:
            if not (box and box.spent):
                raise
            for variable, value in before:
                variable.assign(value)
            self.progress.count_calls(box.calls)

    def _may_exceed(self, box):
        """Whether the sequences of an iteration may be more than the calls that are left."""
        limit = self.config.reward_calls
        return limit and limit - box.calls < self.config.most_asked

    def _state(self):
        """What an iteration changes, with its values."""
        variables = [*self.checkpoint.weights, *self.checkpoint.optimizers]
        return [(variable, variable.numpy()) for variable in variables]

    def describe_calls(self) -> dict:
        """The calls so far, and how good the best of them are."""
        box = self.black_box
        return {"calls": box.calls} | top_means(box.ledger.column("reward")) if box else {}

    def take_reward_components(self) -> dict:
        """What a reward in Python gave besides, as means over the sequences of an iteration; not
        where it was asked of continuations, too.
        """
        reward = self.own_reward
        found = reward.take_components() if isinstance(reward, BlackBoxReward) else {}
        if self.config.estimator_spec.traits.reward_per_token:
            return {}
        return {f"reward_{name}": value for name, value in found.items()}

    def close(self):
        """Ends what a reward of one's own has running."""
        if isinstance(self.own_reward, BlackBoxReward):
            self.own_reward.close()

    @property
    def has_negatives(self) -> bool:
        """Whether the discriminator is trained, or cot's mediator: not where a reward of one's own
        is in its place.
        """
        return self.config.trains_discriminator or self.trainer.mediator is not None
