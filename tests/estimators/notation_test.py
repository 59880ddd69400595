"""How estimators are written down."""

import tensorflow as tf
from absl.testing import parameterized

from regan_tf.estimators.notation import parse
from regan_tf.spec import EstimatorSpec


class NotationTest(tf.test.TestCase, parameterized.TestCase):
    def test_specs_are_read(self):
        self.assertEqual(parse("rebar:step"), EstimatorSpec("rebar", control_variate="step"))
        self.assertEqual(
            parse("relax:rollout:loo:eta:temperature:per_example:x4:independent"),
            EstimatorSpec(
                "relax", "rollout", leave_one_out=True, learn_eta=True, learn_temperature=True,
                variance_loss="per_example", control_samples=4, coupled=False,
            ),
        )  # fmt: skip
        self.assertEqual(
            parse("reinforce:loo:reuse4"),
            EstimatorSpec("reinforce", leave_one_out=True, updates_per_batch=4),
        )
        self.assertEqual(
            parse("doubly_robust_relax:step:critics2:reward_target:unread"),
            EstimatorSpec(
                "doubly_robust_relax", "step",
                critics=2, critic_target="reward", critic_reads="nothing",
            ),
        )  # fmt: skip
        self.assertEqual(parse("reinforce:lhs"), EstimatorSpec("reinforce", sampling="lhs"))
        self.assertEqual(
            parse("reinforce_loo:weighted"), EstimatorSpec("reinforce_loo", baseline="weighted")
        )

    @parameterized.parameters(
        "rebarr",
        "mle",
        "reinvent",
        "cot",
        "cot_unbiased",
        "rebar:stp",
        "rebar:x0",
        "reinforce:eta",
        "reinforce:weighted",
        "straight_through:loo",
        "reference:loo",
        "reinforce:rollout",
        "reinforce:per_example",
        "reinforce:sequence",
        "reinforce_loo:x1",
        "rebar:reuse2",
        "straight_through:sobol",
        "reinforce_loo:reuse0",
        "reinforce_loo:critics2",
        "rebar:unread",
        "doubly_robust:x2",
        "doubly_robust:reuse2",
        "doubly_robust_relax",
        "all_actions_biased:loo",
    )
    def test_bad_specs_are_named(self, text):
        with self.assertRaisesRegex(ValueError, f"^'{text}'.*; write ESTIMATOR"):
            parse(text)


if __name__ == "__main__":
    tf.test.main()
