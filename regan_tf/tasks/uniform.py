"""Sequences of letters that are all equally likely: the task of a run that has no data, but a
reward.

Tokens are int [N, T], places in --alphabet.
"""

import math

import numpy as np

from regan_tf.defaults import METRICS
from regan_tf.tasks.data import Dataset
from regan_tf.tasks.grammar import distinct_expected, frequencies
from regan_tf.tasks.task import Breakdown, Column, Panel, RunPanel, Task
from regan_tf.tasks.text import Vocabulary

_NLL_EXCESS = "Held-out NLL excess [nats]"


class Uniform(Task):
    """Sequences of T letters, without an end; each letter has the same probability at each place.

    Scores at the end: nll_excess, the held-out NLL above T ln V, which estimates KL(uniform || p)
    and so says how far the generator has gone from where it began; unique, the share of samples
    that are different.
    """

    headline = "nll_excess"
    lower_is_better = frozenset({"nll", "nll_excess"})
    judges_each_iteration = False  # a reward's updates are small beside as many samples
    end_scores = METRICS["uniform"]
    tested = (("nll_excess", "NLL excess at the end"), ("unique", "unique at the end"))
    data_fields = ("alphabet", "seq_len")
    perfect_name = "uniform law"
    columns = (
        Column("start", "NLL excess at 0"),
        Column("nll_excess", "NLL excess", printed=True),
        Column("unique", "unique", "mean (least)", printed=True),
        Column("log_variance", "log var 1"),
        Column("log_variance_all", "log var all", printed=True),
    )
    panels = (
        Panel("nll_excess", _NLL_EXCESS),
        Panel("unique", "Share of different samples"),
        Panel("log_variance", "Log variance of one parameter of the last layer [nats]"),
        Panel("log_variance_all", "Log mean variance over all parameters [nats]"),
    )
    flag_panels = (
        Panel("nll_excess", _NLL_EXCESS),
        Panel("unique", "Share of different samples at the end"),
        Panel("log_variance", "Log variance of one parameter [nats]"),
        Panel("log_variance_all", "Log mean variance [nats]"),
    )
    run_figures = (
        (
            "spread.png",
            (
                RunPanel(_NLL_EXCESS, {"nll_excess": ""}),
                RunPanel("Share of different samples", {"unique": ""}),
            ),
        ),
    )
    event_metrics = ("nll_excess", "unique")
    picture_prefix = "uniform_"
    explanation = (
        "NLL excess: of sequences that are equally likely, in nats a sequence above T ln V, which "
        "the uniform law has; it says how far the generator has left that law. At 0: before the "
        "first update. Unique: share of samples that are different; in parentheses the worst "
        "seed. Log var: the logarithm of the gradient's variance between the rows of a minibatch "
        "[nats], of the paper's one parameter and as the mean over all parameters, mean over the "
        "run. Seconds: of one run."
    )

    @property
    def name(self):
        return f"{self.config.alphabet}, length {self.config.seq_len}"

    @property
    def breakdowns(self):
        letters = self.config.alphabet
        return (
            Breakdown("Frequency of letters", "unigram", dict.fromkeys(letters, 1 / len(letters))),
        )

    def metrics(self, dataset):
        return UniformMetrics(self.config.alphabet, self.config.seq_len)

    def vocabulary(self):
        return Vocabulary(tuple(self.config.alphabet))

    def _load(self):
        sizes = self.config.data_size, self.config.heldout_size
        real, heldout = (
            draw(n, self.config.seq_len, len(self.config.alphabet), [self.config.seed, stream])
            for stream, n in enumerate(sizes)
        )
        return Dataset(self.vocabulary(), real, heldout, remarks=self._remarks())

    def _remarks(self):
        if self.config.reward:
            return ()
        return (
            "note: sequences of random letters have nothing to learn but that: give a --reward",
        )


def draw(size, seq_len, letters, seed):
    """Draws sequences of equally likely tokens below `letters`: int32 [size, T]. seed: an int or a
    list of ints.
    """
    return np.random.default_rng(seed).integers(letters, size=[size, seq_len], dtype=np.int32)


class UniformMetrics:
    """Judges samples, and how far their law is from the uniform one.

    Args:
      alphabet: V letters.
      seq_len: T.
    """

    def __init__(self, alphabet, seq_len):
        self._alphabet, self._seq_len = alphabet, seq_len

    def describe(self, tokens):
        """The share of different ones, and each letter's frequency, of int [N, T]."""
        return {
            "unique": len(np.unique(tokens, axis=0)) / len(tokens),
            "unigram": frequencies(tokens, self._alphabet),
            "samples": len(tokens),
        }

    def of_likelihood(self, nll):
        """What follows from the held-out negative log-likelihood in nats per sequence, by name."""
        return {"nll": nll, "nll_excess": nll - self._seq_len * math.log(len(self._alphabet))}

    def ideal(self, size):
        """What so many samples of the uniform law are expected to have."""
        letters = self._alphabet
        return {
            "unique": distinct_expected(size, len(letters) ** self._seq_len) / size,
            "unigram": dict.fromkeys(letters, 1 / len(letters)),
            "nll_excess": 0.0,
        }
