"""What XLA compiles gives what TensorFlow gives, to the second derivative."""

import contextlib
import functools
import itertools
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from regan_tf import Discriminator
from regan_tf.graphs import compiled
from regan_tf.networks import fused, recurrence
from tests import problems


def _compiled(function, is_fused):
    """The function, traced where `recurrence` may or may not use XLA."""
    return compiled(fused.allowed()(function) if is_fused else function)


class FusedTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(recurrence, "_FUSED_FROM", 0))

    def _assert_alike(self, function, *arguments):
        found, expected = (_compiled(function, is_fused)(*arguments) for is_fused in (True, False))
        for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
            self.assertAllClose(a, b, rtol=1e-8, atol=1e-8)
        return tf.nest.flatten(expected)

    def test_discriminator_of_rows(self):
        """D, its slope in the rows and in all weights, and the slope of that."""
        _, discriminator = problems.networks(0, 3, dtype="float64", end_token=1)
        rows = tf.nn.softmax(tf.random.stateless_normal([4, 5, 3], [1, 2], dtype=tf.float64))
        inputs = [rows, *(v.value for v in discriminator.trainable_variables)]

        def slopes(rows):
            inputs[0] = rows
            with tf.GradientTape(persistent=True) as outer:
                outer.watch(inputs)
                with tf.GradientTape() as tape:
                    tape.watch(inputs)
                    value = discriminator(rows)
                slope = tape.gradient(value, inputs)
                size = tf.add_n([tf.reduce_sum(g**3) for g in slope])
            return value, slope, outer.gradient(size, inputs, unconnected_gradients="zero")

        figures = self._assert_alike(slopes, rows)
        self.assertNotAllClose(figures[1], tf.zeros_like(rows))

    @parameterized.parameters(None, 1)
    def test_generator(self, end_token):
        """What it writes, and its log-probabilities' gradient."""
        generator, _ = problems.networks(0, 3, 5, dtype="float64", end_token=end_token)
        theta = [v.value for v in generator.trainable_variables]

        def run(noise):
            with tf.GradientTape() as tape:
                unrolled = generator.unroll(noise)
                total = tf.reduce_sum(unrolled.log_probs**2)
            return unrolled.tokens, unrolled.log_probs, problems.flat(tape.gradient(total, theta))

        self._assert_alike(run, tf.random.stateless_uniform([6, 5], [1, 2], dtype=tf.float64))

    def test_another_way_goes_back(self):
        """What one loop collected the other can read, both ways."""
        generator, _ = problems.networks(0, 3, 5, dtype="float64")
        noise = tf.random.stateless_uniform([6, 5], [1, 2], dtype=tf.float64)

        def run(forward, backward):
            with fused.allowed() if forward else contextlib.nullcontext():
                unrolled = generator.unroll(noise)
            with fused.allowed() if backward else contextlib.nullcontext():
                return problems.flat(generator.pullback(unrolled, tf.ones([6, 5], tf.float64))[0])

        expected = run(False, False)
        for limit, ways in itertools.product((0, 128), ((True, False), (False, True))):
            self.enterContext(mock.patch.object(recurrence, "UNROLL_LIMIT", limit))
            self.assertAllClose(compiled(functools.partial(run, *ways))(), expected, rtol=1e-9)

    def test_gradients_cross_other_functions(self):
        """A function of the user's own, also to the second derivative, and a loop; with an int."""

        def cubes(x, n):
            return fused.call(lambda x, n: [x**3, n + 1], [x, n])

        inner = tf.function(cubes)

        def looped(x, n):
            return tf.while_loop(lambda x, n: n < 3, cubes, [x, n])

        x = tf.constant([2.0, 0.5])
        for function, powers in ((cubes, 3), (inner, 3), (looped, 9)):

            @tf.function
            def slopes(x, function=function):
                with tf.GradientTape() as outer:
                    outer.watch(x)
                    with tf.GradientTape() as tape:
                        tape.watch(x)
                        value, _ = function(x, tf.constant(1))
                    slope = tape.gradient(value, x)
                return slope, outer.gradient(slope, x)

            slope, curvature = slopes(x)
            self.assertAllClose(slope, powers * x ** (powers - 1), rtol=1e-5)
            self.assertAllClose(curvature, powers * (powers - 1) * x ** (powers - 2), rtol=1e-5)

    def test_threads_do_not_leave_it_open(self):
        """One that begins before another has ended may end after it."""
        first, second = fused.allowed(), fused.allowed()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        self.assertTrue(compiled(lambda: tf.constant(fused.is_allowed()))())
        second.__exit__(None, None, None)
        self.assertFalse(compiled(lambda: tf.constant(fused.is_allowed()))())

    def test_says_what_it_must_not_read(self):
        """A tensor that is no argument would get no gradient."""
        other = tf.random.stateless_normal([2], [1, 2])

        def read(x):
            return fused.call(lambda x: [x * other], [x])

        with self.assertRaisesRegex(ValueError, "no argument"):
            compiled(read)(tf.ones([2]))

    def test_is_for_training_alone(self):
        """A model is exported as plain TensorFlow, and so is one that is called."""
        discriminator, rows = Discriminator(3, 4), tf.TensorSpec([2, 5, 3])

        def compiles(is_fused):
            graph = _compiled(discriminator.call, is_fused).get_concrete_function(rows).graph
            functions = graph.as_graph_def().library.function
            return any(f.attr["_XlaMustCompile"].b for f in functions)

        self.assertTrue(compiles(True))
        self.assertFalse(compiles(False))
        with mock.patch.object(recurrence, "_FUSED_UNITS", 3):  # where XLA would be slower
            self.assertFalse(compiles(True))


if __name__ == "__main__":
    tf.test.main()
