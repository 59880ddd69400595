"""The estimate of an update's memory, where the discriminator is made of convolutions."""

import itertools

import tensorflow as tf
from absl.testing import parameterized

from regan_tf.config import Config
from regan_tf.training.memory import update_bytes


def _bytes(**options):
    sizes = {"batch_size": 64, "seq_len": 20, "discriminator": "cnn"}
    return update_bytes(Config(**(sizes | options)).resolved(), 50)


class ConvolutionsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ({"estimator": "reinforce"}, 2), ({"estimator": "rebar", "control_variate": "step"}, 4)
    )
    def test_in_the_step_form_they_read_as_many_sequences_a_row_as_it_has_steps(self, form, times):
        grown = _bytes(seq_len=80, **form) / _bytes(seq_len=40, **form)
        self.assertNear(grown, times, 0.15 * times)

    def test_filters_count(self):
        of_filters = [_bytes(estimator="reinforce", discriminator_dim=n) for n in (100, 200, 300)]
        more = [b - a for a, b in itertools.pairwise(of_filters)]
        self.assertAllEqual(more, [4 * 64 * 20 * 1720] * 2)


if __name__ == "__main__":
    tf.test.main()
