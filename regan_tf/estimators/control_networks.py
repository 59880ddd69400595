"""The networks c_hat_phi that RELAX adds to its control variate, equation (10)."""

from typing import Any

import keras
import tensorflow as tf

from regan_tf.networks.dtypes import check_policy


@keras.saving.register_keras_serializable("regan_tf")
class ControlNetwork(keras.Model):
    """c_hat_phi(z) for the sequence form: two convolutions over time, the mean over steps, one
    linear output.

    The activations are smooth since the estimator uses the gradient in z, and equation (19)
    differentiates that. The output starts at zero, so that RELAX starts as REBAR and departs from
    it only as far as that lowers the variance.

    Args:
      vocab_size: V.
      filters: channels of both convolutions.
      width: steps that a convolution sees.
    Raises:
      ValueError: the dtype policy is neither float32 nor float64.
    """

    def __init__(self, vocab_size: int, filters: int = 32, width: int = 3, **kwargs: Any):
        super().__init__(**kwargs)
        check_policy(self)
        self._sizes = {"vocab_size": vocab_size, "filters": filters, "width": width}

        def convolution(name):
            return keras.layers.Conv1D(
                filters,
                width,
                padding="same",
                activation="tanh",
                dtype=self.dtype_policy,
                name=name,
            )

        self.convolutions = [convolution("first"), convolution("second")]
        self.head = keras.layers.Dense(
            1, kernel_initializer="zeros", dtype=self.dtype_policy, name="head"
        )
        for layer, channels in zip(self.convolutions, (vocab_size, filters), strict=True):
            layer.build((None, None, channels))
        self.head.build((None, filters))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | self._sizes

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """z [B, T, V], unrelaxed -> [B]. Gradients flow through z and the weights phi."""
        for layer in self.convolutions:
            z = layer(z)
        return tf.squeeze(self.head(tf.reduce_mean(z, axis=1)), axis=-1)


@keras.saving.register_keras_serializable("regan_tf")
class StepControlNetwork(keras.Model):
    """c_hat_phi(features(b_<t), z_t) for the step and rollout forms: two hidden layers, the same
    for every t.

    It reads z_t as it is and relaxed: without the former the variance it reaches is nearly twice as
    high (docs/estimators.md).

    Smooth, and zero at the start, for the same reasons as `ControlNetwork`.

    Args:
      feature_dim: F: the sizes of the generator's state and, if the reward has `prefixes`, of its
        features.
      vocab_size: V.
      units: of both hidden layers.
    Raises:
      ValueError: the dtype policy is neither float32 nor float64.
    """

    def __init__(self, feature_dim: int, vocab_size: int, units: int = 64, **kwargs: Any):
        super().__init__(**kwargs)
        check_policy(self)
        self._sizes = {"feature_dim": feature_dim, "vocab_size": vocab_size, "units": units}
        sizes = [(feature_dim + 2 * vocab_size, units), (units, units)]
        self.hidden = [
            keras.layers.Dense(n, activation="tanh", dtype=self.dtype_policy, name=f"hidden_{m}")
            for m, n in sizes
        ]
        self.head = keras.layers.Dense(
            1, kernel_initializer="zeros", dtype=self.dtype_policy, name="head"
        )
        for layer, (width, _) in zip([*self.hidden, self.head], [*sizes, (units, 1)], strict=True):
            layer.build((None, None, width))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | self._sizes

    def call(self, features: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
        """features [B, T, F], z [B, T, V] -> [B, T]. Gradients flow through both and the weights
        phi.
        """
        x = tf.concat([features, z, tf.nn.softmax(z)], axis=-1)
        for layer in self.hidden:
            x = layer(x)
        return tf.squeeze(self.head(x), axis=-1)
