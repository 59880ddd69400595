"""Texts, of a file or of Python's help: read and split, what generated ones are judged by, and what
is shown of them.
"""

import dataclasses
import hashlib

import numpy as np
import tensorflow as tf

from regan_tf.config import UserError
from regan_tf.defaults import BLEU_ORDERS
from regan_tf.tasks import text
from regan_tf.tasks.data import Dataset
from regan_tf.tasks.task import Column, Panel, RunPanel, Task
from regan_tf.tasks.text import Vocabulary

_SPLIT_SEED = 0  # which texts are held out does not depend on the run's seed: runs can be compared
_COVERED, _LONGEST = 0.99, 256  # --seq_len by default: share of the lines, and at most
_MANY_UNKNOWN = 0.2  # of the held-out tokens: so many will spoil the samples
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
        fields = ", ".join(f"{f}={getattr(self.config, f)}" for f in self.data_fields[3:])
        return f"{self.name}, {fields}, texts {self.config.data_sha256[:8]}"

    def picture(self, number):
        return f"texts_{number}.png"

    def metrics(self, dataset):
        # It takes half a second to load, which other tasks do without.
        from regan_tf.tasks.text_metrics import TextMetrics

        return TextMetrics(dataset)

    def _load(self):
        return _dataset(self.config)

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


def _dataset(config):
    """Texts from files, or from Python's help topics; those of more than --seq_len tokens are left
    out.
    """
    flag = "data_file" if config.data_file else "dataset"
    lines, eval_lines, digest = _read(config)
    _require_re2(config.token_pattern)
    config = dataclasses.replace(config, seq_len=config.seq_len or _length(lines, config))
    lines, left_out = _short(lines, config, flag)
    if eval_lines is None:
        real, heldout = _split(lines, config, flag)
    else:
        real, (heldout, more) = lines, _short(eval_lines, config, "eval_file")
        left_out += more
        heldout = _some(heldout, config.heldout_size)
    real = _some(real, config.data_size)
    separator, pattern = text.SEPARATORS[config.tokens], config.token_pattern
    vocabulary = Vocabulary.of(real, separator, config.vocab_size, pattern)
    if len(vocabulary) < 3:
        raise UserError(
            f"--{flag}={getattr(config, flag)} has no token but the unknown one: no "
            f"{config.tokens} occurs twice; give more texts"
            + (", or take --tokens=char" if config.tokens == "word" else "")
        )
    real, heldout = (vocabulary.encode(lines, config.seq_len) for lines in (real, heldout))
    unknown = np.sum(heldout == vocabulary.unknown) / np.sum(vocabulary.lengths(heldout))
    remarks = [
        f"{len(real)} training and {len(heldout)} held-out texts, {len(vocabulary)} tokens with "
        f"the end and the unknown one, which {unknown:.1%} of the held-out tokens are"
    ]
    if unknown >= _MANY_UNKNOWN:
        ways = ["give more texts"]
        if len(vocabulary) == config.vocab_size:
            ways.insert(0, f"raise --vocab_size (now {config.vocab_size})")
        if config.tokens == "word":
            ways.append("take --tokens=char")
        remarks.append(
            f"warning: {unknown:.0%} of the held-out tokens are unknown, and will be in samples: "
            f"{', or '.join(ways)}"
        )
    if left_out:
        longest = f"--seq_len={config.seq_len} {config.tokens}s"
        remarks.append(f"{left_out} texts of more than {longest} are left out")
    return Dataset(vocabulary, real, heldout, digest, tuple(remarks))


def _read(config):
    """Lines, those of --eval_file or None, and the digest of both."""
    if not config.data_file:
        lines = text.python_help()
        return lines, None, hashlib.sha256("\n".join(lines).encode()).hexdigest()
    lines, digest = text.read(config.data_file, "data_file")
    if not config.eval_file:
        return lines, None, digest
    eval_lines, eval_digest = text.read(config.eval_file, "eval_file")
    return lines, eval_lines, hashlib.sha256((digest + eval_digest).encode()).hexdigest()


def _require_re2(pattern):
    """Raises UserError for a --token_pattern that a served model could not split prompts by."""
    try:
        tf.strings.regex_replace("", text.token_regex(pattern), "")
    except tf.errors.InvalidArgumentError as error:
        reason = error.message.partition("error: ")[2] or error.message
        raise UserError(
            f"--token_pattern={pattern} is not allowed: it must be a regular expression of RE2, "
            f"too, by which a served model splits ({reason.partition(' [Op:')[0]})"
        ) from None


def _count(line, config):
    """How many tokens a line has."""
    return len(text.split(line, text.SEPARATORS[config.tokens], config.token_pattern))


def _length(lines, config):
    """T that fits the lines: nearly all are kept whole, and one that is far longer than the others
    does not cost them time.
    """
    lengths = [_count(line, config) for line in lines]
    covering = int(np.quantile(lengths, _COVERED, method="inverted_cdf"))
    return int(np.clip(covering, 3, _LONGEST))


def _short(lines, config, flag):
    """The lines of at most --seq_len tokens, and how many others there are."""
    length = config.seq_len
    kept = [line for line in lines if _count(line, config) <= length]
    if not kept:
        raise UserError(
            f"--{flag}={getattr(config, flag)} has no line of at most --seq_len={length} "
            f"{config.tokens}s"
        )
    return kept, len(lines) - len(kept)


def _some(lines, size):
    """So many lines, from all over the file; all for None."""
    if size is None or size >= len(lines):
        return lines
    return [
        lines[i] for i in sorted(np.random.default_rng(_SPLIT_SEED).permutation(len(lines))[:size])
    ]


def _split(lines, config, flag):
    """Training and held-out lines. Lines that are equal stay together, so that none is on both
    sides.
    """
    distinct = list(dict.fromkeys(lines))
    size = min(config.heldout_size or len(distinct) // 10, len(distinct) // 2)
    if not size:
        few = f"has too few different lines ({len(distinct)}) to hold some out"
        raise UserError(f"--{flag}={getattr(config, flag)} {few}: add lines, or --eval_file")
    kept_out = set(_some(distinct, size))
    return [line for line in lines if line not in kept_out], sorted(kept_out)
