"""The last sequences of a run: which are kept, and how many there are."""

import tensorflow as tf

from regan_tf.training.recent import RecentSequences


def _batches(*numbers):
    """Minibatches of two rows [n, n, n], int32 [2 N, 3]."""
    return tf.repeat(tf.constant(numbers), 2)[:, tf.newaxis] * tf.ones([1, 3], tf.int32)


class RecentTest(tf.test.TestCase):
    def _held(self, recent):
        """The numbers of the minibatches that there are."""
        found = recent.tokens.numpy()[int(recent.first) :]
        self.assertAllEqual(found, found[:, :1, :1] + 0 * found)
        return found[:, 0, 0].tolist()

    def test_the_newest_are_last_and_there_is_none_at_first(self):
        recent = RecentSequences(3, 2, 3)
        self.assertEqual(self._held(recent), [])
        for new, held in (([7], [7]), ([8, 9], [7, 8, 9]), ([5], [8, 9, 5])):
            recent.add(_batches(*new))
            self.assertEqual(self._held(recent), held)

    def test_of_more_than_fit_the_last_stay(self):
        recent = RecentSequences(2, 2, 3)
        recent.add(_batches(1, 2, 3, 4, 5))
        self.assertEqual(self._held(recent), [4, 5])

    def test_rewards_stay_with_their_sequences(self):
        recent = RecentSequences(3, 2, 3)
        for numbers in ([4], [5], [6], [7]):
            tokens = _batches(*numbers)
            recent.add(tokens, tf.cast(tokens[:, 0], tf.float32) / 2)
        self.assertAllEqual(recent.reward, recent.tokens.numpy()[:, :, 0] / 2)
        self.assertEqual(self._held(recent), [5, 6, 7])

    def test_a_checkpoint_has_all_of_them(self):
        one, other = RecentSequences(3, 2, 3), RecentSequences(3, 2, 3)
        one.add(_batches(1, 2), tf.constant([0.1, 0.2, 0.3, 0.4]))
        for variable, value in zip(other.variables, one.variables, strict=True):
            variable.assign(value)
        for recent in (one, other):
            recent.add(_batches(3), tf.constant([0.5, 0.6]))
        self.assertEqual(self._held(other), [1, 2, 3])
        self.assertAllEqual(other.reward, one.reward)


if __name__ == "__main__":
    tf.test.main()
