"""What generated sequences of the grammar are judged by. NumPy in, numbers out; tokens are int [N,
T], token 0 being x.
"""

import numpy as np

from regan_tf.tasks import data


class GrammarMetrics:
    """Judges samples by what the grammar's law is known to be.

    Args:
      seq_len: T.
    """

    headline = "goodness"

    def __init__(self, seq_len):
        self._seq_len = seq_len

    def describe(self, tokens):
        """All metrics of int [N, T], by their names in metrics.jsonl; each is a function below."""
        return {
            "goodness": goodness(tokens),
            "goodness_max": goodness_max(tokens.shape[1]),
            "validity": float(np.mean(is_valid(tokens))),
            "distinct": distinct(tokens),
            "unigram": unigram(tokens),
            "samples": len(tokens),
        }

    def of_likelihood(self, nll):
        """What follows from the held-out negative log-likelihood in nats per sequence, by name."""
        return {"nll": nll, "nll_excess": nll - data.entropy(self._seq_len)}

    def ideal(self, size):
        """The metrics of the data's law itself, which do not depend on a number of samples."""
        del size
        exact = {
            "goodness": float(goodness_max(self._seq_len)),
            "validity": 1.0,
            "distinct": 1.0,
            "nll_excess": 0.0,
        }
        return exact | {"unigram": data.unigram(self._seq_len)}


def goodness_max(seq_len):
    """The Goodness Score of a perfect sequence: 1 at length 3, 13 at length 15."""
    return seq_len - 2


def goodness(tokens):
    """The Goodness Score (section 4.2), mean over the sequences.

    A window of length three slides over the sequence; it counts where it reads x-operator-x or
    operator-x-operator.
    """
    alternates = _alternates(tokens)
    return float(np.mean(np.sum(alternates[:, 1:] & alternates[:, :-1], axis=1)))


def is_valid(tokens):
    """Which sequences the data's law can give, bool [N]: they start with x and alternate."""
    return (tokens[:, 0] == 0) & np.all(_alternates(tokens), axis=1)


def distinct(tokens):
    """Distinct valid sequences over the number expected of as many draws from the data's law; about
    1 is perfect.

    N draws from K equally likely sequences are expected to give K (1 - (1 - 1/K)^N) distinct ones.
    """
    valid = tokens[is_valid(tokens)].astype(np.uint8)
    found = len(np.unique(valid.view(f"V{valid.shape[1]}"))) if len(valid) else 0
    count = data.support(tokens.shape[1])
    many = count > 1e12  # then no two draws are expected to be equal
    expected = (
        len(tokens)
        if many
        else -count * np.expm1(len(tokens) * np.log1p(-1 / count))
        if count > 1
        else 1
    )
    return float(found / expected)


def unigram(tokens):
    """Frequency of each symbol (section 4.3.1), as a dict from symbol to fraction."""
    counts = np.bincount(tokens.ravel(), minlength=len(data.VOCABULARY))
    return dict(zip(data.VOCABULARY.symbols, (counts / tokens.size).tolist(), strict=True))


def _alternates(tokens):
    """Whether a token and the next are one x and one operator, bool [N, T-1]."""
    is_x = tokens == 0
    return is_x[:, 1:] != is_x[:, :-1]
