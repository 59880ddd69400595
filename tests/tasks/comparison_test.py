"""A generator against the law of its data: every number beside enumeration, within its standard
error, and found out where it is wrong.
"""

import math
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import optimize

from regan_tf.tasks import comparison, oracle_law
from regan_tf.tasks.law import Law
from tests.tasks import oracles

_SIZE = 4_000


def _exact(temperature=1.0):
    """What enumeration gives, in nats a token, js a sequence."""
    model, generator = oracles.model(), oracles.generator()
    log_p = np.sum(model.log_prob(oracles.SEQUENCES), axis=1)
    log_q = np.sum(generator.log_prob(oracles.SEQUENCES, temperature), axis=1).astype(float)
    p, q = np.exp(log_p), np.exp(log_q)
    middle = np.log((p + q) / 2)
    found = {
        "nll_test": -np.sum(p * log_q),
        "nll_oracle": -np.sum(q * log_p),
        "oracle_entropy": -np.sum(p * log_p),
        "generator_entropy": -np.sum(q * log_q),
        "kl_data_generator": np.sum(p * (log_p - log_q)),
        "kl_generator_data": np.sum(q * (log_q - log_p)),
        "js": oracles.T * (np.sum(p * (log_p - middle)) + np.sum(q * (log_q - middle))) / 2,
    }
    return {name: value / oracles.T for name, value in found.items()}


def _exact_at(level):
    """nll_test by enumeration, in nats a token, where nll_oracle is at the level: of the generator
    at the temperature that has it, and of the mixture of temperatures 0.3 and 1.
    """

    def above(temperature):
        return _exact(temperature)["nll_oracle"] - level

    by_temperature = _exact(optimize.brentq(above, 0.3, 1.0, xtol=1e-6))["nll_test"]
    share = above(1.0) / (above(1.0) - above(0.3))
    p = np.exp(np.sum(oracles.model().log_prob(oracles.SEQUENCES), axis=1))
    cold, warm = (
        np.exp(np.sum(oracles.generator().log_prob(oracles.SEQUENCES, t), axis=1))
        for t in (0.3, 1.0)
    )
    mixture = share * cold + (1 - share) * warm
    return by_temperature, -np.sum(p * np.log(mixture)) / oracles.T


def _law(size=_SIZE):
    model = oracles.model()
    (test,), *entropy = oracle_law.data_of(model, [size], seed=3)
    return Law(model, test, *entropy)


class ComparisonTest(tf.test.TestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.compared = comparison.Comparison(oracles.generator(), _law())
        cls.uniform = np.random.default_rng(5).random([_SIZE, oracles.T])
        cls.metrics = cls.compared.describe(cls.compared.sample(cls.uniform))

    @parameterized.parameters(*_exact())
    def test_it_is_what_enumeration_gives(self, name):
        found, error = self.metrics[name], self.metrics["standard_error"][name]
        exact = _exact()[name]
        self.assertBetween(error, 1e-5, 0.05)
        self.assertLess(abs(found - exact), 4 * error)
        wrong = {n: x for n, x in _exact().items() if n != name and abs(x - exact) > 0.05}
        self.assertGreaterEqual(len(wrong), 4)  # of six others
        for other in wrong.values():  # as if one were taken for the other
            self.assertGreater(abs(found - other), 4 * error)

    def test_its_error_is_that_of_many_repetitions(self):
        uniform = self.uniform.reshape([20, -1, oracles.T])
        repeated = [self.compared.describe(self.compared.sample(u)) for u in uniform]
        for name in ("nll_oracle", "generator_entropy", "kl_generator_data"):
            spread = np.std([r[name] for r in repeated], ddof=1)
            said = np.mean([r["standard_error"][name] for r in repeated])
            self.assertBetween(spread / said, 0.5, 1.6)  # of 19 degrees of freedom

    def test_the_law_itself_is_at_no_distance_from_itself(self):
        law = _law(500)
        compared = comparison.Comparison(law.model, law)
        found = compared.describe(compared.sample(self.uniform[:500]))
        for name in ("kl_data_generator", "kl_generator_data", "js"):
            self.assertAllClose(found[name], 0.0, atol=1e-6)

    def test_far_apart_js_is_ln_2(self):
        law, far = _law(500), oracles.generator()
        for model, likely in ((law.model, 1), (far, 0)):
            bias = model.output_layer.bias
            bias.assign(bias + 60 * tf.one_hot(likely, oracles.V, dtype=bias.dtype))
        ((test,), *_) = oracle_law.data_of(law.model, [500], seed=0)
        compared = comparison.Comparison(far, law._replace(test=test))
        found = compared.describe(compared.sample(self.uniform[:500]))
        self.assertAllClose(found["js"], math.log(2), rtol=1e-6)

    def test_it_follows_the_generator(self):
        generator = oracles.generator()
        compared = comparison.Comparison(generator, _law(200))
        tokens = compared.sample(self.uniform[:200])
        before = compared.describe(tokens)["nll_test"]
        generator.output_layer.bias.assign(generator.output_layer.bias + tf.range(4.0))
        self.assertNotAllClose(compared.describe(tokens)["nll_test"], before, rtol=1e-3)

    def test_the_end_has_all_test_sequences_and_a_curve(self):
        metrics, curve = self.compared.conclude([0, 1])
        self.assertEqual([p["temperature"] for p in curve], list(comparison.TEMPERATURES))
        for point in (curve[0], curve[4], curve[-1]):
            exact = _exact(point["temperature"])
            for name in ("nll_test", "nll_oracle", "kl_data_generator", "generator_entropy"):
                error = point["standard_error"][name]
                self.assertLess(abs(point[name] - exact[name]), 4.5 * error, (name, point))
        (at_one,) = (p for p in curve if p["temperature"] == 1)
        self.assertAllClose(metrics["nll_test"], at_one["nll_test"])
        self.assertAllClose(metrics["nll_test"], self.metrics["nll_test"])
        self.assertIsNone(metrics["nll_test_at_8"])  # so far from these laws
        self.assertIsNone(metrics["standard_error"]["nll_test_at_8"])

    @parameterized.parameters(1.33, 1.5)
    def test_at_a_level_it_is_what_enumeration_gives(self, level):
        """Cold and warm, or test and samples, exchanged are off by 4 errors and more."""
        with mock.patch.object(comparison, "_LEVELS", (level,)):
            metrics, _ = self.compared.conclude([0, 2])
        for name, exact in zip(("at", "mixed_at"), _exact_at(level), strict=True):
            name = f"nll_test_{name}_{level}"
            found, error = metrics[name], metrics["standard_error"][name]
            self.assertBetween(error, 1e-3, 0.02)
            self.assertLess(abs(found - exact), 4 * error)


if __name__ == "__main__":
    tf.test.main()
