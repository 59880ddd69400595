"""The types that networks compute in."""

import keras

ALLOWED = ("float32", "float64")


def check_policy(layer: keras.layers.Layer) -> None:
    """Raises ValueError unless a network's dtype policy, its own or Keras' global one, is float32
    or float64.

    Back-propagation by hand takes weights and activations to be of one type, so a mixed policy has
    none; and half precision has too few numbers for Gumbel noise: the least above 0 that it draws
    makes rare tokens impossible.
    """
    if layer.dtype_policy.name not in ALLOWED:
        raise ValueError(
            f"the dtype policy {layer.dtype_policy.name!r} is not allowed for a "
            f"{type(layer).__name__}: it must be {' or '.join(ALLOWED)}. For matrix products in "
            "bfloat16 keep float32 and train with --precision=bfloat16"
        )
