"""Adam for gradients that replicas have averaged already."""

import keras


class ReducedAdam(keras.optimizers.Adam):
    """Adam for gradients that are already averaged over replicas: Keras would add them up once
    more.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars


def adam(learning_rate, variables, beta_2=0.999):
    """Built, so that its state is part of the first checkpoint."""
    optimizer = ReducedAdam(learning_rate, beta_2=beta_2)
    optimizer.build(variables)
    return optimizer
