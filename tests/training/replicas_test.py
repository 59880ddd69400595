"""Several replicas do what one does: two devices of one process, two processes, and one of them
killed.
"""

import contextlib
import functools
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from regan_tf import Discriminator, Generator, replicas
from regan_tf.config import Config, UserError
from regan_tf.estimators.reuse import Replayed
from regan_tf.training import run as run_module
from regan_tf.training.algorithm import regan
from regan_tf.training.experiment import Experiment
from regan_tf.training.trainer import Trainer
from tests import held

_SMALL = {
    "data_size": 256,
    "heldout_size": 32,
    "eval_samples": 100,
    "batch_size": 16,
    "embed_dim": 8,
    "generator_dim": 8,
}


# What two processes do.
_TRIAL = _SMALL | {
    "estimator": "relax",
    "control_variate": "step",
    "d_steps": 3,
    "iterations": 8,
    "checkpoint_every": 2,
}

# One for all tests: exchanges are numbered anew in each.
_mirrored = functools.cache(lambda: replicas.strategy("mirrored"))


@pytest.mark.slow
class TwoDevicesTest(tf.test.TestCase, parameterized.TestCase):
    def _config(self, **options):
        rates = {
            "pretrain_learning_rate": 1e-2,
            "discriminator_learning_rate": 1e-2,
            "control_learning_rate": 1e-2,
        }
        return Config(pretrain_epochs=1, d_steps=3, **_SMALL, **rates, **options).resolved()

    def _assert_equal(self, work):
        """Asserts that work() gives the same numbers, in dicts, and weights on two devices as on
        one.
        """
        (expected, weights), (found, found_weights) = (
            self._within(strategy, work) for strategy in (tf.distribute.get_strategy(), _mirrored())
        )
        for one, other in zip(weights, found_weights, strict=True):
            self.assertAllClose(other, one, atol=1e-4)
        for one, other in zip(expected, found, strict=True):
            for name in {
                "critic_loss",
                "prior_kl",
                "reward",
                "discriminator_loss",
                "log_variance",
                "log_variance_all",
                "nll",
            } & one.keys():
                if one[name] is not None:
                    self.assertAllClose(other[name], one[name], rtol=1e-3, atol=1e-4, msg=name)

    def _within(self, strategy, work):
        with strategy.scope():
            return work()

    @parameterized.parameters(
        {"estimator": "reinforce_loo", "dropout": 0.3, "weight_decay": 0.1},
        {"estimator": "doubly_robust", "critic_replay": 2},
        {"estimator": "cot", "dropout": 0.3},
        {
            "estimator": "reinforce_loo",
            "discriminator": "cnn",
            "discriminator_dropout": 0.5,
            "discriminator_weight_decay": 0.1,
        },
    )
    def test_a_run_equals_that_on_one_device(self, **options):
        def work():
            experiment = Experiment(self._config(iterations=2, **options))
            records = list(filter(None, regan(experiment)))
            networks = experiment.generator, experiment.models.discriminator
            variables = [v for network in networks for v in network.variables]
            variables += experiment.trainer.learned_variables
            return records, [v.numpy() for v in variables]

        self._assert_equal(work)

    @parameterized.parameters(
        {"estimator": "mle", "dropout": 0.3, "weight_decay": 0.1},
        {"estimator": "reinforce_rollout", "rollouts": 2},
        {"estimator": "reinforce_loo", "updates_per_batch": 3},
        {"estimator": "reinforce_loo", "sampling": "sobol"},
        {"estimator": "reinforce_loo", "baseline": "weighted"},
        {"estimator": "straight_through"},
        {"estimator": "reinmax", "sampling": "lhs"},
        {"estimator": "reinforce_loo", "prior_kl": 0.5, "entropy": 0.1},
        {
            "estimator": "rebar",
            "control_samples": 2,
            "control_variate": "rollout",
            "learn_eta": True,
            "learn_temperature": True,
        },
        {
            "estimator": "relax",
            "control_variate": "step",
            "leave_one_out": True,
            "variance_loss": "per_example",
        },
        {
            "estimator": "relax",
            "control_variate": "step",
            "leave_one_out": True,
            "baseline": "weighted",
            "sampling": "lhs",
        },
        {"estimator": "actor_critic", "updates_per_batch": 2, "critics": 2},
        {"estimator": "cot_unbiased", "end_token": 4},
        {"estimator": "doubly_robust_relax", "control_variate": "step", "prior_kl": 0.5},
        {"estimator": "doubly_robust", "end_token": 4, "entropy": 0.5, "judge_prefixes": True},
    )
    def test_updates_equal_those_on_one_device(self, end_token=None, **options):
        real = tf.constant(np.random.default_rng(0).integers(0, 5, [16, 3]), tf.int32)

        def work():
            keras.utils.set_random_seed(0)
            generator = Generator(5, 3, 4, 4, end_token=end_token)
            discriminator = Discriminator(5, 4, end_token=end_token)
            prior = Generator(5, 3, 4, 4, end_token=end_token)
            trainer = Trainer(self._config(**options), generator, discriminator, None, prior)
            scalars = [trainer.update_generator(tf.constant([0, i]), real) for i in range(3)]
            return scalars, [
                v.numpy() for v in trainer.generator.variables + trainer.learned_variables
            ]

        self._assert_equal(work)

    def test_what_is_replayed_counts_once(self):
        real, tokens = tf.zeros([16, 3], tf.int32), tf.constant([[0, 1, 2], [3, 3, 0], [1, 1, 1]])
        replayed = Replayed(tokens, tf.constant([2.0, 3.0, 1.0]), tf.constant([1.0, 1.0, 0.0]))
        options = {"estimator": "reinforce_loo", "updates_per_batch": 2}

        def work():
            keras.utils.set_random_seed(0)
            trainer = Trainer(self._config(**options), Generator(5, 3, 4, 4), Discriminator(5, 4))
            seeds = [tf.constant([0, i]) for i in range(2)]
            scalars = [trainer.update_generator(seed, real, replayed) for seed in seeds]
            return scalars, [v.numpy() for v in trainer.generator.variables]

        self._assert_equal(work)

    def test_a_batch_that_cannot_be_shared_is_refused(self):
        with (
            _mirrored().scope(),
            self.assertRaisesRegex(UserError, "--batch_size=15 is not allowed: 2 replicas"),
        ):
            Experiment(Config(**(_SMALL | {"batch_size": 15})).resolved())


class BadFlagsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ("", "", "--distribution=multi_worker needs --workdir"),
        ("never", "", "--distribution=multi_worker needs the environment variable TF_CONFIG"),
        ("never", "{", "--distribution=multi_worker: TF_CONFIG={"),
    )
    def test_are_named(self, workdir, tf_config, message):
        config = Config(**_SMALL, distribution="multi_worker", workdir=workdir).resolved()
        with (
            mock.patch.dict(os.environ, TF_CONFIG=tf_config),
            self.assertRaisesRegex(UserError, f"^{message}"),
        ):
            run_module.run(config)


@pytest.mark.slow
class TwoProcessesTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def _start(self, held_at=None):
        """Two workers of a run, the first of which stops itself after an iteration."""
        addresses = [f"localhost:{_free_port()}" for _ in range(2)]
        places = [
            f"--workdir={self.directory / 'shared'}",
            f"--export_dir={self.directory / 'export'}",
        ]
        flags = [f"--{k}={v}" for k, v in _TRIAL.items()] + ["--distribution=multi_worker", *places]
        plain = [sys.executable, "-m", "regan_tf.main", *flags]
        first = held.command(held_at, *flags) if held_at else plain
        workers = []
        for i, command in enumerate((first, plain)):
            task = {"type": "worker", "index": i}
            config = json.dumps({"cluster": {"worker": addresses}, "task": task})
            workers.append(
                subprocess.Popen(
                    command,
                    env=os.environ | {"TF_CONFIG": config},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        return workers

    def _records(self, name):
        lines = (self.directory / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines if line]

    def test_equal_one_process_also_after_a_worker_is_killed(self):
        alone = {"workdir": str(self.directory / "alone"), "export_generator": "none"}
        with contextlib.redirect_stdout(io.StringIO()):
            run_module.run(Config(**_TRIAL, **alone).resolved())

        workers = self._start(held_at=5)
        held.wait_until_held(workers[0])
        workers[1].kill()
        workers[0].send_signal(signal.SIGCONT)
        for worker in workers:
            worker.communicate(timeout=600)
            self.assertNotEqual(worker.returncode, 0)

        workers = self._start()
        outputs = [worker.communicate(timeout=600) for worker in workers]
        self.assertEqual([worker.returncode for worker in workers], [0, 0], outputs)
        self.assertIn("The SavedModel for TF Serving is in", outputs[0][0])
        self.assertEqual(outputs[1][0], "")  # one writer
        expected, found = self._records("alone"), self._records("shared")
        self.assertEqual([r["iteration"] for r in found], [r["iteration"] for r in expected])
        for a, b in zip(expected, found, strict=True):
            self.assertAllClose(a["nll"], b["nll"], rtol=1e-4)


def _free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


if __name__ == "__main__":
    tf.test.main()
