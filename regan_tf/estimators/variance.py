"""The variance of a gradient estimate: what a control variate is trained to lower, and what is
logged.
"""

import numpy as np
import tensorflow as tf

from regan_tf import replicas
from regan_tf.networks.protocol import RowGradients


def loss(kind: str, gradient: list, row_gradients: RowGradients | None) -> tf.Tensor:
    """What is learned in a control variate lowers this, a scalar: equation (19).

    Args:
      kind: "batch", the squared norm of the batch's mean gradient, whose mean is, for an unbiased
        form, its variance and a constant (a biased one's mean gradient moves, too); or
        "per_example", the mean over rows of the squared norm of the row's.
      gradient: a tensor a variable.
      row_gradients: for "per_example".
    """
    if kind == "per_example" and row_gradients is not None:
        return tf.reduce_mean(tf.add_n(row_gradients.squared_norms))
    return tf.add_n([tf.reduce_sum(g**2) for g in gradient])


def log_variances(row_gradients: RowGradients, mean_gradient: list) -> tuple[tf.Tensor, tf.Tensor]:
    """Log of the variance over rows of the gradient of one row, in nats. The mean of B independent
    rows has 1/B of it. That of rows that are not (`sampling`) has less: it says nothing of that.

    Args:
      row_gradients: g_j of this replica's rows; B >= 2 in all.
      mean_gradient: their mean over j, one tensor a variable.
    Returns:
      The log variance of the first parameter of the last layer (figures 4b and 5b), and the log of
      the mean variance over all parameters, both with B - 1:
      1/P sum_p var_j(g_jp) = (sum_j ||g_j||^2 - B ||mean||^2) / ((B - 1) P).
    """
    first, parameters = (
        row_gradients.last_layer_first,
        sum(g.shape.num_elements() for g in mean_gradient),
    )
    batch_size = first.shape[0] * replicas.count()
    bessel = batch_size / (batch_size - 1)
    mean_square, mean_first = replicas.mean(
        [tf.reduce_mean(tf.add_n(row_gradients.squared_norms)), tf.reduce_mean(first)]
    )
    square_mean = tf.add_n([tf.reduce_sum(g**2) for g in mean_gradient])
    variance_all = bessel * (mean_square - square_mean) / parameters
    variance_first = bessel * replicas.mean(tf.reduce_mean((first - mean_first) ** 2))
    tiny = np.finfo(first.dtype.as_numpy_dtype).tiny
    return tf.math.log(tf.maximum(variance_first, tiny)), tf.math.log(
        tf.maximum(variance_all, tiny)
    )
