"""Adam for gradients that replicas have averaged already."""

import keras


class ReducedAdam(keras.optimizers.Adam):
    """Adam for gradients that are already averaged over replicas: Keras would add them up once
    more.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars


def adam(learning_rate, variables, beta_2=0.999, weight_decay=0.0):
    """Built, so that its state is part of the first checkpoint. The decay is decoupled (AdamW): in
    each step a matrix loses learning_rate x weight_decay of itself, a bias or vector nothing.
    """
    optimizer = ReducedAdam(learning_rate, beta_2=beta_2, weight_decay=weight_decay or None)
    optimizer.exclude_from_weight_decay([v for v in variables if len(v.shape) < 2])
    optimizer.build(variables)
    return optimizer
