"""regan_tf: REINFORCE, REBAR and RELAX for sequence GANs, after the ReGAN paper, in TensorFlow and
Keras.

The public names are loaded on first use, so that a command can refuse a bad flag before TensorFlow
is imported.
"""

import importlib
import os
from typing import Any

__version__ = "0.1.0"

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own log; 0 shows it

_PUBLIC = {
    "Callback": "training.callbacks",
    "Config": "config",
    "ControlNetwork": "estimators.control_networks",
    "ControlVariate": "estimators.control_variate",
    "Discriminator": "networks.discriminator",
    "DiscriminatorReward": "estimators.rewards",
    "ESTIMATORS": "spec",
    "EstimatorSpec": "spec",
    "FastGenerator": "networks.protocol",
    "Generator": "networks.generator",
    "PrefixReward": "estimators.rewards",
    "TrainedRun": "training.trained",
    "RelaxedTokens": "estimators.relaxation",
    "Reward": "estimators.rewards",
    "SequenceGenerator": "networks.protocol",
    "StepControlNetwork": "estimators.control_networks",
    "TokenReward": "estimators.rewards",
    "estimate_gradient": "estimators.estimate",
    "exact_gradient": "estimators.exact",
    "load_run": "training.trained",
    "train": "training.train",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'regan_tf' has no attribute '{name}'")
    from regan_tf.cli.command import silent_stderr

    with silent_stderr():  # TensorFlow's greetings, if this loads it
        module = importlib.import_module(f"regan_tf.{_PUBLIC[name]}")
    globals()[name] = getattr(module, name)  # found without this function from now on
    return globals()[name]
