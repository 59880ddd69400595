"""Algorithm 1 as an object: the networks, what a checkpoint holds, one method for each of its
phases.

No files, and no printing but a warning of a reward with jumps.
"""

import sys
import time

import keras
import numpy as np
import tensorflow as tf

from regan_tf import replicas
from regan_tf.config import UserError
from regan_tf.estimators import rewards
from regan_tf.graphs import compiled
from regan_tf.networks import autoregressive
from regan_tf.networks.discriminator import Discriminator
from regan_tf.networks.generator import Generator
from regan_tf.tasks import data
from regan_tf.tasks.registry import task_of
from regan_tf.training.trainer import Trainer

# Streams of randomness. A seed is (config.seed, stream) folded with a counter, so that a checkpoint
# needs no random state.
_PRETRAIN_ORDER, _ORDER, _UPDATE, _NEGATIVES, _EVALUATION = range(2, 7)  # 0 and 1 are the data's

# A group of pre-training's minibatches: so many products of the forward pass, a tenth of a second
# or so; and no more minibatches than this, since small ones take their time for other things.
_GROUP_PRODUCTS, _LARGEST_GROUP = 300_000_000, 32


class NotFiniteError(UserError):
    """A loss or gradient is NaN or infinite: the message names the step and the quantity."""


class Experiment:
    """One run of Algorithm 1.

    Args:
      config: a resolved Config.
      dataset: what the task's `load` gives, if it has been called already.

    Attributes:
      task, dataset, metrics, eval_samples: what is learned, its data, what samples are judged by,
        and how many are at a time.
      generator, best_generator: as they are now, and as they were at the best evaluation point.
      checkpoint: a tf.train.Checkpoint of everything that a continued run needs.
    """

    def __init__(self, config, dataset=None):
        self.config = config
        self.task = task_of(config)
        self.dataset = self.task.load() if dataset is None else dataset
        self.metrics = self.task.metrics(self.dataset)
        if config.batch_size % replicas.count():
            raise UserError(
                f"--batch_size={config.batch_size} is not allowed: {replicas.count()} replicas "
                "must share it evenly"
            )
        keras.utils.set_random_seed(config.seed)
        vocabulary, heldout = self.dataset.vocabulary, tf.constant(self.dataset.heldout)
        sizes = (
            len(vocabulary),
            config.seq_len,
            config.embed_dim,
            config.generator_dim,
            vocabulary.end,
        )
        self.generator, self.best_generator = Generator(*sizes), Generator(*sizes)
        discriminator = Discriminator(len(vocabulary), config.discriminator_dim, vocabulary.end)
        self.trainer = Trainer(config, self.generator, discriminator, self._own_reward())
        self._heldout = heldout
        self.eval_samples = self.task.eval_samples(self.dataset)
        self._measure = _Measure(self.generator, heldout, self.eval_samples, self.metrics)
        self._measure_best = _Measure(self.best_generator, heldout, self.eval_samples, self.metrics)

        # Minibatches of maximum likelihood so far.
        self._pretrained = tf.Variable(0, dtype=tf.int64)
        # In pre-training, if it may end early ...
        self._least_nll = tf.Variable(np.inf, dtype=tf.float64)
        # ... and epochs since then; -1: it has ended.
        self._stale_epochs = tf.Variable(0, dtype=tf.int64)
        # Adversarial iterations so far; -1: iteration 0 is not measured yet.
        self._iteration = tf.Variable(-1, dtype=tf.int64)
        self._best_iteration = tf.Variable(-1, dtype=tf.int64)
        self._best_value = tf.Variable(np.nan, dtype=tf.float64)
        self._stale = tf.Variable(0, dtype=tf.int64)  # evaluation points since the best one
        early_stopping = (
            {"pretraining": [self._least_nll, self._stale_epochs]}
            if config.pretrain_patience
            else {}
        )
        self.checkpoint = tf.train.Checkpoint(
            weights=[v.value for v in self.trainer.variables],
            optimizers=[v.value for v in self.trainer.optimizer_variables],
            best=[v.value for v in self.best_generator.variables],
            progress=[
                self._pretrained,
                self._iteration,
                self._best_iteration,
                self._best_value,
                self._stale,
            ],
            **early_stopping,
        )
        self._batches = None
        self._epoch, self._epoch_seconds = None, 0.0  # the epoch of pre-training that is under way
        self._evaluated = None  # samples

    def _own_reward(self):
        """The --reward, or None. Raises UserError unless it is what the estimator needs; warns of
        jumps.
        """
        config = self.config
        if not config.reward:
            return None
        reward, vocab_size = rewards.load(config.reward), len(self.dataset.vocabulary)
        tokens = tf.constant(self.dataset.real[: config.batch_size])
        relaxed = config.estimator_spec.differentiates_reward
        try:
            values = rewards.tried(reward, tokens, vocab_size, relaxed).numpy()
            missed = (
                rewards.discontinuity(reward, tokens, vocab_size, config.temperature)
                if relaxed
                else 0.0
            )
        except tf.errors.OpError as error:
            raise UserError(
                f"--reward={config.reward} failed: {rewards.described(error)}"
            ) from None
        except Exception as error:
            raise UserError(self._refusal(rewards.source(error))) from None
        if not np.all(np.isfinite(values)):
            wrong = values[~np.isfinite(values)][0]
            raise UserError(
                f"--reward={config.reward} gave {wrong} for a row of the data: it must be finite"
            )
        # straight_through asks for the gradient at hard rows alone.
        if np.isnan(missed) and config.estimator != "straight_through":
            raise UserError(
                f"--reward={config.reward} is not finite in relaxed rows, where "
                f"--estimator={config.estimator} asks for it"
            )
        if missed > rewards.JUMPS:
            print(
                f"warning: --reward={config.reward} does not change as its gradient says, which "
                f"misses {missed:.0%} (a jump: rebar and relax are then biased): make it "
                "continuous, or take reinforce_loo",
                file=sys.stderr,
            )
        return reward

    def _refusal(self, error):
        name = f"--reward={self.config.reward}"
        if isinstance(error, rewards.UnsuitableError):
            return f"{name} does not serve --estimator={self.config.estimator}: {error}"
        return (
            f"{name} failed in a graph, in which training runs it: {rewards.described(error)} "
            "(write it with TensorFlow ops, or wrap it in tf.numpy_function)"
        )

    @property
    def _trains_discriminator(self):
        return not self.config.reward and self.config.d_steps > 0

    @property
    def pretrained(self):
        return int(self._pretrained.numpy())

    @property
    def batches_per_epoch(self):
        """Minibatches in one epoch of the data; what does not fill one is left out."""
        return len(self.dataset.real) // self.config.batch_size

    @property
    def pretrain_batches(self):
        """Minibatches of maximum likelihood in all, unless it ends early."""
        return round(self.config.pretrain_epochs * self.batches_per_epoch)

    @property
    def pretraining(self):
        """Whether there is pre-training left."""
        return self.pretrained < self.pretrain_batches and int(self._stale_epochs.numpy()) >= 0

    @property
    def iteration(self):
        return int(self._iteration.numpy())

    @property
    def best_iteration(self):
        return int(self._best_iteration.numpy())

    @property
    def converged(self):
        return 0 < self.config.patience <= int(self._stale.numpy())

    @property
    def finished(self):
        return self.iteration >= self.config.iterations or (self.iteration >= 0 and self.converged)

    def pretrain_epoch(self):
        """Line 3: maximum likelihood over one epoch, or what is left of it. Returns the record of
        it.
        """
        while (record := self.pretrain_group()) is None:
            pass
        return record

    def pretrain_group(self):
        """The next few minibatches of an epoch, well under a second of work. Returns the epoch's
        record if it ends there, or None.

        A checkpoint between two groups goes on within the epoch. The groups' size follows from the
        configuration alone: workers that share the minibatches must call the compiled step alike.
        """
        started = time.perf_counter()
        epoch, first = divmod(self.pretrained, self.batches_per_epoch)
        if self._epoch is None:  # at its start, and after a resume
            self._epoch = self._epoch_batches(epoch)
        end = min((epoch + 1) * self.batches_per_epoch, self.pretrain_batches)
        steps = min(self._group_size, end - self.pretrained)
        losses = self.trainer.pretrain(self._epoch, tf.constant(first), tf.constant(steps)).numpy()
        if not np.all(np.isfinite(losses)):
            wrong = int(np.argmin(np.isfinite(losses)))
            raise NotFiniteError(
                f"at pre-training minibatch {self.pretrained + wrong + 1} the loss is "
                f"{losses[wrong]}: "
                "try a smaller --pretrain_learning_rate"
            )
        self._pretrained.assign_add(steps)
        self._epoch_seconds += time.perf_counter() - started
        if self.pretrained < end:
            return None
        started = time.perf_counter() - self._epoch_seconds
        self._epoch, self._epoch_seconds = None, 0.0
        record = self._record("pretrain", self.pretrained, self._evaluation_samples(), started)
        if self.config.pretrain_patience:
            self._stop_early(record["nll"])
        return record

    def _epoch_batches(self, epoch):
        """All minibatches of an epoch of pre-training, int32 [S, B, T]."""
        seed, steps = self._stream(_PRETRAIN_ORDER), self.batches_per_epoch
        return next(
            iter(
                data.minibatches(self.dataset.real, self.config.batch_size, steps, seed, skip=epoch)
            )
        )

    @property
    def _group_size(self):
        config, vocab_size = self.config, len(self.dataset.vocabulary)
        per_token = (
            4 * config.generator_dim * (config.embed_dim + config.generator_dim)
            + config.generator_dim * vocab_size
        )
        return int(
            np.clip(
                _GROUP_PRODUCTS // (config.batch_size * config.seq_len * per_token),
                1,
                _LARGEST_GROUP,
            )
        )

    def _stop_early(self, nll):
        """Keeps the best generator of pre-training, in the place of the best of all, and goes on
        with it at the end.
        """
        if nll < self._least_nll.numpy():
            self._least_nll.assign(nll)
            self._stale_epochs.assign(0)
            _copy(self.generator, self.best_generator)
        else:
            self._stale_epochs.assign_add(1)
        if (
            self.pretrained >= self.pretrain_batches
            or self._stale_epochs.numpy() >= self.config.pretrain_patience
        ):
            self._stale_epochs.assign(-1)
            _copy(self.best_generator, self.generator)

    def measure_start(self):
        """Iteration 0: the generator as pre-training left it. Returns its record."""
        started = time.perf_counter()
        self._iteration.assign(0)
        return self._keep_best(self._record("adversarial", 0, self._evaluation_samples(), started))

    def iterate(self):
        """Lines 5-18: one adversarial iteration. Returns its record.

        Its metrics are those of the last negatives, which are fresh samples anyway; at an
        evaluation point, or where there is no discriminator to train, of `eval_samples` more.
        Tasks whose metrics take longer are judged at evaluation points only.
        """
        started = time.perf_counter()
        number = self.iteration + 1
        for g_step in range(self.config.g_steps):
            update = (number - 1) * self.config.g_steps + g_step
            batches = self._next_batches(update)
            scalars = self._update_generator(number, self._seed(_UPDATE, update), batches[0])
            negatives = None
            if self._trains_discriminator:
                losses, negatives = self.trainer.train_discriminator(
                    batches, self._seed(_NEGATIVES, update)
                )
                scalars |= losses
        values = {name: float(value) for name, value in scalars.items()}
        _require_finite(values, number, self.config.reward)
        self._iteration.assign(number)
        at_evaluation_point = number % self.config.eval_every == 0
        if at_evaluation_point or (negatives is None and self.task.judges_each_iteration):
            samples = self._evaluation_samples()
        else:
            samples = negatives.numpy() if self.task.judges_each_iteration else None
        record = self._record("adversarial", number, samples, started, values)
        return self._keep_best(record) if at_evaluation_point else record

    def _update_generator(self, number, seed, real):
        try:
            return self.trainer.update_generator(seed, real)
        except tf.errors.OpError as error:
            # Of several workers it may be another that is lost: `run` says so.
            if not self.config.reward or self.config.distribution == "multi_worker":
                raise
            reason = (
                f"the update with --reward={self.config.reward} failed: {rewards.described(error)}"
            )
            raise UserError(f"at adversarial iteration {number} {reason}") from None

    def warm_up(self):
        """Pre-trains to the end, then trains the discriminator on one group of `d_steps`
        minibatches; returns its loss.

        For measuring at a state without an adversarial history.
        """
        while self.pretraining:
            self.pretrain_epoch()
        losses, _ = self.trainer.train_discriminator(
            self._next_batches(0), self._seed(_NEGATIVES, 0)
        )
        return float(losses["discriminator_loss"])

    def evaluate_last(self):
        """The metrics of the generator as it is, over `eval_samples` samples."""
        return self._measure.metrics(self._evaluation_samples())

    def evaluate_best(self):
        """The metrics of the best generator so far, over as many samples."""
        return self._measure_best.metrics(
            self._measure_best.sample(self._seed(_EVALUATION, max(self.iteration, 0)))
        )

    def evaluated(self, size):
        """int [size, T] of the samples that the last evaluation was of; none is drawn anew."""
        return self._evaluated[:size]

    def nll_function(self, generator):
        """A compiled function from a sampling temperature to the held-out NLL of the generator's
        law at it, in nats a sequence.
        """
        return _nll_function(generator, self._heldout)

    def _evaluation_samples(self):
        self._evaluated = self._measure.sample(self._seed(_EVALUATION, max(self.iteration, 0)))
        return self._evaluated

    def _record(self, phase, number, tokens, started, values=None):
        names = ("log_variance", "log_variance_all", "reward", "discriminator_loss")
        record = {"phase": phase, "iteration": number} | (
            {} if tokens is None else self._measure.metrics(tokens)
        )
        record |= {name: (values or {}).get(name) for name in names}
        return record | {"seconds": time.perf_counter() - started}

    def _keep_best(self, record):
        value, best = record[self.config.metric], self._best_value.numpy()
        if np.isnan(best) or self.task.is_better(self.config.metric, value, best):
            self._best_value.assign(value)
            self._best_iteration.assign(self.iteration)
            self._stale.assign(0)
            _copy(self.generator, self.best_generator)
        else:
            self._stale.assign_add(1)
        return record

    def _next_batches(self, update):
        if self._batches is None:  # at the start, and after a resume
            config = self.config
            seed = self._stream(_ORDER)
            self._batches = iter(
                data.minibatches(
                    self.dataset.real, config.batch_size, max(config.d_steps, 1), seed, skip=update
                )
            )
        return next(self._batches)

    def _stream(self, stream):
        return tf.constant([self.config.seed, stream])

    def _seed(self, stream, counter):
        return tf.random.experimental.stateless_fold_in(self._stream(stream), counter)


class _Measure:
    """Samples and metrics of one generator, compiled once."""

    def __init__(self, generator, heldout, size, metrics):
        self._metrics = metrics
        self._sample = compiled(lambda seed: generator.sample(size, seed))

        self._nll = _nll_function(generator, heldout)

    def sample(self, seed):
        return self._sample(seed).numpy()

    def metrics(self, tokens):
        """Of int32 [N, T]; the held-out likelihood is the generator's own, exact."""
        return self._metrics.describe(tokens) | self._metrics.of_likelihood(float(self._nll()))


def _nll_function(generator, heldout):
    @compiled
    def nll(temperature=None):
        width = generator.seq_len * generator.vocab_size
        log_prob = autoregressive.in_parts(
            lambda tokens: generator.log_prob(tokens, temperature), heldout, width
        )
        return -tf.reduce_mean(tf.reduce_sum(log_prob, axis=1))

    return nll


def _copy(source, target):
    for to, value in zip(target.variables, source.variables, strict=True):
        to.assign(value.value)


def _require_finite(values, iteration, reward):
    if reward and not np.isfinite(values["reward"]):
        raise NotFiniteError(
            f"at adversarial iteration {iteration} --reward={reward} gave {values['reward']}: it "
            "must be finite for every sequence"
        )
    wrong = [f"{name} is {value}" for name, value in values.items() if not np.isfinite(value)]
    if wrong:
        raise NotFiniteError(
            f"at adversarial iteration {iteration} {', '.join(wrong)}: try smaller learning rates "
            "or a higher --temperature"
        )
