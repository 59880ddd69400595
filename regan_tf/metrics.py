"""What generated sequences are judged by. NumPy in, numbers out; tokens are int [N, T], token 0 being x."""

import numpy as np

from regan_tf import data


def goodness_max(seq_len):
    """The Goodness Score of a perfect sequence: 1 at length 3, 13 at length 15."""
    return seq_len - 2


def goodness(tokens):
    """The Goodness Score (section 4.2), mean over the sequences.

    A window of length three slides over the sequence; it counts where it reads x-operator-x or operator-x-operator.
    """
    alternates = _alternates(tokens)
    return float(np.mean(np.sum(alternates[:, 1:] & alternates[:, :-1], axis=1)))


def is_valid(tokens):
    """Which sequences the data's law can give, bool [N]: they start with x and alternate."""
    return (tokens[:, 0] == 0) & np.all(_alternates(tokens), axis=1)


def distinct(tokens):
    """Distinct valid sequences over the number expected of as many draws from the data's law; about 1 is perfect.

    N draws from K equally likely sequences are expected to give K (1 - (1 - 1/K)^N) distinct ones.
    """
    valid = tokens[is_valid(tokens)].astype(np.uint8)
    found = len(np.unique(valid.view(f"V{valid.shape[1]}"))) if len(valid) else 0
    count = data.support(tokens.shape[1])
    many = count > 1e12  # then no two draws are expected to be equal
    expected = len(tokens) if many else -count * np.expm1(len(tokens) * np.log1p(-1 / count)) if count > 1 else 1
    return float(found / expected)


def unigram(tokens):
    """Frequency of each symbol (section 4.3.1), as a dict from symbol to fraction."""
    counts = np.bincount(tokens.ravel(), minlength=len(data.SYMBOLS))
    return dict(zip(data.SYMBOLS, (counts / tokens.size).tolist(), strict=True))


def describe(tokens):
    """All of the above, by the names used in metrics.jsonl."""
    return {
        "goodness": goodness(tokens),
        "goodness_max": goodness_max(tokens.shape[1]),
        "validity": float(np.mean(is_valid(tokens))),
        "distinct": distinct(tokens),
        "unigram": unigram(tokens),
        "samples": len(tokens),
    }


def _alternates(tokens):
    """Whether a token and the next are one x and one operator, bool [N, T-1]."""
    is_x = tokens == 0
    return is_x[:, 1:] != is_x[:, :-1]
