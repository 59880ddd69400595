"""Rewards of texts and tokens as estimators ask them."""

import numpy as np
import tensorflow as tf

import regan_tf
from regan_tf.estimators import rewards
from regan_tf.graphs import compiled
from regan_tf.tasks import grammar
from tests import problems

_TOKENS = tf.constant([[0, 1, 0], [0, 2, 0], [0, 1, 0]])


def _black_box(function):
    return regan_tf.BlackBoxReward(function, grammar.VOCABULARY)


class BlackBoxTest(tf.test.TestCase):
    def test_each_sequence_is_asked_for_once(self):
        asked = []

        @regan_tf.text_reward
        def reward(texts):
            asked.append(texts)
            return {"reward": [text.count("+") for text in texts], "sign": [3.0] * len(texts)}

        box = _black_box(reward)
        of_tokens = compiled(box.of_tokens)
        self.assertAllEqual(of_tokens(_TOKENS), [1, 0, 1])
        self.assertAllEqual(of_tokens(_TOKENS[:2]), [1, 0])
        self.assertAllEqual(of_tokens(tf.constant([[0, 3, 0], [0, 2, 0]])), [0, 0])
        self.assertEqual(asked, [["x+x", "x-x"], ["x*x"]])
        self.assertEqual(box.calls, 3)
        self.assertEqual(box.components, {"sign": 3.0})

    def test_tokens_are_numpys(self):
        @regan_tf.token_reward
        def reward(tokens):
            assert isinstance(tokens, np.ndarray)
            return tokens[:, 1]

        self.assertAllEqual(_black_box(reward).of_tokens(_TOKENS), [1, 2, 1])

    def test_the_gradient_is_that_of_the_same_reward_in_tensorflow(self):
        generator, _ = problems.networks(1, 5, 3)
        in_python = regan_tf.token_reward(lambda tokens: np.mean(tokens == 1, axis=1))
        for estimator, settings in (
            ("reinforce_loo", {}),
            ("reinforce_rollout", {"rollouts": 2}),
            ("rebar", {"eta": 0.0, "control_variate": "step"}),
        ):
            found, expected = (
                regan_tf.estimate_gradient(
                    estimator, generator, reward, batch_size=32, seed=1, **settings
                )
                for reward in (_black_box(in_python), lambda x: tf.reduce_mean(x[:, :, 1], axis=1))
            )
            self.assertAllClose(problems.flat(found[0]), problems.flat(expected[0]), atol=1e-6)

    def test_an_error_has_the_sequence(self):
        box = _black_box(regan_tf.text_reward(lambda texts: [np.nan] * len(texts)))
        with self.assertRaisesRegex(tf.errors.OpError, "gave nan as reward for 'x.x'"):
            compiled(box.of_tokens)(_TOKENS)

    def test_without_a_gradient_or_a_vocabulary_it_does_not_serve(self):
        generator, _ = problems.networks(1, 5, 3)
        reward = regan_tf.text_reward(lambda texts: [1.0] * len(texts))
        for given, message in (
            (_black_box(reward), "reads texts, so it has no gradient: .*reinforce_loo"),
            (reward, "reads texts: give regan_tf.BlackBoxReward"),
        ):
            with self.assertRaisesRegex(rewards.UnsuitableError, message):
                regan_tf.estimate_gradient("rebar", generator, given, batch_size=4, seed=1)


if __name__ == "__main__":
    tf.test.main()
