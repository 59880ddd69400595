"""The main job from Python, with callbacks."""

import json
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import tensorflow as tf

import regan_tf
from regan_tf.cli import command
from regan_tf.config import UserError
from tests.training.small import SMALL


class _Log(regan_tf.Callback):
    def __init__(self):
        self.calls, self.sampled = [], None

    def on_pretraining(self, record, generator):
        self.calls.append(("pretraining", record["iteration"]))

    def on_iteration(self, record, generator):
        self.calls.append(("iteration", record["iteration"]))

    def on_evaluation(self, record, generator):
        self.calls.append(("evaluation", record["iteration"]))
        self.sampled = generator.sample(4, 0)


class TrainTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = self.enterContext(tempfile.TemporaryDirectory())
        self.settings = SMALL | {
            "estimator": "reinforce_loo",
            "eval_every": 2,
            "d_steps": 1,
            "export_generator": "none",
            "workdir": f"{self.directory}/run",
        }

    def test_callbacks_are_called_as_the_run_goes_and_goes_on(self):
        log = _Log()
        first = regan_tf.train(iterations=2, callbacks=[log], **self.settings)
        self.assertEqual(
            log.calls,
            [
                ("pretraining", 10),
                ("iteration", 0),
                ("evaluation", 0),
                ("iteration", 1),
                ("iteration", 2),
                ("evaluation", 2),
            ],
        )
        self.assertAllEqual(log.sampled, first.sample_tokens(4, seed=0))
        more = regan_tf.train(iterations=3, callbacks=[log], **self.settings)
        self.assertEqual(log.calls[6:], [("iteration", 3)])
        self.assertAllEqual(more.metrics["iteration"], [0, 1, 2, 3])

    def test_it_runs_in_another_thread_and_what_a_callback_raises_ends_it(self):
        class Stop(regan_tf.Callback):
            def on_iteration(self, record, generator):
                raise KeyError("enough")

        found = []

        def train():
            try:
                regan_tf.train(iterations=1, callbacks=[Stop()], **self.settings)
            except KeyError as error:
                found.append(error)  # with its frames, as a notebook keeps the last one

        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
        self.assertLen(found, 1)
        goes_on = regan_tf.train(iterations=1, **self.settings)
        self.assertAllEqual(goes_on.metrics["iteration"], [0, 1])

    def test_a_function_may_be_the_reward_also_of_texts(self):
        asked = []

        @regan_tf.text_reward
        def plus(texts):
            asked.extend(texts)
            found = [text.count("+") / 3 for text in texts]
            return {"reward": found, "same": found}

        options = self.settings | {"generator_learning_rate": 0.03, "row_parts": 2}
        trained = regan_tf.train(iterations=30, reward=plus, **options)
        self.assertEqual(len(asked), len(set(asked)))
        rewards = trained.metrics["reward"]
        self.assertGreater(np.mean(rewards[-5:]), np.mean(rewards[1:6]) + 0.2)
        self.assertAllClose(trained.metrics["reward_same"][1:], rewards[1:])
        self.assertEqual(trained.config.metric, "reward")
        summary = json.loads((trained.path / "summary.json").read_text())
        means = {i: np.mean(rewards[i - 1 : i + 1]) for i in range(2, 31, 2)}  # --eval_every=2
        best = max(means, key=means.get)
        self.assertEqual(summary["best_iteration"], best)
        self.assertAllClose(summary["best"]["reward"], means[best])
        self.assertAllClose(summary["last"]["reward"], means[30])
        self.assertAllClose(summary["start"]["reward"], rewards[1])
        self.assertRegex(trained.config.reward, r"^tests\.training\.train_test:.*plus$")
        goes_on = regan_tf.train(iterations=31, reward=plus, **options)
        self.assertAllEqual(goes_on.metrics["reward"][:-1], rewards)

    def test_bad_settings_are_named_as_arguments(self):
        config = regan_tf.Config(**self.settings)
        with self.assertRaisesRegex(UserError, "^batch_size=0 is not allowed"):
            regan_tf.train(config, batch_size=0)
        with self.assertRaisesRegex(TypeError, "no setting 'batchsize': did you mean batch_size"):
            regan_tf.train(batchsize=8)
        with self.assertRaisesRegex(UserError, "^/nowhere holds no run: there is no /nowhere/con"):
            regan_tf.load_run("/nowhere")
        with self.assertRaisesRegex(TypeError, "^callbacks has <function.*must be a regan_tf.Call"):
            regan_tf.train(config, callbacks=[lambda record, generator: None])
        with self.assertRaisesRegex(UserError, "^data_file=/no--file/my--seed.txt cannot be read"):
            regan_tf.train(dataset="text", data_file="/no--file/my--seed.txt")
        with self.assertRaisesRegex(UserError, "^workdir=/dev/null/run cannot be written"):
            regan_tf.train(config, workdir="/dev/null/run")

    def test_a_runs_precision_is_not_the_next_ones(self):
        def is_mixed():
            options = tf.config.optimizer.get_experimental_options()
            return options.get("auto_mixed_precision_onednn_bfloat16", False)

        command.start_tensorflow(1, "bfloat16")
        self.assertTrue(is_mixed())
        regan_tf.train(iterations=0, **self.settings)
        self.assertFalse(is_mixed())


if __name__ == "__main__":
    tf.test.main()


class StartFromTest(tf.test.TestCase):
    """A run that starts from the generator of another."""

    def setUp(self):
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        short = {"estimator": "reinforce_loo", "d_steps": 1, "export_generator": "none"}
        self.first = regan_tf.train(
            **(SMALL | short), iterations=1, workdir=f"{self.directory}/first"
        )
        rest = ("batch_size", "eval_samples")
        self.short = short | {name: SMALL[name] for name in rest}
        self.short |= {"start_from": f"{self.directory}/first", "iterations": 1}

    def test_it_has_the_data_the_sizes_and_the_weights_of_the_other(self):
        second = regan_tf.train(**self.short, workdir=f"{self.directory}/second", seed=5)
        for name in ("data_size", "embed_dim", "generator_dim", "seq_len"):
            self.assertEqual(getattr(second.config, name), getattr(self.first.config, name))
        self.assertEqual([r["phase"] for r in second.records], ["adversarial"] * 2)
        # A run goes on, also when that from which it started is gone.
        shutil.rmtree(self.directory / "first")
        more = regan_tf.train(second.config, iterations=2, workdir=str(second.path))
        self.assertLen(more.records, 3)

    def test_it_starts_with_the_last_generator(self):
        found = []

        class AtStart(regan_tf.Callback):
            def on_iteration(self, record, generator):
                found.append([v.numpy() for v in generator.variables])

        regan_tf.train(**self.short, workdir=f"{self.directory}/second", callbacks=[AtStart()])
        for mine, theirs in zip(found[0], self.first.generator.variables, strict=True):
            self.assertAllEqual(mine, theirs)

    def test_it_may_be_pre_trained_further(self):
        second = regan_tf.train(
            **self.short, workdir=f"{self.directory}/second", pretrain_epochs=1.0
        )
        self.assertEqual([r["phase"] for r in second.records], ["pretrain"] + ["adversarial"] * 2)
        self.assertLess(second.records[0]["nll"], self.first.records[-1]["nll"])

    def test_what_does_not_fit_is_said(self):
        with self.assertRaisesRegex(
            UserError, "generator_dim=7 contradicts start_from=.*first, whose generator has gen"
        ):
            regan_tf.train(**self.short, generator_dim=7, workdir=f"{self.directory}/second")
        with self.assertRaisesRegex(UserError, "^start_from=/nowhere holds no run"):
            regan_tf.train(start_from="/nowhere")
        shutil.rmtree(self.directory / "first/checkpoints")
        with self.assertRaisesRegex(UserError, "start_from=.*first holds no checkpoint yet"):
            regan_tf.train(**self.short, workdir=f"{self.directory}/second")
