"""A small oracle and what is known of it exactly, shared by tests."""

import itertools

import numpy as np

from regan_tf.config import Config
from regan_tf.networks.generator import Generator
from regan_tf.tasks import oracle_law

V, T = 4, 3
SEQUENCES = np.array(list(itertools.product(range(V), repeat=T)), np.int32)  # all: [64, 3]


def parameters(**options):
    """Of a small oracle."""
    given = {"dataset": "oracle", "vocab_size": V, "oracle_dim": 5} | options
    return oracle_law.parameters(Config(**given).resolved())


def model(seq_len=T, **options):
    """A small oracle as a Generator."""
    return oracle_law.model_of(parameters(**options), seq_len)


def generator(seq_len=T):
    """Another law of the same sequences, far enough from the oracle's, in float32."""
    other = Generator(V, seq_len, 3, 4)
    rng = np.random.default_rng(7)
    other.set_weights([rng.normal(size=w.shape) for w in other.get_weights()])
    return other


def log_prob_by_numpy(found, tokens):
    """log p of each token, [N, T], of an oracle with these parameters, written down again: the
    LSTM's equations, gate by gate.
    """

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    found = {name: np.asarray(x, np.float64) for name, x in found.items()}
    hidden = cell = np.zeros([len(tokens), len(found["Ui"])])
    previous, result = np.zeros(len(tokens), int), []
    for token in tokens.T:
        x = found["embeddings"][previous]
        i, f, o, c = (
            x @ found[f"W{gate}"] + hidden @ found[f"U{gate}"] + found[f"b{gate}"]
            for gate in "ifoc"
        )
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        hidden = sigmoid(o) * np.tanh(cell)
        logits = hidden @ found["output_kernel"] + found["output_bias"]
        log_probs = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
        result.append(log_probs[np.arange(len(tokens)), token])
        previous = token
    return np.stack(result, axis=1)
