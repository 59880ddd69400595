"""The examples: they run and learn, and the one file's gradient is the library's."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from examples import nk_landscape, transformer
from examples import relax_in_one_file as one_file
from regan_tf.estimators import estimate
from regan_tf.estimators.control_variate import ControlVariate
from regan_tf.spec import EstimatorSpec
from tests import problems

_BATCH = 16


class OneFileTest(tf.test.TestCase, parameterized.TestCase):
    def _networks(self, form):
        """With weights far from their initial ones, so that nothing is near zero."""
        keras.utils.set_random_seed(1)
        generator, discriminator = one_file.Generator(4), one_file.Discriminator(4)
        inputs = one_file.LENGTH * one_file.V if form == "sequence" else 8 + one_file.V
        network = one_file.ControlNetwork(inputs, units=5)
        rng = np.random.default_rng(0)
        for variable in generator.variables + discriminator.variables + network.variables:
            variable.assign(0.7 * rng.normal(size=variable.shape))
        return generator, discriminator, network

    @parameterized.product(estimator=["reinforce", "rebar", "relax"], form=["sequence", "step"])
    def test_its_gradient_is_the_librarys(self, estimator, form):
        generator, discriminator, network = self._networks(form)
        seed, temperature = tf.constant([3, 4]), 0.7
        of_control = {} if estimator == "reinforce" else {"control_variate": form, "coupled": False}
        spec = EstimatorSpec(estimator, temperature=temperature, **of_control)
        noise = estimate._noise(spec, generator, _BATCH, seed)
        gumbel, uniform = noise.gumbel, noise.v
        found, of_phi = one_file.estimate(
            estimator, form, generator, discriminator, network, gumbel, uniform, temperature
        )
        expected, diagnostics = regan_tf.estimate_gradient(
            spec, generator, lambda rows: discriminator(rows), batch_size=_BATCH, seed=seed,
            control=ControlVariate(spec, network),
        )  # fmt: skip
        self.assertAllClose(problems.flat(found), problems.flat(expected), rtol=1e-4, atol=1e-6)
        self.assertEqual(len(of_phi), len(diagnostics.control_gradient))
        for one, other in zip(of_phi, diagnostics.control_gradient, strict=True):
            self.assertAllClose(one, other, rtol=1e-3, atol=1e-6)
        if estimator == "relax":
            self.assertGreater(float(tf.norm(problems.flat(of_phi))), 1e-3)

    def test_it_stays_short(self):
        with open(one_file.__file__, encoding="utf-8") as file:
            self.assertLessEqual(len(file.readlines()), 200)


class LandscapeTest(tf.test.TestCase):
    def test_a_letter_counts_with_those_after_it(self):
        reward, rng = nk_landscape.landscape(1), np.random.default_rng(0)
        sites, letters = nk_landscape.SITES, len(nk_landscape.LETTERS)
        tokens = rng.integers(letters, size=[2_000, sites])
        fitness = reward(tokens)
        self.assertAllInRange(fitness, 0, 1)
        self.assertAllClose(fitness.mean(), 0.5, atol=0.06)  # tables of 64 random numbers
        # Fitness is a sum over windows: of two changes that share none, each has its own effect.
        one, other = tokens.copy(), tokens.copy()
        one[:, 2] = (one[:, 2] + 1) % letters
        other[:, 9] = (other[:, 9] + 1) % letters
        both = one + other - tokens
        self.assertAllClose(reward(both) - reward(one), reward(other) - fitness)
        near = tokens.copy()
        near[:, 3] = (near[:, 3] + 1) % letters
        both = one + near - tokens
        self.assertNotAllClose(reward(both) - reward(one), reward(near) - fitness, atol=0.01)
        self.assertNotAllClose(nk_landscape.landscape(2)(tokens), fitness, atol=0.01)

    @pytest.mark.slow
    def test_a_run_of_it_has_figures(self):
        mean, last, best, calls = nk_landscape.figures(0, 5, nk_landscape.WAYS["both"])
        self.assertBetween(mean, 0.4, 0.6)
        self.assertBetween(last, 0.4, best)
        self.assertBetween(calls, 64, 80)


class TransformerTest(tf.test.TestCase):
    def test_an_update_is_timed_against_the_lstms(self):
        figures = transformer.benchmark(lengths=(3,), rounds=1, calls=1)
        self.assertLen(figures, 4)
        self.assertIn("T=3, step form, Transformer", figures)
        self.assertTrue(all(first > 0 and later > 0 for first, later in figures.values()))


@pytest.mark.slow
class ExampleTest(tf.test.TestCase, parameterized.TestCase):
    def _last_figures(self, *arguments):
        """The first and the last number that the example prints of its progress."""
        result = subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False
        )
        self.assertEqual(result.returncode, 0, result.stderr[-2000:])
        words = [line.split(": ") for line in result.stdout.splitlines() if ": " in line]
        figures = [float(text.replace("reward ", "").split()[0]) for _, text in words]
        return figures[0], figures[-1]

    @parameterized.parameters(
        ("examples.own_generator",),
        ("examples.transformer",),
        ("examples.relax_in_one_file", "--iterations=100"),
    )
    def test_it_learns(self, *arguments):
        first, last = self._last_figures(*arguments)
        self.assertGreater(last, first + 0.3)


if __name__ == "__main__":
    tf.test.main()
