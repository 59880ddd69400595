"""Texts, of a file or of Python's help: what generated ones are judged by, and what is shown of
them.
"""

import dataclasses

import numpy as np

from regan_tf.config import UserError
from regan_tf.defaults import BLEU_ORDERS
from regan_tf.tasks import text_data
from regan_tf.tasks.task import Column, Panel, RunPanel, Task

_STILL_FALLING = 0.01  # of the held-out NLL in the last epoch: it was not the last that helps
_FAR = 0.5  # of the training texts' BLEU-2: samples below it are no such texts
_NLL, _SELF_BLEU = "Held-out NLL [nats per token]", "Self-BLEU: lower is more varied"


def _bleu_panel(measure, ylabel):
    curves = {f"{measure}_{n}": f"n = {n}" for n in BLEU_ORDERS}
    return RunPanel(ylabel, curves, ideal="{}, training texts")


class Texts(Task):
    """Texts of tokens that end, whose distribution is not known.

    Scores: all of `TextMetrics.describe` and the likelihood, at the end.
    """

    headline = "nll_per_token"
    lower_is_better = frozenset({"nll", "nll_per_token", "self_bleu_4"})
    judges_each_iteration = False  # their metrics take long
    end_scores = (
        *(f"{measure}_{n}" for measure in ("bleu", "self_bleu") for n in BLEU_ORDERS),
        *(f"distinct_{n}" for n in (1, 2, 3)),
        *(f"kl_{n}{direction}" for n in (1, 2) for direction in ("", "_reverse")),
        *("length", "length_distance", "unknown", "copied", "nll_per_token", "perplexity"),
    )
    tested = (
        ("nll_per_token", "held-out NLL a token at the end"),
        ("bleu_4", "BLEU-4 at the end"),
        ("self_bleu_4", "self-BLEU-4 at the end"),
    )
    has_temperature_curve = True

    # Vocabulary and held-out texts follow from these; metrics depend on the number of samples.
    data_fields = (
        *("tokens", "token_pattern", "data_sha256", "vocab_size", "seq_len"),
        *("data_size", "heldout_size", "eval_samples"),
    )
    name_fields = ("dataset", "data_file", "eval_file")

    perfect_name = "training texts"
    has_row_of_real = True
    sample_fills_line = True
    columns = (
        Column("start", "NLL a token at 0", printed=True),
        Column("nll_per_token", "at the end", printed=True),
        Column("perplexity", "perplexity"),
        *(Column(f"bleu_{n}", f"BLEU-{n}", printed=True) for n in BLEU_ORDERS),
        *(Column(f"self_bleu_{n}", f"self-BLEU-{n}", printed=True) for n in BLEU_ORDERS),
        *(Column(f"distinct_{n}", f"distinct-{n}", printed=n == 2) for n in (1, 2, 3)),
        *(Column("kl_1", "KL-1"), Column("kl_1_reverse", "reverse")),
        *(Column("kl_2", "KL-2"), Column("kl_2_reverse", "reverse")),
        *(Column("length", "length"), Column("length_distance", "its distance")),
        *(Column("unknown", "unknown"), Column("copied", "copied")),
        Column("log_variance", "log var 1"),
        Column("log_variance_all", "log var all"),
    )
    panels = (
        Panel("nll_per_token", _NLL),
        Panel("bleu_4", "BLEU-4 against the held-out texts"),
        Panel("self_bleu_4", "Self-BLEU-4: lower is more varied"),
        Panel("log_variance_all", "Log mean variance of the gradient, all parameters [nats]"),
    )
    flag_panels = (
        Panel("bleu_4", "BLEU-4 at the end"),
        Panel("self_bleu_4", "Self-BLEU-4 at the end"),
        Panel("log_variance_all", "Log mean variance [nats]"),
        Panel("nll_per_token", _NLL),
    )
    run_figures = (
        (
            "likelihood.png",
            (
                RunPanel(_NLL, {"nll_per_token": ""}, phase="pretrain"),
                RunPanel("", {"nll_per_token": ""}),
            ),
        ),
        ("bleu.png", (_bleu_panel("bleu", "BLEU"), _bleu_panel("self_bleu", _SELF_BLEU))),
    )
    event_metrics = ("nll_per_token", "bleu_4", "self_bleu_4")
    picture_prefix = "text_"
    explanation = (
        "NLL: of the held-out texts, in nats a token, their ends included; perplexity is its "
        "exponential. BLEU-n: mean over samples of the sentence BLEU with n-grams up to n, all "
        "held-out texts being the references; self-BLEU-n: with all other samples as references, "
        "high where samples resemble each other (NLTK, smoothing method 1 with 0.1). Distinct-n: "
        "different n-grams over all. KL-n: divergence of the samples' distribution of n-grams "
        "from the held-out texts' [nats], 0.5 added to every count; reverse: the other way round. "
        "Length: mean number of tokens; its distance: the first Wasserstein distance from the "
        "held-out texts'. Copied: share of samples that are training texts. Log var: the "
        "logarithm of the gradient's variance between the rows of a minibatch [nats], of the "
        "paper's one parameter and as the mean over all, mean over the run. The last row is that "
        "of as many training texts: what a perfect generator would have. Seconds: of one run."
    )

    @property
    def name(self):
        return f"{self.config.text_name} ({self.config.tokens}s)"

    @property
    def full_name(self):
        pattern = ["token_pattern"] if self.config.token_pattern else []
        fields = [f"{f}={getattr(self.config, f)}" for f in (*pattern, *self.data_fields[3:])]
        return ", ".join([self.name, *fields, f"texts {self.config.data_sha256[:8]}"])

    def picture(self, number):
        return f"texts_{number}.png"

    def metrics(self, dataset):
        # It takes half a second to load, which other tasks do without.
        from regan_tf.tasks.text_metrics import TextMetrics

        return TextMetrics(dataset)

    def _load(self):
        return text_data.load(self.config)

    def load(self):
        dataset = super().load()
        if len(dataset.real) < 2:
            raise UserError("one training text is too few: there must be 2, to be compared")
        return dataset

    def completed(self, dataset):
        """The config with the texts' digest and length, and how many there are."""
        return dataclasses.replace(
            self.config,
            seq_len=dataset.real.shape[1],
            data_sha256=dataset.sha256,
            data_size=len(dataset.real),
            heldout_size=len(dataset.heldout),
        )

    def eval_samples(self, dataset):
        """At most as many as there are training texts, beside which they are judged: self-BLEU and
        others depend on how many there are.
        """
        return min(self.config.eval_samples, len(dataset.real))

    def mean_length(self, metrics):
        return metrics["nll"] / metrics["nll_per_token"]

    def doubts(self, pretraining, start, ideal):
        return [*self._unfinished(pretraining), *self._far(start, ideal)]

    def _unfinished(self, pretraining):
        *before, last = [r["nll_per_token"] for r in pretraining] or [np.inf]
        least = min(before, default=0)
        if last < (1 - _STILL_FALLING) * least:
            yield (
                f"pre-training ended while the held-out NLL was falling, from {least:.3f} to "
                f"{last:.3f} a token in the last epoch: raise --pretrain_epochs (now "
                f"{self.config.pretrain_epochs:g})"
            )

    def _far(self, start, ideal):
        if start["bleu_2"] < _FAR * ideal["bleu_2"]:
            yield (
                f"after pre-training the samples are far from the training texts, with a BLEU-2 of "
                f"{start['bleu_2']:.2f} against {ideal['bleu_2']:.2f}: more texts, a longer "
                "pre-training or larger networks (--generator_dim, --embed_dim) come first"
            )
