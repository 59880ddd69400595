"""Rewards of texts and tokens as estimators ask them."""

import concurrent.futures
import pathlib
from concurrent.futures.process import BrokenProcessPool
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

import regan_tf
from regan_tf.estimators import calls, reward_functions, rewards
from regan_tf.estimators.answers import RewardError
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
        self.assertEqual(box.take_components(), {"sign": 3.0})
        self.assertEqual(box.take_components(), {})

    def test_components_are_means_over_all_that_was_asked_since(self):
        @regan_tf.token_reward
        def reward(tokens):
            return {"same": tokens[:, 1], "reward": tokens[:, 1]}

        box = _black_box(reward)
        values = [box.of_array(np.array(t)) for t in ([[0, 1, 0], [0, 3, 0]], [[0, 4, 0]])]
        self.assertAllClose(box.take_components(), {"same": np.mean(np.concatenate(values))})

    def test_the_best_are_in_order_and_ties_as_they_were_asked(self):
        box = _black_box(regan_tf.token_reward(lambda tokens: tokens[:, 1] % 3))
        for tokens in ([[0, 4, 0], [0, 2, 0]], [[0, 1, 0], [0, 3, 0], [0, 2, 0]]):
            box.of_array(np.array(tokens, np.int32))
        tokens, rewards = box.best(3)
        self.assertAllEqual(tokens, [[0, 2, 0], [0, 4, 0], [0, 1, 0]])
        self.assertAllEqual(rewards, [2, 1, 1])
        self.assertEqual((tokens.dtype, rewards.dtype), (np.int32, np.float32))
        self.assertAllEqual(box.best(9)[1], [2, 1, 1, 0])

    def test_a_limit_is_met_exactly(self):
        asked, lines = [], []

        @regan_tf.text_reward
        def reward(texts):
            asked.extend(texts)
            return [1.0] * len(texts)

        box = regan_tf.BlackBoxReward(reward, grammar.VOCABULARY, limit=2)
        box.keep_record(lambda: [], 0, lines.append)
        box.try_on(np.array([[0, 4, 0]]))
        self.assertEqual(box.calls, 0)
        box.of_array(np.array([[0, 1, 0], [0, 1, 0]]))
        with self.assertRaisesRegex(RewardError, "asked for more than its 2 calls"):
            box.of_array(np.array([[0, 1, 0], [0, 4, 0], [0, 2, 0]]))
        self.assertTrue(box.spent)
        self.assertEqual(box.calls, 2)
        self.assertEqual(asked, ["x/x", "x+x"])  # the trial's answer served
        self.assertAllEqual(box.of_array(np.array([[0, 1, 0], [0, 4, 0]])), [1, 1])
        found = [(r["call"], r["text"]) for r in calls.read("".join(lines).splitlines(True))]
        self.assertEqual(found, [(1, "x+x"), (2, "x/x")])

    def test_known_answers_are_calls_again_in_the_order_of_the_rows(self):
        first, second, lines = _black_box(regan_tf.token_reward(lambda t: t[:, 1])), [], []
        first.keep_record(lambda: [], 0, lines.append)
        first.of_array(np.array([[0, 1, 0], [0, 2, 0]], np.int32))

        @regan_tf.token_reward
        def reward(tokens):
            second.extend(tokens[:, 1])
            return tokens[:, 1]

        goes_on, more = _black_box(reward), []
        file = "".join(lines).splitlines(True)
        goes_on.keep_record(lambda: file, 1, more.append)
        goes_on.of_array(np.array([[0, 3, 0], [0, 2, 0], [0, 4, 0], [0, 1, 0]], np.int32))
        self.assertEqual(second, [3, 4])
        found = [(r["call"], r["tokens"][1]) for r in calls.read("".join(more).splitlines(True))]
        self.assertEqual(found, [(2, 3), (3, 2), (4, 4)])

    def test_what_is_not_valid_has_reward_0(self):
        @regan_tf.text_reward
        def reward(texts):
            valid = np.array(["/" not in text for text in texts])
            return {"reward": [5 if v else None for v in valid], "valid": valid,
                    "size": [1.0 if v else np.nan for v in valid]}  # fmt: skip

        box = _black_box(reward)
        self.assertAllEqual(box.of_array(np.array([[0, 1, 0], [0, 4, 0]])), [5, 0])
        self.assertEqual(box.take_components(), {"valid": 0.5, "size": 1.0})

    def test_names_of_components_do_not_change(self):
        box = _black_box(
            regan_tf.token_reward(lambda t: {"reward": t[:, 1], f"c{len(t)}": t[:, 1]})
        )
        box.of_array(np.array([[0, 1, 0]]))
        with self.assertRaisesRegex(RewardError, "gave reward, c2, and reward, c1 at first"):
            box.of_array(np.array([[0, 2, 0], [0, 3, 0]]))

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

    def test_it_has_an_exact_gradient(self):
        generator, _ = problems.networks(1, 5, 3)
        in_python = regan_tf.token_reward(lambda tokens: np.mean(tokens == 1, axis=1))
        found, expected = (
            regan_tf.exact_gradient(generator, reward)
            for reward in (_black_box(in_python), lambda x: tf.reduce_mean(x[:, :, 1], axis=1))
        )
        self.assertAllClose(problems.flat(found), problems.flat(expected), atol=1e-6)

    def test_an_error_has_the_sequence(self):
        box = _black_box(regan_tf.text_reward(lambda texts: [np.nan] * len(texts)))
        with self.assertRaisesRegex(tf.errors.OpError, "gave nan as reward for 'x.x'"):
            compiled(box.of_tokens)(_TOKENS)

    def test_what_was_asked_for_singly_is_not_asked_for_again(self):
        asked, lines = [], []

        @regan_tf.text_reward
        def reward(texts):
            asked.extend(texts)
            if "x*x" in texts:
                raise ValueError("no products")
            return [1.0] * len(texts)

        box = _black_box(reward)
        box.keep_record(lambda: [], 0, lines.append)
        with self.assertRaisesRegex(RewardError, r"no products \(.*\), for 'x.x'"):
            box.of_array(np.array([[0, 1, 0], [0, 2, 0], [0, 3, 0], [0, 4, 0]]))
        self.assertEqual(asked[4:], ["x+x", "x-x", "x*x"])
        goes_on, file = _black_box(reward), "".join(lines).splitlines(True)
        goes_on.keep_record(lambda: file, 0, lines.append)
        asked.clear()
        goes_on.of_array(np.array([[0, 1, 0], [0, 2, 0], [0, 4, 0]]))
        self.assertEqual(asked, ["x/x"])

    def test_numbers_beside_what_is_none_are_calls(self):
        lines = []
        box = _black_box(regan_tf.text_reward(lambda texts: [3.0, None, 5.0]))
        box.keep_record(lambda: [], 0, lines.append)
        with self.assertRaisesRegex(RewardError, "gave None as reward for 'x-x'"):
            box.of_array(np.array([[0, 1, 0], [0, 2, 0], [0, 3, 0]]))
        kept = [(r["text"], r["reward"]) for r in calls.read("".join(lines).splitlines(True))]
        self.assertEqual(kept, [("x+x", 3.0), ("x*x", 5.0)])

    def test_workers_that_are_lost_while_they_are_asked_are_told_of(self):
        done = concurrent.futures.Future()
        done.set_result([{"reward": 3.0}])
        workers = mock.Mock()
        workers.submit.side_effect = [done, BrokenProcessPool("gone")]
        reward = regan_tf.text_reward(lambda texts: [1.0] * len(texts))
        with mock.patch.object(reward_functions, "pool", return_value=workers):
            box = regan_tf.BlackBoxReward(reward, grammar.VOCABULARY, "a:b", workers=1)
        with self.assertRaisesRegex(RewardError, "lost a worker process, .* which is 'x.x'"):
            box.of_array(np.array([[0, 1, 0], [0, 2, 0], [0, 3, 0]]))
        self.assertAllEqual(box.best(9)[1], [3.0])  # what came before is kept

    def test_without_a_gradient_or_a_vocabulary_it_does_not_serve(self):
        generator, _ = problems.networks(1, 5, 3)
        reward = regan_tf.text_reward(lambda texts: [1.0] * len(texts))
        for given, message in (
            (_black_box(reward), "reads texts, so it has no gradient: .*reinforce_loo"),
            (reward, "reads texts: give regan_tf.BlackBoxReward"),
        ):
            with self.assertRaisesRegex(rewards.UnsuitableError, message):
                regan_tf.estimate_gradient("rebar", generator, given, batch_size=4, seed=1)

    @pytest.mark.slow
    def test_processes_answer_and_one_that_ends_is_told_of(self):
        path, log = (pathlib.Path(self.get_temp_dir(), n) for n in ("in_processes.py", "asked"))
        path.write_text(
            "import os\nimport regan_tf\n\n"
            "@regan_tf.text_reward\n"
            "def reward(texts):\n"
            "    if 'x/x' in texts:\n"
            "        os._exit(1)\n"
            "    if '+++' in texts:\n"
            "        raise ValueError('too many')\n"
            f"    open({str(log)!r}, 'a').writelines(text + '\\n' for text in texts)\n"
            "    assert os.getpgrp() == os.getpid()  # a Ctrl-C does not reach it\n"
            "    return [float(text.count('+')) for text in texts]\n"
        )
        name = f"{path}:reward"
        function = reward_functions.load(name)
        box = regan_tf.BlackBoxReward(function, grammar.VOCABULARY, name, workers=2)
        self.assertAllEqual(box.of_tokens(_TOKENS), [1, 0, 1])
        tokens = np.array(
            [[1, 1, 1], *([0, i, 1] for i in range(5)), *([1, i, 0] for i in range(5))]
        )
        with self.assertRaisesRegex(
            RewardError,
            "raised ValueError: too many \\(in_processes.py, line \\d+\\), for '\\+\\+\\+'",
        ):
            box.of_array(tokens)
        self.assertLen(log.read_text().splitlines(), box.calls)  # what was begun is kept
        box.of_array(tokens[1:])
        asked = log.read_text().splitlines()
        self.assertLen(set(asked), len(asked))
        with self.assertRaisesRegex(RewardError, "lost a worker process, .* which is 'x.x'"):
            box.of_array(np.array([[0, 4, 0]]))
        box.close()


if __name__ == "__main__":
    tf.test.main()
