"""The laboratory: its statistics on made-up draws, its reference, and the command."""

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from absl.testing import parameterized
from matplotlib.text import Text

from regan_tf.config import Config
from regan_tf.estimators.bias import BLOCKS, compare, sign_flip_p
from regan_tf.estimators.discriminator_rewards import DiscriminatorReward
from regan_tf.estimators.estimate import estimate_gradient
from regan_tf.estimators.laboratory import Laboratory
from regan_tf.estimators.notation import parse
from regan_tf.plots import drawing, measurements
from regan_tf.training.experiment import Experiment
from tests import problems


class StatisticsTest(tf.test.TestCase, parameterized.TestCase):
    def _compare(self, bias, noise=0.1, seed=0):
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=50)
        truth /= np.linalg.norm(truth)
        offset = bias * rng.permutation(np.repeat([1, -1], 25)) / np.sqrt(50)
        blocks = truth + offset + noise * rng.normal(size=[BLOCKS, 50]) / np.sqrt(50)
        return compare(blocks, truth)

    def test_bias_is_found_at_its_size(self):
        found = self._compare(bias=0.3)
        self.assertAllClose(found["bias"], 0.3, rtol=0.05)
        self.assertAllClose(found["p"], 1e-4)
        self.assertTrue(found["bias_seen"])

    def test_without_bias_noise_adds_none(self):
        found = [self._compare(bias=0.0, noise=1.0, seed=seed) for seed in range(100)]
        self.assertLess(np.mean([f["bias"] for f in found]), 0.1)
        self.assertLess(np.mean([f["bias_seen"] for f in found]), 0.02)

    @parameterized.parameters(("normal", 50), ("heavy", 3))
    def test_without_bias_p_is_uniform(self, distribution, parameters):
        rng = np.random.default_rng(parameters)
        draw = rng.normal if distribution == "normal" else rng.standard_cauchy
        p = [sign_flip_p(draw(size=[BLOCKS, parameters])) for _ in range(80)]
        self.assertGreater(scipy.stats.kstest(p, "uniform").pvalue, 1e-3)

    def test_blocks_that_are_the_truth_show_no_bias(self):
        truth = np.array([3.0, 4.0])
        found = compare(np.tile(truth, [BLOCKS, 1]), truth)
        self.assertEqual((found["bias"], found["p"], found["bias_seen"]), (0.0, 1.0, False))

    def test_direction_and_length(self):
        truth = np.array([3.0, 4.0])
        found = compare(np.tile([[8.0, 6.0]], [BLOCKS, 1]), truth)
        self.assertAllClose([found["cosine"], found["norm_ratio"]], [0.96, 2.0])


class _MadeUp(Laboratory):
    """A laboratory whose estimates are 5 + `noise` of a seed."""

    def __init__(self, generator, noise):
        super().__init__(generator, None, batch_size=1)
        self._noise, self._size = noise, generator.count_params()

    def _estimator(self, spec):
        return (
            lambda seed: 5 + self._noise(seed) * tf.random.stateless_normal([self._size], seed),
            None,
        )


class LaboratoryTest(tf.test.TestCase, parameterized.TestCase):
    def test_measured_variance_is_the_variance_of_estimates(self):
        generator, discriminator = problems.networks(3, 3, 2)
        reward = DiscriminatorReward(discriminator)
        measured = Laboratory(generator, reward, batch_size=16).measure(
            parse("reinforce_loo"), 2000
        )

        def draw(seed):
            return problems.flat(
                estimate_gradient("reinforce_loo", generator, reward, batch_size=16, seed=seed)[0]
            )

        self.assertAllClose(
            measured.variance.sum(), problems.batch_means(draw, 2000).var(axis=0).sum(), rtol=0.1
        )

    @parameterized.named_parameters(
        # Of 400 draws: all alike; one 1,000 times the others; an infinite variance; no noise.
        ("normal", lambda seed: 1.0, 1 / 400, 3 / 400),
        ("planted", lambda seed: tf.where(seed[1] == 123, 1000.0, 1.0), 0.99, 1.0),
        ("heavy", lambda seed: tf.random.stateless_uniform([], seed) ** -2, 0.3, 1.0),
        ("none", lambda seed: 0.0, 1 / 400, 1 / 400),
    )
    def test_largest_batch_is_shown(self, noise, least, most):
        generator, _ = problems.networks(3, 3, 2)
        share = _MadeUp(generator, noise).measure(parse("reinforce"), 400).largest_share
        self.assertBetween(share, least, most)

    @parameterized.parameters(
        ("sequence", True), ("step", True), ("step", False), ("rollout", False)
    )
    @pytest.mark.slow
    def test_a_reward_that_jumps_shows_in_its_slopes(self, form, jumps):
        generator, _ = problems.networks(3, 3, 2)

        def reward(rows):
            share = rows[:, 1, 1]
            return tf.where(share > 0.5, share, 0.2 * share) if jumps else share**2

        lab = Laboratory(generator, reward, batch_size=128)
        p = lab.measure(parse(f"rebar:{form}"), 200).slope_p
        if jumps:
            self.assertLess(p, 1e-3)
        else:
            self.assertGreater(p, 1e-2)

    def test_control_networks_have_the_runs_sizes(self):
        experiment = Experiment(Config(seq_len=3, control_units=5, control_filters=7).resolved())
        lab = Laboratory.of_experiment(experiment, batch_size=2)
        for text, size in (("relax:sequence", 7), ("relax:step", 5), ("relax:rollout", 5)):
            with mock.patch.object(lab, "_train") as train:
                lab._estimator(parse(text))
            head = train.call_args.args[1].variables[-2]
            self.assertEqual(head.shape, (size, 1))

    @pytest.mark.slow
    def test_training_lowers_the_variance(self):
        generator, discriminator = problems.networks(3, 3, 3, reward_spread=3.0)
        totals = []
        for steps in (0, 400):
            lab = Laboratory(
                generator, DiscriminatorReward(discriminator), batch_size=32, control_steps=steps
            )
            totals.append(
                lab.measure(parse("relax:step:eta:temperature:per_example"), 1000).variance.sum()
            )
        self.assertLess(totals[1], 0.7 * totals[0])

    def test_a_critic_is_there_for_the_first_of_a_batchs_updates(self):
        generator, discriminator = problems.networks(3, 3, 2)
        lab = Laboratory(generator, DiscriminatorReward(discriminator), batch_size=16)
        measured = lab.measure(parse("actor_critic:reuse2"), 20)
        self.assertGreater(measured.variance.sum(), 0)

    def test_reference_is_unbiased_and_better_than_leave_one_out(self):
        generator, discriminator = problems.networks(3, 3, 3, reward_spread=3.0)
        lab = Laboratory(generator, DiscriminatorReward(discriminator), batch_size=128)
        measured = {name: lab.measure(parse(name), 400) for name in ("reference", "reinforce_loo")}
        self.assertFalse(compare(measured["reference"].blocks, lab.exact())["bias_seen"])
        self.assertLess(
            measured["reference"].variance.sum(), measured["reinforce_loo"].variance.sum()
        )


class PictureTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(1, 12, 40)
    def test_names_do_not_overlap(self, count):
        rng = np.random.default_rng(count)
        results = [
            {
                "estimator": f"relax:step:loo:eta:temperature:x{k}",
                "temperature": 1.0,
                "bias": 0.1,
                "bias_error": 0.01,
                "bias_seen": bool(k % 2),
                "relative_variance": np.exp(rng.normal() * (k % 3 == 0)),  # most have the same
            }
            for k in range(count)
        ]
        with mock.patch.object(drawing, "write") as written:
            measurements.plot_bias_and_variance(results, "a state", "unused.png")
        figure = written.call_args.args[0]
        figure.draw_without_rendering()
        # Text's: an Annotation's own has the line to the point in it.
        names = [Text.get_window_extent(name) for name in figure.axes[0].texts]
        self.assertLen(names, count)
        for above, below in itertools.combinations(names, 2):
            self.assertFalse(above.overlaps(below))
        for box in names:  # whole, and beside the points
            self.assertBetween(box.x0, figure.axes[0].bbox.x1, figure.bbox.x1)
            self.assertLessEqual(box.x1, figure.bbox.x1)
            self.assertBetween(box.y0, 0, figure.bbox.y1)


@pytest.mark.slow
class CommandTest(tf.test.TestCase):
    def test_command_writes_table_json_and_picture(self):
        with tempfile.TemporaryDirectory() as directory:
            arguments = [
                "--estimators=reinforce_loo,rebar:step:loo",
                "--draws=100",
                "--batch_size=32",
            ]
            arguments += ["--temperatures=0.5,1", f"--output={directory}", "--state_d_steps=200"]
            result = subprocess.run(
                [sys.executable, "-m", "regan_tf.compare", *arguments],
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(result.returncode, 0, result.stderr[-2000:])
            self.assertIn("rebar:step:loo @ 0.5", result.stdout)
            self.assertIn("1 epoch at 0.003, 200 discriminator steps", result.stdout)
            report = json.loads((Path(directory) / "compare.json").read_text())
            self.assertEqual(report["truth"], "exact")
            self.assertLen(report["results"], 4)
            self.assertIn("output/kernel", report["results"][0]["variance_by_layer"])
            for result in report["results"]:
                self.assertBetween(result["p"], 1e-4, 1)
                self.assertBetween(result["largest_share"], 1 / 100, 0.5)
                relaxed = result["estimator"].startswith("rebar")
                self.assertEqual(result["slope_p"] is not None, relaxed)
            self.assertTrue((Path(directory) / "compare.png").stat().st_size)

    def test_command_refuses_what_it_cannot_use(self):
        for argument, message in (
            ("--temperatures=0", "--temperatures=0 is not allowed"),
            ("--workdir=/nowhere", "--workdir=/nowhere holds no run"),
            ("--eta=nan", "eta=nan is not allowed"),
            ("--estimators=rebar:stp", "--estimators: 'rebar:stp' has the unknown option 'stp'"),
        ):
            result = subprocess.run(
                [sys.executable, "-m", "regan_tf.compare", argument],
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(result.returncode, 1)
            self.assertIn(message, result.stderr)
            self.assertNotIn("Traceback", result.stderr)
