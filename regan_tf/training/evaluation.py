"""What generators are judged by: samples with their metrics, and the held-out likelihood."""

import functools

import tensorflow as tf

from regan_tf.graphs import compiled
from regan_tf.networks import autoregressive
from regan_tf.networks.noise import unit_interval
from regan_tf.tasks.comparison import Comparison
from regan_tf.tasks.variety import Variety
from regan_tf.training import streams


class Evaluation:
    """Judges the last and the best generator of Models, each compiled once.

    Args:
      task: the run's Task.
      dataset: a data.Dataset.
      models: the Models. Generators are named "last" and "best".

    Attributes:
      metrics: what samples are judged by.
      size: how many samples are drawn at a time.
      samples: int [size, T], those drawn last; None at first.
    """

    def __init__(self, task, dataset, models):
        self._config = task.config
        self.metrics = task.metrics(dataset)
        self.size = task.eval_samples(dataset)
        self.samples = None
        generators = {which: models.named(which) for which in ("last", "best")}
        self._comparison = {}
        if dataset.law:
            self._comparison = {w: Comparison(g, dataset.law) for w, g in generators.items()}
        self._sample = {which: self._sampler(which, g) for which, g in generators.items()}
        self._nll = {which: nll_function(g, dataset.heldout) for which, g in generators.items()}
        self._divergence, self._variety = {}, None
        if self._config.reward:  # which leads away from the data
            self._variety = Variety(dataset.vocabulary, dataset.real)
            self._divergence = {
                which: _divergence_function(g, models.prior) for which, g in generators.items()
            }

    @functools.cached_property
    def ideal(self) -> dict:
        """The metrics that as many samples of a perfect generator would have."""
        return self.metrics.ideal(self.size)

    def _sampler(self, which, generator):
        """A function from a stateless seed to samples, int32 [size, T]."""
        if self._comparison:  # by its numbers, one a token: V is large
            shape = self.size, generator.seq_len
            return lambda seed: self._comparison[which].sample(unit_interval(shape, seed).numpy())
        sample = compiled(lambda seed: generator.sample(self.size, seed))
        return lambda seed: sample(seed).numpy()

    def draw(self, iteration, which="last"):
        """The samples of an iteration, int [size, T]: the same each time for the same weights."""
        seed = streams.seed(self._config, streams.EVALUATION, max(iteration, 0))
        self.samples = self._sample[which](seed)
        return self.samples

    def describe(self, tokens, which="last") -> dict:
        """The metrics of samples int [N, T] of a generator; the held-out likelihood is exact."""
        likelihood = self.metrics.of_likelihood(float(self._nll[which]()))
        against_law = self._comparison[which].describe(tokens) if self._comparison else {}
        return against_law | self.metrics.describe(tokens) | likelihood

    def measure(self, iteration, which="last") -> dict:
        """The metrics of a generator, over the samples of an iteration."""
        return self.describe(self.draw(iteration, which), which) | self.describe_drift(which)

    def conclude(self, which="last") -> tuple[dict, list[dict]]:
        """Where the law of the data is known: a generator's metrics at the end of a run, and its
        curve over temperatures; see `Comparison.conclude`.
        """
        seed = [self._config.seed, streams.CURVE]
        return self._comparison[which].conclude(seed)

    def describe_drift(self, which="last") -> dict:
        """What a reward of one's own may cost, of the samples drawn last: their variety, and the
        generator's divergence from the prior, in nats a sequence: an estimate from these samples,
        where an update's `prior_kl` is exact at each token of its own. {} without such a reward.
        """
        if not self._variety:
            return {}
        divergence = float(self._divergence[which](tf.constant(self.samples)))
        return self._variety.describe(self.samples) | {"divergence": divergence}


def nll_function(generator, heldout):
    """A compiled function from a sampling temperature, by default 1, to the held-out NLL of the
    generator's distribution at it, in nats a sequence.

    heldout: int32 [M, T].
    """
    heldout = tf.constant(heldout)

    @compiled
    def nll(temperature=None):
        width = generator.seq_len * generator.vocab_size
        log_prob = autoregressive.in_parts(
            lambda tokens: generator.read(tokens, temperature), heldout, width
        )
        return -tf.reduce_mean(tf.reduce_sum(log_prob, axis=1))

    return nll


def _divergence_function(generator, prior):
    """A compiled function from samples of the generator, int32 [N, T], to their mean of log p -
    log p_0: an estimate of KL(p || p_0), in nats a sequence.
    """

    @compiled
    def divergence(tokens):
        width = generator.seq_len * generator.vocab_size
        log_ratio = autoregressive.in_parts(
            lambda rows: generator.read(rows) - prior.read(rows), tokens, width
        )
        return tf.reduce_mean(tf.reduce_sum(log_ratio, axis=1))

    return divergence
