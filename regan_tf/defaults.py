"""What a run has where nothing is given, by --dataset: so that it fits the data. Another task adds
an entry to both tables. No TensorFlow here.
"""

from collections.abc import Callable
from typing import Any

BLEU_ORDERS = (2, 3, 4, 5)  # the longest n-grams of each
TEXTS = ("text", "pydoc")  # --dataset of texts

# What --metric may be; the first is the default. tasks/ has what else they are.
METRICS = {
    "grammar": ("goodness", "validity", "distinct", "nll_excess"),
    **dict.fromkeys(TEXTS, ("nll", *(f"bleu_{n}" for n in BLEU_ORDERS))),
    "uniform": ("nll_excess", "unique"),
    # Nothing that is known by the law or the test data: they judge, and choose nothing.
    "oracle": ("nll",),
}

# --iterations of a run that ends with its --reward_calls, also with a higher number of them later.
UNTIL_CALLS = 10**9

REPLAY_MEMORY = 100  # of the best sequences, out of which --replay draws

_LONG = 9  # between the paper's two lengths, 3 and 15


def _grammar(config):
    """The paper's two lengths (section 5; figures 4 and 5) set what is not given: the nearer one's
    value is taken. The paper has 10,000 sequences (section 4.1).
    """
    seq_len, data_size = config.seq_len or 3, config.data_size or 10_000
    batch_size = config.batch_size or 128
    is_long = seq_len >= _LONG
    return {
        "estimator": "rebar",
        "seq_len": seq_len,
        "data_size": data_size,
        "heldout_size": 1_000,
        "embed_dim": 32,
        "generator_dim": 32,
        "batch_size": batch_size,
        "pretrain_epochs": 3.0 if is_long else 1.0,
        "pretrain_learning_rate": 5.3e-4 if is_long else 2e-3,
        "pretrain_patience": 0,
        "iterations": 234 if is_long else 200,
        "d_steps": data_size // batch_size,
        "generator_learning_rate": 1e-2,
        "eval_samples": 10_000,
    }


def _text(config):
    """Maximum likelihood until the held-out texts say stop, then gentle adversarial steps by the
    cheapest of the good estimators. How long texts are, and how many, the data decide.
    """
    return {
        "estimator": "reinforce_loo",
        "embed_dim": 128,
        "generator_dim": 128,
        "batch_size": 32,
        "pretrain_epochs": 200.0,
        "pretrain_learning_rate": 3e-3,
        "pretrain_patience": 2,
        "iterations": 200,
        "d_steps": 10,
        "generator_learning_rate": 1e-4,
        "eval_samples": 2_000,
    }


def _uniform(config):
    """No pre-training: a generator at its start is near the uniform law. Small minibatches, for
    rewards whose calls are dear.
    """
    return {
        "estimator": "reinforce_loo",
        "data_size": 10_000,
        "heldout_size": 1_000,
        "embed_dim": 32,
        "generator_dim": 32,
        "batch_size": 32,
        "pretrain_epochs": 0.0,
        "pretrain_learning_rate": 2e-3,
        "pretrain_patience": 0,
        "iterations": 300,
        "d_steps": 10,
        "generator_learning_rate": 1e-2,
        "eval_samples": 1_000,
    }


def _oracle(config):
    """The sizes of SeqGAN's benchmark (Yu et al. 2017, section 5): 10,000 sequences of 20 words, an
    embedding and a state of 32, minibatches of 64. Maximum likelihood until the held-out data say
    stop.
    """
    return {
        "estimator": "reinforce_loo",
        "seq_len": 20,
        "data_size": 10_000,
        "heldout_size": 1_000,
        "embed_dim": 32,
        "generator_dim": 32,
        "batch_size": 64,
        "pretrain_epochs": 200.0,
        "pretrain_learning_rate": 1e-2,
        "pretrain_patience": 2,
        "iterations": 200,
        "d_steps": 10,
        "generator_learning_rate": 1e-3,
        "eval_samples": 1_000,
    }


# By field of Config, all that are None there, unless the data decide. The argument is a Config.
DEFAULTS: dict[str, Callable[[Any], dict]] = {
    "grammar": _grammar,
    **dict.fromkeys(TEXTS, _text),
    "uniform": _uniform,
    "oracle": _oracle,
}
