"""A reward of one's own together with the discriminator's."""

from typing import Any

import tensorflow as tf

from regan_tf.estimators import rewards
from regan_tf.estimators.discriminator_rewards import reward_of
from regan_tf.estimators.rewards import PrefixReward, Reward, TokenReward, Told
from regan_tf.networks.convolutional import AnyDiscriminator


class MixedReward(TokenReward, PrefixReward):
    """w R + (1 - w) D: ORGAN's objective (Guimaraes et al. 2017), lambda D + (1 - lambda) R, with
    lambda = 1 - w.

    Args:
      own: R, of one's own.
      discriminator: gives D.
      weight: w, from 0 to 1.
    """

    def __init__(self, own: Reward, discriminator: AnyDiscriminator, weight: float):
        self._own, self._of_discriminator = own, reward_of(discriminator)
        self._weight, self._vocab_size = weight, discriminator.vocab_size
        self._dtype = discriminator.compute_dtype

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """[B, T, V], one-hot or relaxed -> [B]; differentiable in the rows where R is."""
        return self.mixed(rewards.checked(self._own, rows), self._of_discriminator(rows))

    def of_tokens(self, tokens: tf.Tensor) -> tf.Tensor:
        """Of hard tokens, int32 [B, T] -> [B]; no gradient."""
        own = rewards.of_tokens(self._own, tokens, self._vocab_size, self._dtype)
        of_discriminator = rewards.of_tokens(
            self._of_discriminator, tokens, self._vocab_size, self._dtype
        )
        return self.mixed(own, of_discriminator)

    def mixed(self, own: tf.Tensor, of_discriminator: tf.Tensor) -> tf.Tensor:
        """w R + (1 - w) D."""
        return self._weight * own + (1 - self._weight) * of_discriminator

    def prefixes(self, tokens: tf.Tensor, last_rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """R's and D's values after every prefix, mixed, and the features of both; see
        PrefixReward.
        """
        own, own_features = rewards.prefix_values(self._own, tokens, last_rows)
        of_discriminator, features = rewards.prefix_values(
            self._of_discriminator, tokens, last_rows
        )
        return self.mixed(own, of_discriminator), tf.concat([own_features, features], axis=-1)

    def features(self, tokens: tf.Tensor, last_rows: tf.Tensor) -> tf.Tensor:
        """The features alone, [B, T, 0] where neither has some: R is not asked for its values,
        which it may not have.
        """
        found = [
            part.features(tokens, last_rows)
            for part in (self._own, self._of_discriminator)
            if isinstance(part, PrefixReward)
        ]
        return tf.concat([last_rows[..., :0], *found], axis=-1)

    def tell(self, tokens: tf.Tensor, vocab_size: int, dtype: Any, ahead: bool = False) -> Told:
        """See PrefixReward; of beginnings what is none says 0."""
        reads = "next" if ahead else "prefix"
        return self.mixed_told(*self.told_by_parts(tokens, vocab_size, dtype, reads))

    def told_by_parts(self, *given: Any) -> tuple[Told, Told]:
        """What R and D tell; arguments as for `rewards.tell`."""
        return rewards.tell(self._own, *given), rewards.tell(self._of_discriminator, *given)

    def mixed_told(self, own: Told, of_discriminator: Told) -> Told:
        """Values mixed, and the features of both."""

        def mixed(own, other):
            if own.shape[-1] and other.shape[-1]:
                return self.mixed(own, other)
            return self._weight * own if own.shape[-1] else (1 - self._weight) * other

        return Told(
            self.mixed(own.reward, of_discriminator.reward),
            mixed(own.values, of_discriminator.values),
            tf.concat([own.features, of_discriminator.features], axis=-1),
            mixed(own.next_values, of_discriminator.next_values),
        )


def measured(reward: Reward) -> tuple[str, ...]:
    """What `tell` measures of a reward, by name."""
    return ("reward", "discriminator_reward") if isinstance(reward, MixedReward) else ()


def tell(
    reward: Reward, tokens: tf.Tensor, vocab_size: int, dtype: Any, reads: str
) -> tuple[Told, dict[str, tf.Tensor]]:
    """What a reward tells, as `rewards.tell` gives it; and of a MixedReward its parts, by the names
    of `measured`: R, and D.
    """
    given = tokens, vocab_size, dtype, reads
    if not isinstance(reward, MixedReward):
        return rewards.tell(reward, *given), {}
    parts = reward.told_by_parts(*given)
    by_part = [part.reward for part in parts]
    return reward.mixed_told(*parts), dict(zip(measured(reward), by_part, strict=True))
