"""The free part of RELAX's control variate, c_hat_phi: a convolutional network over z (ReGAN section 3.3)."""

import keras
import tensorflow as tf


class ControlNetwork(keras.Model):
    """c_hat_phi(z): two convolutions over time, the mean over steps, one linear output.

    The activations are smooth since the estimator uses the gradient in z, and equation (19) differentiates that. The
    output starts at zero, so that RELAX starts as REBAR and departs from it only as far as that lowers the variance.

    Args:
      vocab_size: V.
      filters: channels of both convolutions.
      width: steps that a convolution sees.
    """

    def __init__(self, vocab_size, filters=32, width=3, **kwargs):
        super().__init__(**kwargs)

        def convolution(name):
            return keras.layers.Conv1D(filters, width, padding="same", activation="tanh", dtype=self.dtype_policy, name=name)

        self.convolutions = [convolution("first"), convolution("second")]
        self.head = keras.layers.Dense(1, kernel_initializer="zeros", dtype=self.dtype_policy, name="head")
        for layer, channels in zip(self.convolutions, (vocab_size, filters), strict=True):
            layer.build((None, None, channels))
        self.head.build((None, filters))
        self.built = True

    def call(self, z):
        """z [B, T, V], unrelaxed -> [B]. Gradients flow through z and the weights phi."""
        for layer in self.convolutions:
            z = layer(z)
        return tf.squeeze(self.head(tf.reduce_mean(z, axis=1)), axis=-1)
