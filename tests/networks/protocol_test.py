"""What is asked of a generator and of a reward of one's own, and how it is said."""

import inspect

import tensorflow as tf
from absl.testing import parameterized

import regan_tf
from regan_tf.networks.protocol import check_generator, check_reward
from tests import problems


class CheckTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ("vocab_size", None, "Protocol.vocab_size is None: it must be of type int"),
        ("seq_len", 3.0, "Protocol.seq_len is 3.0: it must be of type int"),
        ("trainable_variables", [], "Protocol has no trainable_variables: it must be built"),
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

    def test_a_method_that_only_looks_like_a_faster_way_is_none(self):
        generator, discriminator = problems.networks(0)
        own = problems.Protocol(generator)
        own.unroll = own.pullback = lambda *_: self.fail("it is no FastGenerator")
        reward = discriminator.probability
        regan_tf.estimate_gradient("reinforce", own, reward, batch_size=2, seed=0)

    def test_a_faster_generator_has_all_of_it(self):
        class Half(regan_tf.FastGenerator):
            def unroll(self, noise):
                return noise

        with self.assertRaisesRegex(TypeError, "abstract methods? .*pullback.*teacher_force"):
            Half()

    @parameterized.parameters(
        (None, "the reward must be callable with .rows., and is None"),
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
