"""The oracle benchmark of SeqGAN (Yu et al. 2017): data of a random LSTM, whose law is known.

Tokens are int [N, T], words without a meaning, which are written as their numbers.
"""

import dataclasses

import numpy as np

from regan_tf.config import Config, UserError
from regan_tf.tasks import oracle_law
from regan_tf.tasks.data import Dataset
from regan_tf.tasks.law import Law
from regan_tf.tasks.task import Column, Panel, RunPanel, Task
from regan_tf.tasks.text import SEPARATORS, Vocabulary

_NLLS = {"nll_test": "NLL of the oracle's data", "nll_oracle": "NLL of samples, under the oracle"}
_KLS = {"kl_data_generator": "KL(data || generator)", "kl_generator_data": "KL(generator || data)"}
_AT_8 = ("nll_test_at_8", "nll_test_mixed_at_8")
_NATS = "[nats a token]"


class Oracle(Task):
    """Sequences of T words, without an end, of an oracle.

    Scores at the end: those of `comparison.Comparison`, and `distinct`.
    """

    headline = "nll_test"
    lower_is_better = frozenset({"nll", "nll_per_token", "js", *_AT_8, *_NLLS, *_KLS})
    judges_each_iteration = False  # its metrics take long
    end_scores = (*_NLLS, *_KLS, "js", "generator_entropy", "distinct", "nll_per_token")
    tested = (
        ("nll_test", "NLL of the oracle's data at the end"),
        ("nll_test_at_8", "the same at the temperature at which samples have 8 under the oracle"),
        ("nll_test_mixed_at_8", "the same of the mixture of two temperatures that has 8"),
        ("kl_data_generator", "KL(data || generator) at the end"),
        ("kl_generator_data", "KL(generator || data) at the end"),
        ("js", "Jensen-Shannon divergence at the end"),
    )
    has_law_curve = True
    content = "parameters"
    data_fields = ("data_sha256", "vocab_size", "seq_len")
    name_fields = ("oracle_file", "oracle_seed", "oracle_dim", "oracle_scale")
    perfect_name = "oracle"
    has_row_of_real = True
    sample_fills_line = True
    columns = (
        Column("start", "NLL test at 0"),
        Column("nll_test", "NLL test", printed=True),
        Column("nll_oracle", "NLL oracle", printed=True),
        Column("nll_test_at_8", "NLL test at 8", printed=True),
        Column("nll_test_mixed_at_8", "mixed at 8", printed=True),
        Column("kl_data_generator", "KL(data || G)", printed=True),
        Column("kl_generator_data", "KL(G || data)", printed=True),
        Column("js", "JS"),
        Column("generator_entropy", "entropy", printed=True),
        Column("distinct", "distinct", "mean (least)"),
        Column("log_variance", "log var 1"),
        Column("log_variance_all", "log var all"),
    )
    panels = (
        Panel("nll_test", f"NLL of the oracle's data {_NATS}"),
        Panel("nll_oracle", f"NLL of samples under the oracle {_NATS}"),
        Panel("generator_entropy", f"Entropy of the generator {_NATS}"),
        Panel("log_variance_all", "Log mean variance of the gradient, all parameters [nats]"),
    )
    flag_panels = (
        Panel("nll_test", f"NLL of the oracle's data {_NATS}"),
        Panel("kl_generator_data", f"KL(generator || data) {_NATS}"),
        Panel("nll_test_at_8", f"NLL test at NLL oracle 8 {_NATS}"),
        Panel("log_variance_all", "Log mean variance [nats]"),
    )
    run_figures = (
        (
            "likelihood.png",
            tuple(
                RunPanel(f"NLL {_NATS}" if phase == "pretrain" else "", _NLLS, phase=phase)
                for phase in ("pretrain", "adversarial")
            ),
        ),
        (
            "divergence.png",
            tuple(
                RunPanel(
                    f"Divergence {_NATS}" if phase == "pretrain" else "",
                    _KLS,
                    from_zero=True,
                    phase=phase,
                )
                for phase in ("pretrain", "adversarial")
            ),
        ),
    )
    event_metrics = ("nll_test", "nll_oracle", "kl_data_generator", "kl_generator_data")
    picture_prefix = "oracle_"
    explanation = (
        "In nats a token. NLL test: of sequences of the oracle under the generator; NLL oracle: of "
        "the generator's samples under the oracle, which a generator that writes little but what "
        "is likely makes low, too. NLL test at 8: at the sampling temperature at which NLL oracle "
        "is 8, so that generators are compared at one quality; nan where none of the "
        "temperatures from 0.3 to 1.2 gives it; mixed at 8: of the mixture of temperatures 0.3 and "
        "1, sequence by sequence, that has 8. KL(data || G) is NLL test less the oracle's "
        "entropy, KL(G || data) NLL oracle less the generator's. JS: the Jensen-Shannon divergence "
        "of whole sequences, at most ln 2 nats. Distinct: share of samples that are different. Log "
        "var: the logarithm of the gradient's variance between the rows of a minibatch [nats], of "
        "the paper's one parameter and as the mean over all, mean over the run. The last row is "
        "what the oracle itself has. Seconds: of one run."
    )

    @property
    def name(self):
        return f"oracle of {self.config.vocab_size} words, length {self.config.seq_len}"

    @property
    def full_name(self):
        return f"{self.name}, parameters {self.config.data_sha256[:8]}"

    def metrics(self, dataset):
        return OracleMetrics(dataset, self.config.seq_len)

    def vocabulary(self):
        return _vocabulary(self.config.vocab_size)

    def _load(self):
        config = self.config
        parameters = oracle_law.parameters(config)
        vocab_size, given = len(parameters["embeddings"]), config.vocab_size
        if given not in (vocab_size, Config.vocab_size):
            raise UserError(
                f"--vocab_size={given} contradicts --oracle_file={config.oracle_file}, which has "
                f"{vocab_size} words"
            )
        model = oracle_law.model_of(parameters, config.seq_len)
        sizes = config.data_size, config.heldout_size, config.test_size
        (real, heldout, test), *entropy = oracle_law.data_of(model, sizes, config.seed)
        digest = oracle_law.digest(parameters)
        law = Law(model, test, *entropy)
        return Dataset(_vocabulary(vocab_size), real, heldout, digest, law=law)

    def completed(self, dataset):
        """The config with the parameters' digest, and how many words they are of."""
        return dataclasses.replace(
            self.config, data_sha256=dataset.sha256, vocab_size=len(dataset.vocabulary)
        )

    def more_scores(self, end, records):
        values = {name: end.get(name) for name in _AT_8}
        return {name: np.nan if value is None else value for name, value in values.items()}


def _vocabulary(size):
    return Vocabulary(tuple(map(str, range(size))), SEPARATORS["word"])


class OracleMetrics:
    """Judges samples by each other. What the oracle says of them is in `comparison`.

    Args:
      dataset: a Dataset of a known law.
      seq_len: T.
    """

    def __init__(self, dataset, seq_len):
        self._dataset, self._seq_len = dataset, seq_len

    def describe(self, tokens):
        """The share of different ones of int [N, T]."""
        return {"distinct": _distinct(tokens), "samples": len(tokens)}

    def of_likelihood(self, nll):
        """The held-out negative log-likelihood in nats per sequence, and a token."""
        return {"nll": nll, "nll_per_token": nll / self._seq_len}

    def ideal(self, size):
        """What samples of the oracle would have."""
        entropy = self._dataset.law.entropy
        likelihoods = dict.fromkeys((*_NLLS, "oracle_entropy", "generator_entropy"), entropy)
        divergences = dict.fromkeys((*_KLS, "js"), 0.0)
        return {
            "distinct": _distinct(self._dataset.law.test[:size]),
            "nll_per_token": entropy,
            **likelihoods,
            **divergences,
        }


def _distinct(tokens):
    return len(np.unique(tokens, axis=0)) / len(tokens)
