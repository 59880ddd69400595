import pickle

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.settings import SettingError
from regan_tf.spec import EstimatorSpec


class SpecTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ({"estimator": None}, "estimator=None is not allowed: it must be of type str"),
        ({"control_samples": 2.5}, "control_samples=2.5 .* of type int"),
        ({"control_samples": True}, "control_samples=True .* of type int"),
        ({"leave_one_out": "False"}, "leave_one_out='False' .* of type bool"),
        ({"coupled": "no"}, "coupled='no' .* of type bool, or None"),
        ({"eta": "0.5"}, "eta='0.5' .* of type float"),
        ({"eta": None}, "eta=None .* of type float"),
        ({"eta": np.ones(2)}, "eta=array.* of type float"),
        ({"eta": np.float32("nan")}, "eta=nan .* a finite number"),
        ({"temperature": tf.constant(float("inf"))}, "temperature=inf .* a finite number"),
    )
    def test_what_is_of_another_type_or_not_finite_is_named(self, settings, message):
        with self.assertRaisesRegex(SettingError, f"^{message}$"):
            EstimatorSpec(**settings)

    def test_numbers_of_numpy_and_scalar_tensors_are_taken(self):
        variable = tf.Variable(0.5)
        for value in (1, np.int64(1), np.float32(0.5), tf.constant(0.5), variable):
            EstimatorSpec(eta=value, temperature=value)
        EstimatorSpec(control_samples=np.int64(2))
        self.assertFalse(EstimatorSpec(eta=np.float32(0)).differentiates_reward)

        @tf.function
        def closed_over(given):
            EstimatorSpec(eta=given, temperature=variable)
            return given

        closed_over(variable)

    def test_a_spec_is_taken_as_it_is_or_changed(self):
        spec = EstimatorSpec("rebar", control_variate="step")
        self.assertIs(EstimatorSpec.of(spec), spec)
        self.assertEqual(EstimatorSpec.of("rebar", control_variate="step"), spec)
        self.assertEqual(
            EstimatorSpec.of(spec, estimator="relax"),
            EstimatorSpec("relax", control_variate="step"),
        )

    def test_a_clip_of_nothing_is_refused(self):
        EstimatorSpec("reinforce", clip=0.1, updates_per_batch=2)
        with self.assertRaisesRegex(SettingError, "^clip=0.1 contradicts updates_per_batch=1, "):
            EstimatorSpec("reinforce", clip=0.1)

    @parameterized.parameters("mle", "straight_through", "all_actions_biased")
    def test_a_baseline_of_no_signal_is_refused(self, estimator):
        message = f"^baseline='weighted' contradicts estimator='{estimator}', "
        with self.assertRaisesRegex(SettingError, message):
            EstimatorSpec(estimator, baseline="weighted")

    def test_an_error_passes_between_processes(self):
        with self.assertRaises(SettingError) as caught:
            EstimatorSpec("reinforce", control_variate="step")
        copy = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual(str(copy), str(caught.exception))
        self.assertEqual(copy.of_flags(), caught.exception.of_flags())
