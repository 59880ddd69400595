"""What the replicas of a `tf.distribute` strategy share: one global batch, of which each holds an
equal part of the rows.

Every replica draws the noise of the whole batch and keeps its own rows', so that an estimate on
several replicas is that of one, up to rounding. Outside a strategy there is one replica, and all of
this does nothing.
"""

import os

import tensorflow as tf

from regan_tf.config import UserError


def _context():
    return tf.distribute.get_replica_context() if tf.distribute.has_strategy() else None


def count():
    """How many replicas there are."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def own_rows(x, axis=0):
    """This replica's part of the global batch: the rows' axis of `x` becomes 1/count of it."""
    context = _context()
    if context is None or count() == 1:
        return x
    size = x.shape[axis] // count()
    return tf.gather(x, context.replica_id_in_sync_group * size + tf.range(size), axis=axis)


def mean(values):
    """The mean over replicas of a nest of tensors. Differentiable: a loss that is summed over
    replicas has the right gradient.
    """
    context = _context()
    return values if context is None else context.all_reduce(tf.distribute.ReduceOp.MEAN, values)


def gather(x):
    """The rows of all replicas, one below the other."""
    context = _context()
    if context is None:
        return x
    # What is gathered has lost its static shape.
    size, *others = x.shape
    if 0 in others:  # rows of nothing: the collective crashes on them
        return tf.zeros([size * count(), *others], x.dtype)
    return tf.ensure_shape(context.all_gather(x, axis=0), [size and size * count(), *others])


def run(function, *args):
    """Calls function(*args) on every replica; returns what it gives on the first one of this
    process.
    """
    if not tf.distribute.has_strategy():
        return function(*args)
    strategy = tf.distribute.get_strategy()
    return tf.nest.map_structure(
        lambda x: strategy.experimental_local_results(x)[0], strategy.run(function, args)
    )


def is_chief():
    """Whether this process writes logs, checkpoints and exports: the first worker."""
    resolver = tf.distribute.get_strategy().cluster_resolver
    return resolver is None or resolver.task_id in (None, 0)


def strategy(name):
    """The strategy that --distribution names. For multi_worker, TF_CONFIG says who the workers are.

    Raises UserError if TF_CONFIG is missing, or says something else.
    """
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if not os.environ.get("TF_CONFIG"):
        raise UserError(
            "--distribution=multi_worker needs the environment variable TF_CONFIG, which lists "
            "the workers"
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, KeyError, tf.errors.OpError) as error:
        raise UserError(
            f"--distribution=multi_worker: TF_CONFIG={os.environ['TF_CONFIG']}: "
            f"{str(error).splitlines()[0]}"
        ) from None
