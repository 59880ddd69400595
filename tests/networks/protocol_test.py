"""What is asked of a generator and of a reward of one's own, and how it is said."""

import inspect

import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.networks.protocol import check_generator, check_reward
from tests import problems


class CheckTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ("vocab_size", None, "Protocol.vocab_size is None: it must be an int above 0"),
        ("seq_len", 3.0, "Protocol.seq_len is 3.0: it must be an int above 0"),
        ("seq_len", True, "Protocol.seq_len is True: it must be an int above 0"),
        ("seq_len", 0, "Protocol.seq_len is 0: it must be an int above 0"),
        ("compute_dtype", tf.float32, "compute_dtype is tf.float32: it must be of type str"),
        ("compute_dtype", "bfloat16", "compute_dtype is 'bfloat16': it must be float32 or float64"),
        ("end_token", 3, "Protocol.end_token is 3: it must be None, or an int from 0 to 2"),
        ("trainable_variables", [], "Protocol has no trainable_variables: build its"),
        (
            "trainable_variables",
            None,
            "Protocol has no trainable_variables: build its",
        ),
        ("step", None, r"Protocol.step must be callable with \(inputs, state\), and is None"),
        ("step", lambda inputs: inputs, r"with \(inputs, state\): too many positional arguments"),
        ("initial_state", lambda: (), r"with \(batch_size\): too many positional arguments"),
    )
    def test_what_a_generator_lacks_is_named(self, attribute, value, message):
        generator, discriminator = problems.networks(0)
        own = problems.Protocol(generator)
        check_generator(own)
        setattr(own, attribute, value)
        with self.assertRaisesRegex(TypeError, message):
            regan_tf.estimate_gradient(
                "reinforce", own, discriminator.probability, batch_size=2, seed=0
            )

    def test_a_faster_generator_has_all_of_it(self):
        class Half(regan_tf.FastGenerator):
            def unroll(self, noise):
                return noise

        with self.assertRaisesRegex(TypeError, "abstract methods? .*pullback.*teacher_force"):
            Half()

    @parameterized.parameters(
        (None, "the reward must be callable with .rows., and is None"),
        (regan_tf.DiscriminatorReward, "the class DiscriminatorReward: give an instance of it"),
        (lambda: 0, "too many positional arguments"),
        (lambda rows, more: 0, "missing a required argument: 'more'"),
    )
    def test_a_reward_is_called_with_rows_alone(self, reward, message):
        with self.assertRaisesRegex(TypeError, message):
            check_reward(reward)


class PublicTest(tf.test.TestCase):
    def _functions(self):
        """What users call: public functions, and the methods of public classes that we wrote."""
        for name in regan_tf.__all__:
            value = getattr(regan_tf, name)
            if inspect.isfunction(value):
                yield name, value
            elif inspect.isclass(value):
                own = {k: f for k, f in vars(value).items() if not k.startswith("_")}
                for method, function in own.items():
                    if isinstance(function, classmethod | staticmethod):
                        function = function.__func__
                    # TFP writes methods of its own into our class.
                    if inspect.isfunction(function) and function.__module__ == value.__module__:
                        yield f"{name}.{method}", function

    def test_signatures_have_types_and_docstrings(self):
        seen = []
        for name, function in self._functions():
            seen.append(name)
            signature = inspect.signature(function)
            untyped = [
                p.name
                for p in signature.parameters.values()
                if p.annotation is p.empty and p.name not in ("self", "cls")
            ]
            self.assertEqual(untyped, [], name)
            self.assertIsNot(signature.return_annotation, signature.empty, name)
            self.assertTrue(function.__doc__, name)
        self.assertContainsSubset(
            {"estimate_gradient", "ControlVariate.create", "Generator.step"}, seen
        )


if __name__ == "__main__":
    tf.test.main()
