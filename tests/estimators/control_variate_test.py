"""What is learned in a control variate: equation (19), and the networks' sizes."""

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.estimators.control_networks import ControlNetwork, StepControlNetwork
from regan_tf.estimators.control_variate import ControlVariate, feature_dim
from regan_tf.estimators.discriminator_rewards import DiscriminatorReward
from regan_tf.graphs import compiled
from regan_tf.spec import EstimatorSpec
from tests import problems


class LearnedTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        form=["sequence", "step", "rollout"],
        loss=["batch", "per_example"],
        options=[{}, {"leave_one_out": True, "control_samples": 2}],
    )
    @pytest.mark.slow
    def test_gradient_of_the_variance_loss_matches_finite_differences(self, form, loss, options):
        self._check_variance_gradient(form, loss, options)

    @parameterized.parameters({}, {"baseline": "weighted"})
    def test_in_short_gradient_of_the_variance_loss_matches_finite_differences(self, **options):
        self._check_variance_gradient("step", "batch", {"leave_one_out": True} | options)

    def _check_variance_gradient(self, form, loss, options):
        generator, discriminator = problems.networks(3, 3, 3, dtype="float64")
        reward = DiscriminatorReward(discriminator)
        spec = EstimatorSpec(
            "relax", control_variate=form, variance_loss=loss,
            learn_eta=True, eta=0.8, learn_temperature=True, temperature=0.7, **options
        )  # fmt: skip
        network = ControlNetwork(3, 2, dtype="float64")
        if form != "sequence":
            network = StepControlNetwork(feature_dim(generator, reward), 3, 4, dtype="float64")
        rng = np.random.default_rng(0)
        for variable in network.variables:
            variable.assign(rng.normal(size=variable.shape))

        control = ControlVariate(spec, network)

        def estimate():
            return regan_tf.estimate_gradient(
                spec, generator, reward, batch_size=5, seed=3, control=control, row_gradients=True
            )

        @compiled
        def value():
            gradient, diagnostics = estimate()
            if loss == "batch":
                return tf.reduce_sum(problems.flat(gradient) ** 2)
            return tf.reduce_mean(tf.add_n(diagnostics.row_gradients.squared_norms))

        found = estimate()[1].control_gradient
        self.assertLen(found, len(control.variables))
        for variable, gradient in zip(control.variables, found, strict=True):
            direction, start = rng.normal(size=variable.shape), variable.numpy()
            step, values = (1e-2 if variable.dtype == "float32" else 1e-5), []
            for sign in (1, -1):
                variable.assign(start + sign * step * direction)
                values.append(float(value()))
            variable.assign(start)
            tolerance = 3e-3 if variable.dtype == "float32" else 1e-4
            self.assertAllClose(
                np.sum(gradient * direction),
                (values[0] - values[1]) / (2 * step),
                rtol=tolerance,
                atol=1e-7,
            )


class OfAnotherSpecTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ({"learn_eta": True}, {}),
        ({}, {"learn_eta": True}),
        ({"learn_temperature": True}, {"learn_eta": True}),
        ({}, {"estimator": "relax"}),
        (
            {"estimator": "relax", "control_variate": "step"},
            {"estimator": "relax", "control_variate": "sequence"},
        ),
    )
    def test_what_is_learned_must_be_what_the_spec_says(self, made, asked):
        generator, discriminator = problems.networks(0)
        reward = DiscriminatorReward(discriminator)
        control = ControlVariate.create(EstimatorSpec(**made), generator, reward)
        spec = EstimatorSpec(**asked)
        with self.assertRaisesRegex(ValueError, ", unlike the one given: pass control="):
            regan_tf.estimate_gradient(
                spec, generator, reward, batch_size=4, seed=0, control=control
            )

    def test_eta_and_lambda_that_are_not_learned_are_the_specs(self):
        generator, discriminator = problems.networks(0)
        spec = EstimatorSpec("rebar", eta=0.5, temperature=0.3)
        found, expected = (
            regan_tf.estimate_gradient(
                spec, generator, discriminator.probability, batch_size=4, seed=0, control=control
            )[0]
            for control in (ControlVariate(EstimatorSpec("rebar")), None)
        )
        self.assertAllClose(problems.flat(found), problems.flat(expected))


class SizesTest(tf.test.TestCase):
    def test_networks_have_the_size_that_their_form_asks_for(self):
        generator, discriminator = problems.networks(0)
        for form, size in (("sequence", 7), ("step", 5), ("rollout", 5)):
            spec = EstimatorSpec("relax", control_variate=form)
            reward = DiscriminatorReward(discriminator)
            network = ControlVariate.create(spec, generator, reward, 7, 5).network
            self.assertEqual(network.head.kernel.shape, (size, 1))

    def test_network_has_the_generators_dtype(self):
        generator, discriminator = problems.networks(0, dtype="float64")
        reward = DiscriminatorReward(discriminator)
        for form in ("sequence", "step"):
            spec = EstimatorSpec("relax", control_variate=form)
            control = ControlVariate.create(spec, generator, reward)
            gradient, _ = regan_tf.estimate_gradient(
                spec, generator, reward, batch_size=2, seed=0, control=control
            )
            self.assertEqual({v.dtype for v in control.variables}, {"float64"})
            self.assertEqual({g.dtype for g in gradient}, {tf.float64})

    def test_rebar_has_none(self):
        generator, discriminator = problems.networks(0)
        control = ControlVariate.create(EstimatorSpec("rebar"), generator, discriminator)
        self.assertIsNone(control.network)
        self.assertEmpty(control.variables)


if __name__ == "__main__":
    tf.test.main()
