"""What generated texts are judged by: BLEU, self-BLEU, n-grams, lengths. NumPy in, numbers out;
NLTK has BLEU's formula.

NLTK counts the n-grams of all references anew for each hypothesis. All our hypotheses share their
references, so these are counted once; smoothing and brevity penalty are NLTK's, and so are the
numbers.
"""

import numpy as np
from nltk.translate.bleu_score import Fraction, SmoothingFunction, brevity_penalty
from scipy import stats

from regan_tf.defaults import BLEU_ORDERS
from regan_tf.tasks.n_grams import n_grams

_LONGEST = max(BLEU_ORDERS)
_KL_ORDERS, _DISTINCT_ORDERS = (1, 2), (1, 2, 3)
_ADDED = 0.5  # to every count, where distributions of n-grams are compared
_smoothed = SmoothingFunction(epsilon=0.1).method1  # of precisions that are zero


class TextMetrics:
    """Judges samples beside held-out texts.

    Args:
      dataset: a data.Dataset of texts.
    """

    def __init__(self, dataset):
        self._vocabulary = dataset.vocabulary
        self._references = self._sequences(dataset.heldout)
        # An unknown token stands for any rare word: it is no match of another.
        known_as = np.where(
            dataset.heldout == dataset.vocabulary.unknown, len(dataset.vocabulary), dataset.heldout
        )
        self._bleu_references = known_as.astype(np.int64), self._references[1]
        # Tokens, ends included.
        self._predicted = np.sum(np.minimum(self._references[1] + 1, dataset.heldout.shape[1]))
        self._known = set(_row_bytes(dataset.real))
        rng = np.random.default_rng(0)
        self._training = dataset.real[rng.permutation(len(dataset.real))]

    def describe(self, tokens):
        """All metrics of samples int [N, T], N >= 2, by the names used in metrics.jsonl.

        bleu_n: mean over samples of the sentence BLEU with n-grams up to n, all held-out texts
          being its references, of whose words the unknown token matches none.
        self_bleu_n: the same with all other samples as references; high where samples resemble each
          other, and the more there are.
        distinct_n: different n-grams over all n-grams of the samples.
        kl_n, kl_n_reverse: KL(p || q) and KL(q || p) [nats] of the distributions of n-grams p, of
          the held-out texts, and q, of the samples, 0.5 being added to the count of each n-gram
          that either has: for comparisons at equal numbers of texts.
        length, length_distance: mean, in tokens; and the first Wasserstein distance of its
          distribution from the held-out texts'.
        unknown: share of unknown tokens. copied: share of samples that are training texts. samples:
          N.
        """
        tokens = np.asarray(tokens)
        samples = self._sequences(tokens)
        result = {f"bleu_{n}": value for n, value in bleu(self._bleu_references, samples).items()}
        result |= {
            f"self_bleu_{n}": value
            for n, value in self_bleu(self._with_distinct_unknowns(samples)).items()
        }
        result |= self._n_grams(samples)
        _, lengths = samples
        symbols = max(int(lengths.sum()), 1)
        return result | {
            "length": float(lengths.mean()),
            "length_distance": float(stats.wasserstein_distance(lengths, self._references[1])),
            "unknown": float(np.sum(tokens == self._vocabulary.unknown)) / symbols,
            "copied": float(np.mean([row in self._known for row in _row_bytes(tokens)])),
            "samples": len(tokens),
        }

    def of_likelihood(self, nll):
        """What follows from the held-out negative log-likelihood in nats per text, by name."""
        per_token = nll * len(self._references[1]) / self._predicted
        return {
            "nll": nll,
            "nll_per_token": per_token,
            "perplexity": float(np.exp(min(per_token, 700))),
        }

    def ideal(self, size):
        """The metrics of so many training texts: what a perfect generator has, but for `copied` and
        the likelihood.
        """
        return self.describe(self._training[:size]) | {"copied": None}

    def _with_distinct_unknowns(self, sequences):
        tokens, lengths = sequences
        unknown = tokens == self._vocabulary.unknown
        return np.where(
            unknown, len(self._vocabulary) + np.cumsum(unknown).reshape(tokens.shape), tokens
        ), lengths

    def _sequences(self, tokens):
        return np.asarray(tokens, np.int64), self._vocabulary.lengths(tokens)

    def _n_grams(self, samples):
        result = {}
        wanted = range(1, max(_DISTINCT_ORDERS + _KL_ORDERS) + 1)
        for n, (of_reference, of_samples) in zip(
            wanted, n_grams(self._references, samples, longest=len(wanted)), strict=True
        ):
            size = 1 + max(of_reference[1].max(initial=0), of_samples[1].max(initial=0))
            p, q = (np.bincount(grams, minlength=size) for _, grams in (of_reference, of_samples))
            if n in _DISTINCT_ORDERS:
                result[f"distinct_{n}"] = float(np.count_nonzero(q) / max(q.sum(), 1))
            if n in _KL_ORDERS:
                there = p + q > 0
                p, q = p[there] + _ADDED, q[there] + _ADDED
                result |= {
                    f"kl_{n}": float(stats.entropy(p, q)),
                    f"kl_{n}_reverse": float(stats.entropy(q, p)),
                }
        return result


def _row_bytes(tokens):
    """Rows that can be looked up: of one dtype, as the same numbers have other bytes in another."""
    return [row.tobytes() for row in np.asarray(tokens, np.int64)]


def bleu(references, hypotheses):
    """Mean sentence BLEU over the hypotheses, all with the same references: a dict from each of
    BLEU_ORDERS.

    Uniform weights up to n; a precision of zero becomes 0.1 over its denominator (NLTK's method1).

    Args:
      references, hypotheses: each (int64 [N, T], lengths [N]).
    """
    clipped, totals = [], []
    for (rows, grams), (own_rows, own_grams) in n_grams(references, hypotheses, longest=_LONGEST):
        _, counted, counts = _counts(rows, grams)
        most = np.zeros(1 + max(grams.max(initial=0), own_grams.max(initial=0)), np.int64)
        np.maximum.at(most, counted, counts)
        own_rows, own_grams, own_counts = _counts(own_rows, own_grams)
        _add(clipped, totals, len(hypotheses[1]), own_rows, own_counts, most[own_grams])
    closest = _closest(np.bincount(references[1]))
    return _scores(clipped, totals, hypotheses[1], [closest(n) for n in hypotheses[1]])


def self_bleu(sequences):
    """The mean BLEU of each sequence with all others as its references, a dict of order to score.

    sequences: (int64 [N, T], lengths [N]), N >= 2.
    """
    clipped, totals = [], []
    for rows, grams in (grams[0] for grams in n_grams(sequences, longest=_LONGEST)):
        rows, grams, counts = _counts(rows, grams)
        # Of each n-gram the two highest counts, and who has the highest: the limit of all others is
        # that, its own the second.
        order = np.lexsort((counts, grams))
        rows, grams, counts = rows[order], grams[order], counts[order]
        is_last = np.append(grams[1:] != grams[:-1], True) if len(grams) else np.zeros(0, bool)
        size = 1 + grams.max(initial=0)
        best, second, owner = (np.zeros(size, np.int64) for _ in range(3))
        best[grams[is_last]], owner[grams[is_last]] = counts[is_last], rows[is_last]
        before_last = (
            np.append(is_last[1:] & (grams[1:] == grams[:-1]), False) if len(grams) else is_last
        )
        second[grams[before_last]] = counts[before_last]
        _add(
            clipped,
            totals,
            len(sequences[1]),
            rows,
            counts,
            np.where(rows == owner[grams], second[grams], best[grams]),
        )
    lengths = np.bincount(sequences[1])
    closest = {
        n: _closest(lengths - (np.arange(len(lengths)) == n))(n) for n in set(sequences[1].tolist())
    }
    return _scores(clipped, totals, sequences[1], [closest[n] for n in sequences[1].tolist()])


def _counts(rows, grams):
    """How often each row has each n-gram: (rows, grams, counts), each pair once."""
    size = 1 + grams.max(initial=0)
    pairs, counts = np.unique(rows * size + grams, return_counts=True)
    return pairs // size, pairs % size, counts


def _add(clipped, totals, size, rows, counts, limits):
    clipped.append(np.bincount(rows, np.minimum(counts, limits), size).astype(int))
    totals.append(np.bincount(rows, counts, size).astype(int))


def _closest(lengths):
    """From a histogram of the references' lengths: the function to the one that is closest, the
    shorter of two.
    """
    present = np.nonzero(lengths > 0)[0]
    return lambda n: int(present[np.argmin(np.abs(present - n))])


def _scores(clipped, totals, lengths, reference_lengths):
    scores = {n: [] for n in BLEU_ORDERS}
    for j, (length, closest) in enumerate(zip(lengths.tolist(), reference_lengths, strict=True)):
        precisions = [
            Fraction(int(c[j]), max(int(t[j]), 1), _normalize=False)
            for c, t in zip(clipped, totals, strict=True)
        ]
        smoothed = np.log([float(p) for p in _smoothed(precisions)])
        penalty = brevity_penalty(closest, length) if length and precisions[0].numerator else 0.0
        for n in BLEU_ORDERS:
            scores[n].append(penalty * np.exp(np.mean(smoothed[:n])))
    return {n: float(np.mean(values)) for n, values in scores.items()}
