"""The variance along a run: that it is measured at the run's own generators, and moves nothing."""

import dataclasses
from unittest import mock

import numpy as np
import tensorflow as tf

from regan_tf.config import Config, UserError
from regan_tf.spec import EstimatorSpec
from regan_tf.studies import along_runs
from regan_tf.training import algorithm, streams
from regan_tf.training.experiment import Experiment
from tests.training.small import SMALL

_UPDATES = 6


def _config(**options):
    # Each update changes the variance by far more than rounding does.
    rates = {"generator_learning_rate": 0.1, "discriminator_learning_rate": 0.1}
    options = {"estimator": "reinforce_loo", "seq_len": 3, "pretrain_epochs": 0} | rates | options
    options |= {"d_steps": 3, "iterations": _UPDATES, "track_variance": True}
    return Config(**(SMALL | options)).resolved()


class VariancesTest(tf.test.TestCase):
    def test_the_second_estimate_is_at_the_same_networks(self):
        # With the run's own seeds it is the run's own estimate.
        with mock.patch.object(along_runs, "_STREAM", streams.UPDATE):
            found = along_runs.variances(_config())
        self.assertLen(found["own"], _UPDATES)
        self.assertAllClose(found["own"], found["yardstick"], rtol=1e-4)
        self.assertGreater(np.ptp(np.log(found["own"])), 0.1)

    def test_it_has_seeds_of_its_own_and_the_run_goes_as_without_it(self):
        found = along_runs.variances(_config())
        self.assertGreater(np.abs(np.log(found["own"]) - np.log(found["yardstick"])).min(), 1e-4)
        records = [r for r in algorithm.regan(Experiment(_config())) if r and r["iteration"] > 0]
        logs = [r["log_variance_all"] for r in records if r["phase"] == "adversarial"]
        self.assertAllEqual(found["own"], np.exp(logs))

    def test_what_is_learned_is_learned_in_the_run(self):
        taught, untaught = (
            along_runs.variances(_config(estimator="actor_critic", critic_steps=steps))["own"]
            for steps in (4, 1)
        )
        self.assertAllClose(taught[:1], untaught[:1], rtol=1e-4)
        self.assertNotAllClose(taught[1:], untaught[1:], rtol=1e-4)

    def test_ratio_leaves_the_first_tenth_out(self):
        found = {"own": [100.0, 100.0] + [1.0, 3.0] * 9, "yardstick": [1.0] * 2 + [4.0] * 18}
        self.assertAllClose(along_runs.ratio(found), 0.5)
        few = {"own": [1.0, 3.0], "yardstick": [4.0, 4.0]}
        self.assertAllClose(along_runs.ratio(few), 0.5)


class ConfigTest(tf.test.TestCase):
    def test_the_estimator_alone_is_another(self):
        spec = EstimatorSpec("relax", control_variate="step", leave_one_out=True)
        config = along_runs.config_of("recipe_15", spec, 2, 40)
        with self.assertRaisesRegex(UserError, "--runs=none is not allowed: .* recipe_15"):
            along_runs.config_of("none", spec, 0, 40)
        plain = along_runs.config_of("recipe_15", EstimatorSpec("reinforce_loo"), 0, 40)
        self.assertEqual(config.estimator_spec, spec)
        self.assertEqual((config.seq_len, config.d_steps, config.pretrain_epochs), (15, 10, 5))
        changed = {"estimator", "control_variate", "leave_one_out", "seed"}
        for field in dataclasses.fields(Config):
            same = getattr(config, field.name) == getattr(plain, field.name)
            self.assertEqual(same, field.name not in changed, field.name)


if __name__ == "__main__":
    tf.test.main()
