"""The grammar of ReGAN section 4.1, "x operator x operator ...", operators uniform over + - * /:
what is shown of it, its distribution, and what samples are judged by.

Tokens are int [N, T]; token 0 is x.
"""

import math

import numpy as np

from regan_tf.defaults import METRICS
from regan_tf.tasks.data import Dataset
from regan_tf.tasks.task import Breakdown, Column, Panel, RunPanel, Task
from regan_tf.tasks.text import Vocabulary

# The begin symbol, V, belongs to the generator, never to the data.
VOCABULARY = Vocabulary(tuple("x+-*/"))
OPERATORS = len(VOCABULARY) - 1


class Grammar(Task):
    """Sequences of one length, whose distribution is known.

    Scores: goodness, validity, distinct, nll_excess at the end; learning: mean goodness over all
    adversarial iterations, the area under the curve: how fast it was learned; unigram_error:
    largest difference of a symbol's frequency from the data's.
    """

    headline = "goodness"
    lower_is_better = frozenset({"nll_excess"})
    not_shown = frozenset({"goodness_max"})
    end_scores = METRICS["grammar"]
    tested = (
        ("learning", "learning (mean goodness over the run)"),
        ("goodness", "goodness at the end"),
        ("nll_excess", "NLL excess at the end"),
    )
    data_fields = ("seq_len",)
    compares_data = True
    perfect_name = "data's distribution"
    columns = (
        Column("start", "goodness at 0", printed=True),
        Column("goodness", "at the end", printed=True),
        Column("goodness", "worst seed", "least", printed=True),
        Column("gain", "gain"),
        Column("learning", "learning", printed=True),
        Column("validity", "validity", "mean (least)"),
        Column("distinct", "distinct", "mean (least)", printed=True),
        Column("nll_excess", "NLL excess", printed=True),
        Column("unigram_error", "unigram error", "most"),
        Column("log_variance", "log var 1", "0.00"),
        Column("log_variance_all", "log var all", "0.00", printed=True),
    )
    panels = (
        Panel("goodness", "Goodness Score (the paper's a)"),
        Panel("goodness", "What goodness lacks of perfect, log scale", lacks=True),
        Panel(
            "log_variance",
            "Log variance of one parameter of the last layer [nats] (the paper's b)",
        ),
        Panel("log_variance_all", "Log mean variance over all parameters [nats]"),
    )
    flag_panels = (
        Panel("goodness", "Goodness at the end / perfect"),
        Panel("learning", "Mean goodness over the run / perfect"),
        Panel("log_variance_all", "Log mean variance [nats]"),
        Panel("nll_excess", "Held-out NLL excess [nats]"),
    )
    run_figures = (
        (
            "goodness.png",
            (RunPanel("Goodness Score", {"goodness": "generated"}, "perfect", from_zero=True),),
        ),
    )
    event_metrics = ("goodness", "nll_excess")
    picture_prefix = ""

    @property
    def name(self):
        return self.config.seq_len

    def title(self, name):
        return f"Length {name}"

    def perfect(self, score):
        return goodness_max(self.config.seq_len) if score in ("goodness", "learning") else None

    @property
    def explanation(self):
        return (
            f"A perfect generator has goodness {goodness_max(self.config.seq_len)}, validity 1, "
            "distinct 1 (as many distinct valid sequences as equally many draws from the data's "
            "distribution), NLL excess 0 (nats per held-out sequence above the data's entropy). "
            "Goodness at 0 is what pre-training left to the adversarial part; gain is what that "
            "added, seed by seed. Learning is the mean goodness over all iterations: how fast it "
            "went. In parentheses: the worst seed. Unigram error is the worst seed's largest "
            "difference of a symbol's frequency from the data's. Log var: the logarithm of the "
            "gradient's variance between the rows of a minibatch [nats], of the paper's one "
            "parameter and as the mean over all parameters, mean over the run. Seconds: of one "
            "run."
        )

    @property
    def breakdowns(self):
        distribution = symbol_frequencies(self.config.seq_len)
        return (Breakdown("Frequency of symbols", "unigram", distribution),)

    def picture(self, number):
        return f"length_{self.name}.png"

    @property
    def learning_picture(self):
        return f"variance_and_learning_{self.name}.png"

    def metrics(self, dataset):
        return GrammarMetrics(self.config.seq_len)

    def vocabulary(self):
        return VOCABULARY

    def _load(self):
        sizes = self.config.data_size, self.config.heldout_size
        real, heldout = (
            draw(n, self.config.seq_len, [self.config.seed, stream])
            for stream, n in enumerate(sizes)
        )
        return Dataset(VOCABULARY, real, heldout)

    def more_scores(self, end, records):
        rising = [r["goodness"] for r in records if r["iteration"] > 0]
        distribution = symbol_frequencies(self.config.seq_len)
        return {
            "learning": float(np.mean(rising)) if rising else math.nan,
            "unigram_error": max(
                abs(end["unigram"][s] - share) for s, share in distribution.items()
            ),
        }


def draw(size, seq_len, seed):
    """Draws sequences of the grammar: int32 [size, T], x at the even places. seed: an int or a list
    of ints.
    """
    tokens = np.zeros([size, seq_len], np.int32)
    tokens[:, 1::2] = np.random.default_rng(seed).integers(
        1, OPERATORS + 1, size=tokens[:, 1::2].shape
    )
    return tokens


def entropy(seq_len):
    """Entropy of the grammar's distribution in nats per sequence: ln 4 for each operator."""
    return (seq_len // 2) * math.log(OPERATORS)


def support(seq_len):
    """How many sequences the grammar has, all equally likely."""
    return OPERATORS ** (seq_len // 2)


def symbol_frequencies(seq_len):
    """Frequency of each symbol in the grammar's distribution, as a dict."""
    share = (seq_len // 2) / seq_len
    return {s: 1 - share if s == "x" else share / OPERATORS for s in VOCABULARY.symbols}


class GrammarMetrics:
    """Judges samples by what the grammar's distribution is known to be.

    Args:
      seq_len: T.
    """

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
        return {"nll": nll, "nll_excess": nll - entropy(self._seq_len)}

    def ideal(self, size):
        """The metrics of the data's distribution itself, which do not depend on a number of
        samples.
        """
        del size
        exact = {
            "goodness": float(goodness_max(self._seq_len)),
            "validity": 1.0,
            "distinct": 1.0,
            "nll_excess": 0.0,
        }
        return exact | {"unigram": symbol_frequencies(self._seq_len)}


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
    """Which sequences the data's distribution can give, bool [N]: they start with x and
    alternate.
    """
    return (tokens[:, 0] == 0) & np.all(_alternates(tokens), axis=1)


def distinct(tokens):
    """Distinct valid sequences over the number expected of as many draws from the data's
    distribution; about 1 is perfect.

    N draws from K equally likely sequences are expected to give K (1 - (1 - 1/K)^N) distinct ones.
    """
    valid = tokens[is_valid(tokens)].astype(np.uint8)
    found = len(np.unique(valid.view(f"V{valid.shape[1]}"))) if len(valid) else 0
    return float(found / distinct_expected(len(tokens), support(tokens.shape[1])))


def distinct_expected(draws, count):
    """How many different ones N draws from K equally likely sequences are expected to give."""
    if count > 1e12:  # no two draws are expected to be equal
        return draws
    return -count * np.expm1(draws * np.log1p(-1 / count)) if count > 1 else 1


def unigram(tokens):
    """Frequency of each symbol (section 4.3.1), as a dict from symbol to fraction."""
    return frequencies(tokens, VOCABULARY.symbols)


def frequencies(tokens, symbols):
    """Frequency of each symbol in int [N, T], as a dict from symbol to fraction."""
    counts = np.bincount(tokens.ravel(), minlength=len(symbols))
    return dict(zip(symbols, (counts / tokens.size).tolist(), strict=True))


def _alternates(tokens):
    """Whether a token and the next are one x and one operator, bool [N, T-1]."""
    is_x = tokens == 0
    return is_x[:, 1:] != is_x[:, :-1]
