"""Rewards of one's own before a run: how a bad one is refused, and jumps are found."""

import contextlib
import io

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.config import Config, UserError
from regan_tf.estimators import reward_trial
from regan_tf.tasks import grammar
from regan_tf.tasks.text import Vocabulary
from tests import problems


def _suitable(reward, estimator="reinforce_loo", **options):
    config = Config(reward=f"tests.problems:{reward}", estimator=estimator, **options).resolved()
    tokens = tf.constant(grammar.draw(64, 3, [0, 0]))
    return reward_trial.suitable(config, tokens, grammar.VOCABULARY)


class RefusalTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ("in_eager_numpy", {}, r"failed in a graph.*tf.numpy_function\): NotImplementedError: "),
        (
            "with_python_if",
            {},
            "failed in a graph.*: OperatorNotAllowedInGraphError: "
            ".* decorate this function with @tf.function",
        ),
        ("failing", {}, "failed: ZeroDivisionError: no reward for 64 rows"),
        (
            "many_plus_in_numpy",
            {"estimator": "rebar"},
            "does not serve --estimator=rebar.*not differentiable.*continuous",
        ),
        ("nan_for_x", {}, "gave nan for a row of the data: it must be finite"),
        (
            "nan_in_relaxed_rows",
            {"estimator": "rebar"},
            "is not finite in relaxed rows.*--estimator=rebar",
        ),
    )
    def test_what_does_not_serve_is_refused_in_one_line(self, reward, options, message):
        with self.assertRaisesRegex(
            UserError, f"^--reward=tests.problems:{reward} {message}"
        ) as caught:
            _suitable(reward, **options)
        self.assertNotIn("\n", str(caught.exception))

    def test_a_critic_may_not_read_next_values_that_there_are_none_of(self):
        options = {"estimator": "doubly_robust", "critic_reads": "next"}
        message = "^--critic_reads=next contradicts --reward=.*, which has no values of beginnings"
        with self.assertRaisesRegex(UserError, message):
            _suitable("many_plus", **options)
        _suitable("many_plus", **options, reward_weight=0.5)  # of the discriminator's there are

    def test_what_a_generator_may_write_besides_the_data_is_tried(self):
        vocabulary = Vocabulary(("<end>", "<unk>", "a", "b"), end=0, unknown=1)
        tokens, config = tf.constant([[2, 3, 2]] * 20), Config(estimator="reinforce_loo").resolved()
        tried = []

        def reward(texts):
            tried.extend(texts)
            return [1 / len(text) for text in texts]

        with self.assertRaisesRegex(UserError, r"ZeroDivisionError: .* line \d+\), for ''$"):
            reward_trial.suitable(config, tokens, vocabulary, regan_tf.text_reward(reward))
        self.assertEqual(set(tried), {"aba", "<unk>ba", ""})


class DiscontinuityTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        case=[
            ("many_plus", False), ("with_kinks", False), ("smooth network", False),
            ("kinked network", False), ("with_jumps", True),
        ],
        temperature=[1.0, 0.3],
    )  # fmt: skip
    def test_jumps_are_found_and_kinks_are_none(self, case, temperature):
        (name, jumps), rng = case, np.random.default_rng(0)
        reward = getattr(problems, name, None)
        if reward is None:
            first, second = (
                tf.constant(rng.normal(size=shape), tf.float32) for shape in ([20, 16], [16, 1])
            )
            activation = tf.nn.relu if name == "kinked network" else tf.tanh

            def reward(rows):
                return tf.squeeze(activation(tf.reshape(rows, [-1, 20]) @ first) @ second, -1)

        missed = reward_trial.discontinuity(
            reward, rng.integers(0, 5, [50, 4]).astype(np.int32), 5, temperature
        )
        # Half and twice the limit: what is measured does not rest on rounding.
        (self.assertGreater if jumps else self.assertLess)(
            missed, (2 if jumps else 0.5) * reward_trial.JUMPS
        )

    @parameterized.parameters(
        ("with_jumps", "rebar", True),
        ("with_kinks", "rebar", False),
        ("with_jumps", "reinforce", False),
    )
    def test_there_is_a_warning_where_it_matters(self, reward, estimator, warned):
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            _suitable(reward, estimator=estimator)
        pattern = (
            r"warning: --reward=tests.problems:with_jumps does not change as .* misses \d+% .*\n"
            if warned
            else ""
        )
        self.assertRegex(stderr.getvalue(), f"^{pattern}$")


if __name__ == "__main__":
    tf.test.main()
