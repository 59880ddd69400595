"""What generators are judged by: samples with their metrics, and the held-out likelihood."""

import functools

import tensorflow as tf

from regan_tf.graphs import compiled
from regan_tf.networks import autoregressive
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
        self._sample = {which: self._sampler(g) for which, g in generators.items()}
        self._nll = {which: nll_function(g, dataset.heldout) for which, g in generators.items()}

    @functools.cached_property
    def ideal(self) -> dict:
        """The metrics that as many samples of a perfect generator would have."""
        return self.metrics.ideal(self.size)

    def _sampler(self, generator):
        return compiled(lambda seed: generator.sample(self.size, seed))

    def draw(self, iteration, which="last"):
        """The samples of an iteration, int [size, T]: the same each time for the same weights."""
        seed = streams.seed(self._config, streams.EVALUATION, max(iteration, 0))
        self.samples = self._sample[which](seed).numpy()
        return self.samples

    def describe(self, tokens, which="last") -> dict:
        """The metrics of samples int [N, T]; the held-out likelihood is the generator's, exact."""
        likelihood = self.metrics.of_likelihood(float(self._nll[which]()))
        return self.metrics.describe(tokens) | likelihood

    def measure(self, iteration, which="last") -> dict:
        """The metrics of a generator, over the samples of an iteration."""
        return self.describe(self.draw(iteration, which), which)


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
            lambda tokens: generator.log_prob(tokens, temperature), heldout, width
        )
        return -tf.reduce_mean(tf.reduce_sum(log_prob, axis=1))

    return nll
