"""Scores of runs with a --reward, and what the report shows of them."""

import numpy as np

from regan_tf.tasks.task import Column

# Each with its header.
SCORES = {
    "reward": "reward",
    "top_1": "best",
    "top_10": "top 10",
    "top_100": "top 100",
    "auc_top_10": "AUC of top 10",
    "calls": "calls",
    "unique": "unique",
    "novel": "novel",
    "diversity": "diversity",
    "divergence": "KL to the prior",
}
_PRINTED = ("reward", "top_1", "top_10", "top_100", "auc_top_10", "calls", "diversity")
# Those whose differences are tested, each with its name in words.
TESTED = {
    "reward": "mean reward of the last updates",
    "top_1": "reward of the best sequence",
    "top_10": "mean reward of the 10 best sequences",
    "top_100": "mean reward of the 100 best sequences",
    "auc_top_10": "area under the curve of the 10 best over the calls",
}
EXPLANATION = (
    " Reward: mean over the updates of the last --eval_every iterations (of the best generator: of "
    "those before its evaluation point, by which it was judged). Calls: evaluations of different "
    "sequences. Best, top 10, top 100: mean reward of so many best sequences among all calls; "
    "AUC: the area under the curve of the top 10 over the calls, divided by --reward_calls. Of "
    "samples at the end: unique and novel are the shares of different ones and of those that are "
    "no training data; diversity is 1 less the mean similarity of two, by their n-grams; the KL "
    "divergence from the generator of iteration 0 is in nats a sequence."
)


def of_run(config, summary, end):
    """The scores of one run, floats by name, NaN where there are none; {} without a --reward.

    Args:
      config: the run's Config.
      summary: its summary.json.
      end: the metrics in it of the generator that is scored.
    """
    found = end | summary.get("calls", {})
    values = {name: found.get(name) for name in SCORES if config.reward}
    return {name: np.nan if value is None else float(value) for name, value in values.items()}


def columns(groups):
    """Columns of the table of scores, beside their task's: of what some of the groups have."""
    shown = {column.score for column in groups[0].task.columns}
    return [
        Column(name, header, "0" if name == "calls" else "interval", printed=name in _PRINTED)
        for name, header in SCORES.items()
        if name not in shown
        and any(np.isfinite(list(group.scores(name).values())).any() for group in groups)
    ]
