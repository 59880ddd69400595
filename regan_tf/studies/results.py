"""What finished runs have in their directories, grouped by what they trained, and the statistics
over seeds.
"""

import collections
import dataclasses
import functools
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from regan_tf.cli import config_flags
from regan_tf.config import BLEU_ORDERS, Config, UserError
from regan_tf.spec import ESTIMATORS
from regan_tf.tasks import data
from regan_tf.training.workdir import METRICS, SAMPLES, SUMMARY, read_metrics

_OF_TEXTS = (
    *(f"{measure}_{n}" for measure in ("bleu", "self_bleu") for n in BLEU_ORDERS),
    *(f"distinct_{n}" for n in (1, 2, 3)),
    *(f"kl_{n}{direction}" for n in (1, 2) for direction in ("", "_reverse")),
    *("length", "length_distance", "unknown", "copied", "nll_per_token", "perplexity"),
)
# What decides which texts, vocabulary and held-out texts a run has, and how many samples; and only
# their names.
_DATA_OF_TEXTS = (
    "tokens",
    "data_sha256",
    "vocab_size",
    "seq_len",
    "data_size",
    "heldout_size",
    "eval_samples",
)
_NAMES_OF_TEXTS = ("dataset", "data_file", "eval_file")
_RNG_SEED = 0  # of the bootstrap, so that a report can be repeated


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
      records: the adversarial ones of metrics.jsonl.
      generator: which generator its scores are of, "last" or "best".
    """

    path: Path
    config: Config
    summary: dict
    records: list
    generator: str = "last"

    @property
    def end(self):
        """The metrics of that generator."""
        return self.summary[self.generator]

    @functools.cached_property
    def scores(self):
        """What runs are compared by, floats by name; NaN where it was not measured.

        Of the grammar: goodness, validity, distinct, nll_excess: at the end; start, gain: goodness
        at iteration 0, and from there to the end. Of texts: all of `TextMetrics.describe` and the
        likelihood; start, gain: NLL a token at iteration 0, and how much lower it is at the end.
        log_variance, log_variance_all: mean over the run. seconds: of the run.
        learning: mean goodness over all adversarial iterations, the area under the curve: how fast
          it was learned.
        unigram_error: largest difference of a symbol's frequency from the data's.
        """
        end, start = self.end, self.summary["start"]
        shared = {
            name: _mean(self.curve(name).values()) for name in ("log_variance", "log_variance_all")
        }
        shared["seconds"] = self.summary["seconds"]
        if self.config.is_text:
            measured = {name: end[name] for name in _OF_TEXTS}
            return (
                measured
                | shared
                | {
                    "start": start["nll_per_token"],
                    "gain": start["nll_per_token"] - end["nll_per_token"],
                }
            )
        law = data.unigram(self.config.seq_len)
        return {
            **{name: end[name] for name in ("goodness", "validity", "distinct", "nll_excess")},
            **shared,
            "start": start["goodness"],
            "gain": end["goodness"] - start["goodness"],
            "learning": _mean(r["goodness"] for r in self.records if r["iteration"] > 0),
            "unigram_error": max(abs(end["unigram"][s] - share) for s, share in law.items()),
        }

    @functools.cached_property
    def samples(self):
        """Its generated sequences, a hundred at most."""
        return (self.path / SAMPLES).read_text(encoding="utf-8").split("\n")[:-1]

    def curve(self, name):
        """One quantity by iteration, a dict; without those at which it was not measured."""
        return {r["iteration"]: r[name] for r in self.records if r.get(name) is not None}


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, ordered by it; label: what sets it apart."""

    label: str
    runs: tuple

    @property
    def config(self):
        return self.runs[0].config

    def scores(self, name):
        """One score by seed, a dict."""
        return {run.config.seed: run.scores[name] for run in self.runs}

    def mean(self, name):
        """Mean of one score over the seeds, with its 95 % bootstrap interval: (mean, low, high)."""
        return mean_and_interval(np.array(list(self.scores(name).values())))

    def curve(self, name):
        """(iterations, mean, low, high) over the seeds, at the iterations that all have; empty
        where there are none.
        """
        curves = [run.curve(name) for run in self.runs]
        iterations = sorted(set.intersection(*map(set, curves)))
        values = np.array([[curve[i] for i in iterations] for curve in curves])
        return np.array(iterations), *mean_and_interval(values)


def read(paths, generator="last"):
    """Reads the directories, which are runs or hold some at any depth.

    Returns:
      The finished runs, without those that repeat another's configuration and seed, and how many
      are unfinished, and how many repeat others.
    Raises:
      UserError: a path does not exist, no run in them is finished, or one cannot be read.
    """
    for path in paths:
        if not Path(path).is_dir():
            raise UserError(f"{path} is not a directory")
    directories = sorted(
        {
            found.parent.resolve()
            for path in paths
            for found in Path(path).rglob(config_flags.FILE_NAME)
        }
    )
    finished = [directory for directory in directories if (directory / SUMMARY).exists()]
    if not finished:
        raise UserError(f"no finished run in {', '.join(map(str, paths))}: each needs a {SUMMARY}")
    runs = {}
    for directory in finished:
        run = _read(directory, generator)
        runs.setdefault(
            tuple(getattr(run.config, name) for name in config_flags.recorded(run.config)), run
        )
    return list(runs.values()), len(directories) - len(finished), len(finished) - len(runs)


def _read(directory, generator):
    try:
        summary = json.loads((directory / SUMMARY).read_text(encoding="utf-8"))
        records = [r for r in read_metrics(directory) if r["phase"] == "adversarial"]
        run = Run(directory, config_flags.read_run(directory), summary, records, generator)
        _ = run.scores, run.samples  # what is missing is found here
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{directory} holds no run that can be read ({METRICS}, {SUMMARY}): {error!r}"
        ) from None
    return run


def grouped(runs):
    """The runs in groups, by data: a dict to a list of Group, in the order of their settings, from
    the grammar's length, an int, or from a name of texts, which are the same only if vocabulary and
    held-out texts are.
    """
    by_data = collections.defaultdict(list)
    for run in runs:
        by_data[
            _values(run.config, _DATA_OF_TEXTS) if run.config.is_text else run.config.seq_len
        ].append(run)
    names = _data_names([members[0].config for members in by_data.values()])
    result = {}
    for data_name, members in sorted(
        zip(names, by_data.values(), strict=True), key=lambda x: (isinstance(x[0], str), x[0])
    ):
        varying = [name for name in varying_fields(members) if name not in _NAMES_OF_TEXTS]
        by_settings = collections.defaultdict(list)
        for run in sorted(members, key=lambda run: (_order(run.config), run.config.seed)):
            by_settings[_values(run.config, varying)].append(run)
        result[data_name] = [
            Group(_label(group[0].config, varying, members), tuple(group))
            for group in by_settings.values()
        ]
    return result


def _data_names(configs):
    """A name for each of these data: a length of the grammar, or the texts' name with what is
    needed to tell them apart.
    """
    names = [f"{c.text_name} ({c.tokens}s)" if c.is_text else c.seq_len for c in configs]

    def details(config):
        return (
            ", ".join(f"{f}={getattr(config, f)}" for f in _DATA_OF_TEXTS[2:])
            + f", texts {config.data_sha256[:8]}"
        )

    return [
        name if names.count(name) == 1 else f"{name}, {details(c)}"
        for name, c in zip(names, configs, strict=True)
    ]


def lines(groups):
    """For each numeric flag in which groups differ, those that differ in it alone.

    Returns:
      A dict from flag to a dict from label to a list of three groups or more, ordered by the flag.
    """
    varying = varying_fields([g.runs[0] for g in groups])
    result = {}
    for field in varying:
        if isinstance(getattr(groups[0].config, field), str | bool) or (
            groups[0].config.is_text and field in _DATA_OF_TEXTS
        ):
            continue
        found = collections.defaultdict(list)
        for g in sorted(groups, key=lambda g: getattr(g.config, field)):
            found[_values(g.config, [name for name in varying if name != field])].append(g)
        several = [members for members in found.values() if len(members) > 2]
        if several:
            among = [
                name
                for name in varying_fields([g.runs[0] for line in several for g in line])
                if name != field
            ]
            result[field] = {" ".join(_words(line[0].config, among)): line for line in several}
    return result


def varying_fields(runs):
    """Names of the flags in which the runs differ, but for the seed."""
    names = config_flags.recorded(runs[0].config)
    return [
        name
        for name in names
        if name != "seed" and len({getattr(run.config, name) for run in runs}) > 1
    ]


def _values(config, fields):
    return tuple(getattr(config, name) for name in fields)


def _label(config, fields, members):
    """The estimator, those of the fields that are not as they would be by default, and the numbers
    in which its runs differ.
    """
    differing = varying_fields([run for run in members if run.config.estimator == config.estimator])
    numbers = [name for name in differing if not isinstance(getattr(config, name), str | bool)]
    others = [
        name
        for name in fields
        if name != "estimator"
        and (name in numbers or getattr(config, name) != _default(config, name))
    ]
    return " ".join(_words(config, others))


def _words(config, fields):
    """The estimator and the fields, as short as they can be told apart."""
    words = [config.estimator]
    for name in fields:
        value = getattr(config, name)
        if isinstance(value, bool):
            words += [name.replace("_", "-")] if value else []
        elif name != "estimator":
            words.append(value if isinstance(value, str) else f"{name}={value:.12g}")
    return words


def _default(config, name):
    field = next(f for f in dataclasses.fields(config) if f.name == name)
    return getattr(dataclasses.replace(config, **{name: field.default}).resolved(), name)


def _order(config):
    names = [n for n in config_flags.recorded(config) if n not in ("estimator", "seed")]
    return [
        config.estimator == "mle",
        list(ESTIMATORS).index(config.estimator),
        *(getattr(config, n) for n in names),
    ]


def mean_and_interval(values):
    """Mean over the first axis (seeds) with its 95 % bootstrap interval, by percentiles; one seed
    has none (NaN).

    With few seeds the percentile bootstrap is too narrow: on normal data it covers about 90 % with
    ten, 84 % with six.

    Returns:
      mean, low, high, each of the shape of values[0].
    """
    mean = values.mean(axis=0)
    if len(values) < 2 or values.size == 0 or np.isnan(values).any():
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    rng = np.random.default_rng(_RNG_SEED)
    found = stats.bootstrap(
        (values,), np.mean, axis=0, method="percentile", n_resamples=2_000, batch=100, rng=rng
    )
    return mean, found.confidence_interval.low, found.confidence_interval.high


@dataclass(frozen=True)
class Difference:
    """Mean of one group's score less another's over the seeds that both have, and how surely it is
    not zero.

    p is that of the sign-flip permutation test of the paired differences, exact up to 13 seeds; q
    is p after Benjamini and Hochberg's correction for all pairs of groups.
    """

    mean: float
    p: float
    q: float
    seeds: int

    @property
    def significant(self):
        return self.q < 0.05


def differences(groups, name):
    """Paired differences of one score between all groups: a dict from (i, j), i < j, to Difference
    of i less j.

    Pairs with fewer than six seeds in common are left out, for their p cannot be below 0.05; so are
    scores that were not measured, and learning over different numbers of iterations.
    """
    found = {}
    for (i, first), (j, second) in itertools.combinations(enumerate(groups), 2):
        one, other = first.scores(name), second.scores(name)
        seeds = sorted(set(one) & set(other))
        paired = np.array([one[s] - other[s] for s in seeds])
        comparable = (
            name != "learning"
            or len({len(run.records) for g in (first, second) for run in g.runs}) == 1
        )
        if len(seeds) >= 6 and comparable and np.isfinite(paired).all():
            found[i, j] = (float(paired.mean()), _sign_flip_p(paired), len(seeds))
    if not found:
        return {}
    adjusted = stats.false_discovery_control([p for _, p, _ in found.values()])
    return {
        pair: Difference(mean, p, float(q), n)
        for (pair, (mean, p, n)), q in zip(found.items(), adjusted, strict=True)
    }


def _sign_flip_p(paired):
    rng = np.random.default_rng(_RNG_SEED)
    test = stats.permutation_test(
        (paired,), np.mean, permutation_type="samples", vectorized=True, n_resamples=9_999, rng=rng
    )
    return float(test.pvalue)


def _mean(values):
    values = list(values)
    return float(np.mean(values)) if values else float("nan")
