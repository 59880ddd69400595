"""What all designs share, and the methods that the study compares; rates and weights were chosen on
the targets of reward.TUNED.
"""

BASE = {
    "dataset": "uniform",
    "alphabet": "ACGU",
    "estimator": "reinforce_loo",
    "batch_size": 8,
    "embed_dim": 32,
    "generator_dim": 64,
    "generator_learning_rate": 1e-2,
    "eval_every": 50,
    "track_variance": False,
}
_ENTROPY = {"entropy": 0.015}  # reward per nat: without it the generator is certain too early
METHODS = {
    "loo": {},
    "entropy": _ENTROPY,
    "reuse": {**_ENTROPY, "updates_per_batch": 4},
    "replay": {**_ENTROPY, "replay": 8},
    "all": {**_ENTROPY, "updates_per_batch": 4, "replay": 8},
}
