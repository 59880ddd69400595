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
    "BlackBoxReward": "estimators.black_box",
    "Callback": "training.callbacks",
    "Config": "config",
    "ControlNetwork": "estimators.control_networks",
    "ControlVariate": "estimators.control_variate",
    "ConvolutionalDiscriminator": "networks.convolutional",
    "Critic": "estimators.critic",
    "Discriminator": "networks.discriminator",
    "DiscriminatorReward": "estimators.discriminator_rewards",
    "ESTIMATORS": "spec",
    "EstimatorSpec": "spec",
    "FastGenerator": "networks.protocol",
    "Generator": "networks.generator",
    "GreedySampler": "networks.samplers",
    "ParallelGenerator": "networks.parallel",
    "Penalty": "estimators.penalty",
    "PrefixReward": "estimators.rewards",
    "RandomSampler": "networks.samplers",
    "RelaxedTokens": "estimators.relaxation",
    "Reward": "estimators.rewards",
    "Sampler": "networks.samplers",
    "SequenceGenerator": "networks.protocol",
    "StepControlNetwork": "estimators.control_networks",
    "TokenReward": "estimators.rewards",
    "TopKSampler": "networks.samplers",
    "TopPSampler": "networks.samplers",
    "TrainedRun": "training.trained",
    "UserError": "config",
    "check_generator": "networks.protocol",
    "estimate_gradient": "estimators.estimate",
    "exact_gradient": "estimators.exact",
    "feature_dim": "estimators.control_variate",
    "load_run": "training.trained",
    "text_reward": "estimators.reward_functions",
    "token_reward": "estimators.reward_functions",
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


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
