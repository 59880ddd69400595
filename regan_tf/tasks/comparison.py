"""A generator compared with the law of the data: likelihoods both ways, entropies, divergences.

All by Monte Carlo. Of a sequence that is drawn from p, each token gives to a mean of log p or log q
what all V tokens that p could have written there give, each by its probability. That has the same
expectation as the token's own, and each such term has less noise (Rao and Blackwell). That their
sum over a sequence has less noise, too, is usual, but no law: it was measured. The two terms of a
divergence are of the same sequences.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from regan_tf.graphs import compiled
from regan_tf.networks.generator import Generator
from regan_tf.tasks import curves
from regan_tf.tasks.law import Law, Softmax, by_parts, walk, writer

TEMPERATURES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)  # of the curve
_AT_ONE = TEMPERATURES.index(1.0)
_CURVE_SAMPLES = 2_500  # at each of them: cold ones vary much from sequence to sequence
_LEVELS = (7, 7.5, 8, 8.5, 9)  # of nll_oracle, at which nll_test is told


@dataclass(frozen=True)
class Scores:
    """Of N sequences drawn from p, in nats a sequence, [N] each: their log p and log q; and the
    sums of the conditional entropies of p along them, and of its cross-entropies with q.
    """

    log_p: np.ndarray
    log_q: np.ndarray
    entropy: np.ndarray
    cross: np.ndarray

    def half_js(self):
        """log(2 p / (p + q)), which is log 2 - log(1 + q / p)."""
        return math.log(2) - np.logaddexp(0, self.log_q - self.log_p)


class Comparison:
    """A generator beside the law of its data.

    Args:
      generator: a Generator without an end token. It may change between calls.
      law: the Law.
    """

    def __init__(self, generator: Generator, law: Law):
        self._law, self._generator = law, generator
        self._write = writer(generator)
        self._score_samples = _scores_of_samples(generator, law.model)
        self._score_test = functools.cache(lambda ts: _scores_of_test(law.model, generator, ts))

    def sample(self, uniform: np.ndarray, temperature: float = 1.0) -> np.ndarray:
        """Sequences of the generator, int32 [N, T], from uniform numbers [N, T] in [0, 1)."""
        return self._by_parts(lambda rows: self._write(rows, temperature), uniform)[0]

    def describe(self, tokens: np.ndarray) -> dict:
        """The generator's metrics, from samples int32 [N, T] and as many test sequences (all, if
        there are fewer); in nats a token, but for js.

        nll_test: of the law's sequences under the generator. nll_oracle: of the samples under the
          law. oracle_entropy, generator_entropy: of the two.
        kl_data_generator, kl_generator_data: KL(law || generator), and the other way round.
        js: the Jensen-Shannon divergence of whole sequences, in nats, at most ln 2.
        standard_error: of all these, a dict.
        """
        (test,) = self._of_test(self._law.test[: len(tokens)], (1.0,))
        return self._metrics(self._of_samples(tokens), test)

    def conclude(self, seed: Any) -> tuple[dict, list[dict]]:
        """What the end of a run tells.

        Args:
          seed: of the samples, an int or a list of ints.
        Returns:
          The metrics of all test sequences and as many samples; and the curve over TEMPERATURES, at
          which the generator is sampled and scored, each a dict: the same uniform numbers and test
          sequences for all. Where the curve has the levels of nll_oracle, the metrics have nll_test
          there, as nll_test_at_8; None elsewhere. And nll_test_mixed_at_8, of the mixture of the
          coldest of TEMPERATURES and 1 that has the level: see `curves.of_mixture`.
        """
        uniform = np.random.default_rng(seed).random(self._law.test.shape)
        test, samples = self._of_test(self._law.test, TEMPERATURES), []
        for temperature in TEMPERATURES:
            size = len(uniform) if temperature == 1 else _CURVE_SAMPLES
            tokens = self.sample(uniform[:size], temperature)
            samples.append(self._of_samples(tokens, temperature))
        metrics = self._metrics(samples[_AT_ONE], test[_AT_ONE])
        length, ends = self._generator.seq_len, [0, _AT_ONE]
        x, y = (
            np.stack([each.cross[:size] / length for each in scores], axis=1)
            for scores, size in ((samples, _CURVE_SAMPLES), (test, None))
        )
        log_q = np.stack([test[i].log_q for i in ends], axis=1)
        for name, found in (
            ("nll_test_at", curves.at_levels(TEMPERATURES, x, y, _LEVELS)),
            ("nll_test_mixed_at", curves.of_mixture(x[:, ends], log_q, length, _LEVELS)),
        ):
            for level, (value, error) in found.items():
                metrics[f"{name}_{level:g}"] = value
                metrics["standard_error"][f"{name}_{level:g}"] = error
        points = zip(TEMPERATURES, samples, test, strict=True)
        return metrics, [{"temperature": t} | self._metrics(a, b) for t, a, b in points]

    def _by_parts(self, function, rows):
        return by_parts(function, rows, self._generator.vocab_size)

    def _of_samples(self, tokens, temperature=1.0):
        (rows,) = self._by_parts(lambda part: [self._score_samples(part, temperature)], tokens)
        return Scores(*rows.T)

    def _of_test(self, tokens, temperatures):
        """The Scores at each temperature of the generator."""
        (rows,) = self._by_parts(lambda part: [self._score_test(temperatures)(part)], tokens)
        log_p, entropy, *rest = rows.T
        return [Scores(log_p, q, entropy, c) for q, c in zip(rest[::2], rest[1::2], strict=True)]

    def _metrics(self, samples, test):
        found = {
            "nll_test": _estimate(test.cross),
            "nll_oracle": _estimate(samples.cross),
            "generator_entropy": _estimate(samples.entropy),
            "kl_data_generator": _estimate(test.cross - test.entropy),
            "kl_generator_data": _estimate(samples.cross - samples.entropy),
        }
        length = self._generator.seq_len
        found = {name: (m / length, error / length) for name, (m, error) in found.items()}
        found["oracle_entropy"] = self._law.entropy, self._law.entropy_error
        (one, error), (other, another) = (_estimate(s.half_js()) for s in (test, samples))
        found["js"] = (one + other) / 2, math.hypot(error, another) / 2
        means = {name: mean for name, (mean, _) in found.items()}
        return means | {"standard_error": {name: error for name, (_, error) in found.items()}}


def _estimate(values):
    """Mean and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))


def _scores_of_samples(generator, law):
    """A compiled function from samples, int32 [B, T], and the generator's temperature to Scores,
    float64 [B, 4]. Logits are float32 here, where nothing is drawn, but not the law's states.
    """

    def scores(tokens, temperature):
        def step(t, of_generator, of_law):
            p, q = Softmax(_single(of_generator), temperature), Softmax(_single(of_law))
            token = tokens[:, t]
            log_probs = p.log_prob(token), q.log_prob(token)
            return token, [*log_probs, p.cross_entropy(p), p.cross_entropy(q)]

        return walk([generator, law], tf.shape(tokens)[0], step, numbers=4)[1]

    return compiled(scores, input_signature=[_rows(law), tf.TensorSpec([], tf.float64)])


def _scores_of_test(law, generator, temperatures):
    """A compiled function from the law's sequences, int32 [B, T], to their log p and entropy and,
    at each temperature of the generator, log q and cross-entropy: float64 [B, 2 + 2 K].
    """

    def scores(tokens):
        def step(t, of_law, of_generator):
            p, token = Softmax(_single(of_law)), tokens[:, t]
            found = [p.log_prob(token), p.cross_entropy(p)]
            for temperature in temperatures:
                q = Softmax(_single(of_generator), temperature)
                found += [q.log_prob(token), p.cross_entropy(q)]
            return token, found

        return walk([law, generator], tf.shape(tokens)[0], step, 2 + 2 * len(temperatures))[1]

    return compiled(scores, input_signature=[_rows(law)])


def _single(logits):
    return tf.cast(logits, tf.float32)


def _rows(model):
    return tf.TensorSpec([None, model.seq_len], tf.int32)
