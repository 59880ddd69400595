"""Algorithm 1 of the paper, whose line numbers are in the comments: the order of its steps, and the
record of each. What a step computes is the Trainer's; files and progress bars are the caller's.
"""

import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from regan_tf.config import UserError
from regan_tf.estimators import reward_trial
from regan_tf.tasks import data
from regan_tf.training import replay, streams
from regan_tf.training.experiment import Experiment

# A group of pre-training's minibatches: so many products of the forward pass, a tenth of a second
# or so; and no more minibatches than this, since small ones take their time for other things.
_GROUP_PRODUCTS, _LARGEST_GROUP = 300_000_000, 32

# What records have of an update, and what they have besides where there is such a thing.
_ALWAYS = ("log_variance", "log_variance_all", "reward", "discriminator_loss")
_WHERE_MEASURED = (
    "discriminator_reward",
    "prior_kl",
    "entropy",
    "clipped",
    "ratio_kl",
    "critic_loss",
    "mediator_kl",
    "mediator_loss",
)


class NotFiniteError(UserError):
    """A loss or gradient is NaN or infinite: the message names the step and the quantity."""


def regan(experiment: Experiment) -> Iterator[dict | None]:
    """Algorithm 1: a sequential GAN trained with RELAX, or another estimator.

    Goes on where the experiment is, and may be left, with a checkpoint or for good, at each yield.

    Yields:
      After each group of pre-training's minibatches the epoch's record if the epoch ends there,
      else None; then the record of iteration 0, the generator as pre-training left it; then that of
      each adversarial iteration. None if --reward_calls ended one.
    Raises:
      NotFiniteError, or UserError where a reward of one's own fails.
    """
    config, trainer, progress = experiment.config, experiment.trainer, experiment.progress
    # 1-2: generator, discriminator and annex network are the experiment's, randomly initialized.
    yield from pretrain(experiment)  # 3
    if progress.iteration < 0:
        yield _measure_start(experiment)
    minibatches = _minibatches(experiment, progress.iteration * config.g_steps)
    while not progress.finished:  # 4: repeat; 19: until convergence
        started, negatives, updates = time.perf_counter(), None, []
        first = progress.iteration * config.g_steps
        with experiment.within_calls():
            for update in range(first, first + config.g_steps):  # 5: for g-steps do
                real = next(minibatches)
                # 6-13: sequences, rewards, relaxations, control variates, J_RX(theta), G's update;
                # 14-15: the variance of the gradient, to minimize which the annex network is
                # trained.
                updates.append(_update_generator(experiment, update, real))
                if experiment.has_negatives:  # 16-18: for d-steps do: negatives, D's update
                    seed = streams.seed(config, streams.NEGATIVES, update)
                    losses, negatives = trainer.train_opponent(real, seed)
                    updates[-1] |= losses
        is_whole = len(updates) == config.g_steps
        yield _end_iteration(experiment, updates, negatives, started) if is_whole else None


def pretrain(experiment: Experiment) -> Iterator[dict | None]:
    """Line 3: PRE_EPOCH_GEN epochs of maximum likelihood, in groups of minibatches of well under a
    second, from random weights or those of --start_from. Yields as `regan` does.

    The groups' size follows from the configuration alone: workers that share the minibatches must
    call the compiled step alike.
    """
    if experiment.config.start_from and experiment.progress.steps == 0:
        experiment.models.start_from(experiment.config.start_from)
    size = _group_size(experiment)
    while experiment.progress.pretraining:
        for seconds in _pretrain_epoch(experiment, size):
            yield None if seconds is None else _end_epoch(experiment, seconds)


def warm_up(experiment: Experiment) -> float:
    """Line 3, then 16-18 once: a state without an adversarial history, to measure at. Returns the
    discriminator's loss.
    """
    for _ in pretrain(experiment):
        pass
    seed = streams.seed(experiment.config, streams.NEGATIVES, 0)
    losses, _ = experiment.trainer.train_discriminator(next(_minibatches(experiment, 0)), seed)
    return float(losses["discriminator_loss"])


def _pretrain_epoch(experiment, size):
    """What is left of an epoch, in groups of at most `size` minibatches. Yields None after a group,
    and after the last the seconds that all took.
    """
    progress, seconds = experiment.progress, 0.0
    started = time.perf_counter()
    epoch, first = divmod(progress.pretrained, progress.batches_per_epoch)
    minibatches = _epoch(experiment, epoch)
    seed = streams.seed(experiment.config, streams.DROPOUT, epoch)
    last = min(progress.batches_per_epoch, progress.pretrain_batches - progress.pretrained + first)
    for start in range(first, last, size):
        steps = min(size, last - start)
        part = tf.constant(start), tf.constant(steps)
        losses = experiment.trainer.pretrain(minibatches, seed, *part)
        _require_finite_losses(losses.numpy(), progress.pretrained)
        progress.count_pretraining(steps)
        seconds += time.perf_counter() - started
        yield seconds if start + steps == last else None
        started = time.perf_counter()


def _end_epoch(experiment, seconds):
    """Judges the generator and returns the epoch's record."""
    progress, started = experiment.progress, time.perf_counter() - seconds
    samples = experiment.evaluation.draw(progress.iteration)
    record = _record(experiment, "pretrain", progress.pretrained, samples, started)
    if experiment.config.pretrain_patience:
        _keep_best_of_pretraining(experiment, record["nll"])
    return record


def _epoch(experiment, number):
    """All minibatches of an epoch of pre-training, int32 [S, B, T]."""
    config, steps = experiment.config, experiment.progress.batches_per_epoch
    seed = streams.stream(config, streams.PRETRAIN_ORDER)
    real = experiment.dataset.real
    return next(iter(data.minibatches(real, config.batch_size, steps, seed, skip=number)))


def _minibatches(experiment, skip):
    """The minibatches of each generator update, int32 [d_steps, B, T], but the first `skip`."""
    config, seed = experiment.config, streams.stream(experiment.config, streams.ORDER)
    steps = max(config.d_steps, 1)
    return iter(data.minibatches(experiment.dataset.real, config.batch_size, steps, seed, skip))


def _group_size(experiment):
    config, vocab_size = experiment.config, experiment.generator.vocab_size
    per_token = (
        4 * config.generator_dim * (config.embed_dim + config.generator_dim)
        + config.generator_dim * vocab_size
    )
    affordable = _GROUP_PRODUCTS // (config.batch_size * config.seq_len * per_token)
    return int(np.clip(affordable, 1, _LARGEST_GROUP))


def _keep_best_of_pretraining(experiment, nll):
    """Keeps the best generator of pre-training, in the place of the best of all, and goes on with
    it at the end.
    """
    if experiment.progress.judge_pretraining(nll):
        experiment.models.keep_best()
    if not experiment.progress.pretraining:
        experiment.models.return_to_best()


def _measure_start(experiment):
    """Iteration 0: the generator as pre-training left it, the prior from now on. Returns its
    record.
    """
    started = time.perf_counter()
    experiment.models.keep_prior()
    if experiment.trainer.mediator:
        _start_mediator(experiment)
    experiment.progress.count_iteration()
    samples = experiment.evaluation.draw(0)
    record = _record(experiment, "adversarial", 0, samples, started) | experiment.describe_calls()
    return _kept_if_best(experiment, record)


def _start_mediator(experiment):
    """It learns first, as in CoT's own algorithm: the first update follows it already."""
    trainer = experiment.trainer
    trainer.mediator.start()
    seed = streams.seed(experiment.config, streams.NEGATIVES, -1)  # that of no update
    trainer.train_mediator(next(_minibatches(experiment, 0)), seed)


def _update_generator(experiment, update, real):
    config = experiment.config
    seed = streams.seed(config, streams.UPDATE, update)
    replayed = None
    if config.replay:
        ledger, iteration = experiment.own_reward.ledger, experiment.progress.iteration + 1
        replayed = replay.drawn(config, ledger, iteration, update)
    try:
        return experiment.trainer.update_generator(seed, real[0], replayed)
    except tf.errors.OpError as error:
        # Of several workers it may be another that is lost: `run` says so.
        if not config.reward or config.distribution == "multi_worker":
            raise
        kept = "what it gave for others is kept; " if experiment.black_box else ""
        raise UserError(
            f"at adversarial iteration {experiment.progress.iteration + 1} the update with "
            f"--reward={config.reward} failed: {reward_trial.described(error)} "
            f"({kept}the same command goes on)"
        ) from None


def _end_iteration(experiment, updates, negatives, started):
    """Counts an iteration and returns its record; updates: what each gave, scalars by name.

    Its metrics are those of the last negatives, which are samples of the generator after its
    update, too; at an evaluation point, or where no discriminator is trained, those of
    `eval_samples` more. A task whose metrics take long is judged at evaluation points only.
    """
    config, progress = experiment.config, experiment.progress
    updates = [{name: float(value) for name, value in each.items()} for each in updates]
    values = updates[-1]
    _require_finite(values, progress.iteration + 1, config.reward)
    progress.count_iteration()
    _count_rewards(experiment, updates)
    number = progress.iteration
    at_evaluation_point = number % config.eval_every == 0
    each_iteration = experiment.task.judges_each_iteration
    if at_evaluation_point or (negatives is None and each_iteration):
        samples = experiment.evaluation.draw(number)
    else:
        samples = negatives.numpy() if each_iteration else None
    record = _record(experiment, "adversarial", number, samples, started, values)
    record |= experiment.take_reward_components() | experiment.describe_calls()
    return _kept_if_best(experiment, record) if at_evaluation_point else record


def _count_rewards(experiment, updates):
    config, progress = experiment.config, experiment.progress
    if config.reward:
        for each in updates:
            progress.count_reward(each["reward"])
    if box := experiment.black_box:
        progress.count_calls(box.calls)
        progress.judge_calls()


def _kept_if_best(experiment, record):
    """The record of an evaluation point, whose generator is kept if it is the best so far; by a
    reward if that of the updates since the last point is: one minibatch's is luck.
    """
    record = experiment.evaluation.describe_drift() | record
    name, reward = experiment.config.metric, experiment.progress.take_reward()
    if experiment.config.reward and np.isfinite(reward):
        record["mean_reward"] = reward
    if experiment.progress.judge(reward if name == "reward" else record[name]):
        experiment.models.keep_best()
    return record


def _record(experiment, phase, number, samples, started, values=None):
    """A line of metrics.jsonl; number: of the iteration, in pre-training of the minibatch. Of
    several --g_steps the last one's values stand.
    """
    values = values or {}
    record = {"phase": phase, "iteration": number} | (
        {} if samples is None else experiment.evaluation.describe(samples)
    )
    record |= {name: values.get(name) for name in _ALWAYS}
    record |= {name: values[name] for name in _WHERE_MEASURED if name in values}
    return record | {"seconds": time.perf_counter() - started}


def _require_finite_losses(losses, pretrained):
    if not np.all(np.isfinite(losses)):
        wrong = int(np.argmin(np.isfinite(losses)))
        raise NotFiniteError(
            f"at pre-training minibatch {pretrained + wrong + 1} the loss is {losses[wrong]}: "
            "try a smaller --pretrain_learning_rate"
        )


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
