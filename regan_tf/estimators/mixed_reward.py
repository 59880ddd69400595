"""A reward of one's own together with the discriminator's."""

from typing import Any

import tensorflow as tf

from regan_tf.estimators import rewards
from regan_tf.estimators.rewards import DiscriminatorReward, PrefixReward, Reward, TokenReward
from regan_tf.networks.discriminator import Discriminator


class MixedReward(TokenReward, PrefixReward):
    """w R + (1 - w) D: ORGAN's objective (Guimaraes et al. 2017), lambda D + (1 - lambda) R, with
    lambda = 1 - w.

    Args:
      own: R, of one's own.
      discriminator: gives D.
      weight: w, from 0 to 1.
    """

    def __init__(self, own: Reward, discriminator: Discriminator, weight: float):
        self._own, self._of_discriminator = own, DiscriminatorReward(discriminator)
        self._weight, self._vocab_size = weight, discriminator.vocab_size
        self._dtype = discriminator.compute_dtype

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """[B, T, V], one-hot or relaxed -> [B]; differentiable in the rows where R is."""
        return self.mixed(rewards.checked(self._own, rows), self._of_discriminator(rows))

    def of_tokens(self, tokens: tf.Tensor) -> tf.Tensor:
        """Of hard tokens, int32 [B, T] -> [B]; no gradient."""
        return self.mixed(*self.parts(tokens))

    def parts(self, tokens: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """R and D of hard tokens, int32 [B, T]: [B] each."""
        own = rewards.of_tokens(self._own, tokens, self._vocab_size, self._dtype)
        return own, self._of_discriminator.of_tokens(tokens)

    def mixed(self, own: tf.Tensor, of_discriminator: tf.Tensor) -> tf.Tensor:
        """w R + (1 - w) D."""
        return self._weight * own + (1 - self._weight) * of_discriminator

    def prefixes(self, tokens: tf.Tensor, last_rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """R's and D's values after every prefix, mixed, and the features of both; see
        PrefixReward.
        """
        own, own_features = rewards.prefix_values(self._own, tokens, last_rows)
        of_discriminator, features = self._of_discriminator.prefixes(tokens, last_rows)
        return self.mixed(own, of_discriminator), tf.concat([own_features, features], axis=-1)

    def features(self, tokens: tf.Tensor, last_rows: tf.Tensor) -> tf.Tensor:
        """The features alone: R is not asked for its values, which it may not have."""
        found = [
            part.features(tokens, last_rows)
            for part in (self._own, self._of_discriminator)
            if isinstance(part, PrefixReward)
        ]
        return tf.concat(found, axis=-1)

    def of_prefixes(
        self, tokens: tf.Tensor, vocab_size: int, dtype: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See PrefixReward; D's alone where R has no value of prefixes."""
        if isinstance(self._own, PrefixReward):
            return super().of_prefixes(tokens, vocab_size, dtype)
        return self._of_discriminator.of_prefixes(tokens, vocab_size, dtype)

    def next_values(
        self, tokens: tf.Tensor, vocab_size: int, dtype: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See PrefixReward; D's alone where R has no value of prefixes."""
        if isinstance(self._own, PrefixReward):
            return super().next_values(tokens, vocab_size, dtype)
        return self._of_discriminator.next_values(tokens, vocab_size, dtype)


def measured(reward: Reward) -> tuple[str, ...]:
    """What `of_tokens` measures of a reward, by name."""
    return ("reward", "discriminator_reward") if isinstance(reward, MixedReward) else ()


def of_tokens(
    reward: Reward, tokens: tf.Tensor, vocab_size: int, dtype: Any
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """A reward of hard tokens, int32 [B, T] -> [B], as `rewards.of_tokens` gives it; and of a
    MixedReward its parts, by the names of `measured`: R, and D.
    """
    if not isinstance(reward, MixedReward):
        return rewards.of_tokens(reward, tokens, vocab_size, dtype), {}
    parts = reward.parts(tokens)
    return reward.mixed(*parts), dict(zip(measured(reward), parts, strict=True))
