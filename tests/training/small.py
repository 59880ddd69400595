"""Small runs, shared by the tests of training."""

from regan_tf.config import Config
from regan_tf.training import algorithm
from regan_tf.training.experiment import Experiment

SMALL = {
    "data_size": 640,
    "heldout_size": 50,
    "eval_samples": 500,
    "embed_dim": 8,
    "generator_dim": 8,
    "batch_size": 64,
}


def experiment(own_reward=None, **options):
    """An Experiment at its start."""
    return Experiment(Config(**(SMALL | options)).resolved(), own_reward=own_reward)


def finish(started):
    """Takes what is left of the algorithm."""
    for _ in algorithm.regan(started):
        pass
