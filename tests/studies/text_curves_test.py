"""How much higher one generator's BLEU is than another's at equal self-BLEU."""

import re

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from regan_tf.studies import text_curves


def _curve(steps, shift):
    return [{"temperature": t, "x": 0.1 * t, "y": 0.1 * t + shift} for t in steps]


class GainTest(parameterized.TestCase, tf.test.TestCase):
    """Of curves y = x + 0.1, each shifted, above curves y = x, each shifted."""

    def _gain(self, shifts, baseline_shifts):
        curves = {0: [_curve(range(1, 5), 0.1 + shift) for shift in shifts]}
        baseline = {0: [_curve(range(6), shift) for shift in baseline_shifts]}
        return text_curves.gain(curves, baseline, "y", "x")

    @parameterized.parameters(
        ((-0.03, 0, 0.03), (-0.04, 0, 0.04), "+0.1000 +- 0.0500 (4)"),
        ((0, 0, 0), (-0.04, 0, 0.04), "+0.1000 +- 0.0400 (4)"),
        ((-0.03, 0, 0.03), (0, 0), "+0.1000 +- 0.0300 (4)"),
        ((-0.03, 0, 0.03), (0,), "+0.1000 (4)"),
    )
    def test_has_the_noise_of_both(self, shifts, baseline_shifts, expected):
        self.assertEqual(self._gain(shifts, baseline_shifts), expected)

    def test_seeds_are_paired(self):
        # What a seed has in common with its baseline, far more than the gain, cancels.
        curves = {
            s: [_curve(range(1, 5), 0.001 + s), _curve(range(1, 5), 0.003 + s)] for s in range(8)
        }
        baseline = {s: [_curve(range(6), s)] for s in range(8)}
        found = text_curves.gain(curves, baseline, "y", "x")
        self.assertEqual(found, "+0.0020 [+0.0020, +0.0020], p = 0.0078 (4)")
        unpaired = text_curves.gain({s: curves[s] for s in range(5)}, baseline, "y", "x")
        self.assertTrue(re.match(r"-1\.498\d \+- \d", unpaired), unpaired)

    def test_points_of_one_curve_gain_nothing_over_each_other(self):
        # Straight lines between the baseline's points would find +0.0043.
        def curve(temperatures):
            return [{"temperature": t, "x": t, "y": np.sqrt(t)} for t in temperatures]

        baseline = {0: [curve((0.8, 0.55, 0.35, 0.2))]}
        found = text_curves.gain({0: [curve((0.675, 0.45, 0.275))]}, baseline, "y", "x")
        self.assertLess(abs(float(found.split()[0])), 5e-4)

    def test_a_seed_counts_where_its_own_baseline_reaches(self):
        # Every other seed's baseline ends below the last point, which would gain 1 more.
        def curve(s):
            return [*_curve((1, 2, 3), s + 0.1), {"temperature": 4, "x": 0.4, "y": s + 1.5}]

        curves = {s: [curve(s)] for s in range(8)}
        baseline = {s: [_curve(range(4), s)] for s in range(8)}
        found = text_curves.gain(curves, baseline, "y", "x")
        self.assertRegex(found, r"^\+0\.1000 .* \(3\)$")
        baseline |= {s: [_curve(range(6), s)] for s in range(0, 8, 2)}
        found = text_curves.gain(curves, baseline, "y", "x")
        self.assertRegex(found, r"^\+0\.2250 .* \(3\.5\)$")

    def test_a_few_seeds_that_overlap_are_not_tested(self):
        curves = {s: [_curve((1, 2), s + 0.1)] for s in range(8)}
        baseline = {s: [_curve(range(6) if s < 3 else (8, 9), s)] for s in range(8)}
        self.assertEqual(text_curves.gain(curves, baseline, "y", "x"), "+0.1000 (2)")

    def test_few_texts_may_have_one_diversity_at_several_temperatures(self):
        points = [{"temperature": t, "x": x, "y": x} for t, x in ((1, 0.0), (2, 0.0), (3, 0.5))]
        curves = {0: [_curve((1, 2), 0.1)]}
        self.assertEqual(text_curves.gain(curves, {0: [points]}, "y", "x"), "+0.1000 (2)")
        single = {0: [points[:2]]}
        self.assertEqual(text_curves.gain({0: [points]}, single, "y", "x"), "+0.0000 (2)")

    def test_curves_that_share_no_diversity_say_so(self):
        curves, baseline = {0: [_curve((8, 9), 0)]}, {0: [_curve(range(6), 0)]}
        self.assertEqual(text_curves.gain(curves, baseline, "y", "x"), "no overlap")


class LeastNLLTest(parameterized.TestCase, tf.test.TestCase):
    def _curve(self, temperatures, best):
        return [
            {"temperature": t, "nll_per_token": 3.0 + 2.0 * np.log(t / best) ** 2}
            for t in temperatures
        ]

    @parameterized.parameters(
        ((0.6, 0.8, 1.0, 1.2), 1.05, 3.0, 1.05),
        ((1.2, 1.0, 0.8), 1.15, 3.0, 1.15),  # the least point is the last
        ((0.8, 0.9, 1.0), 1.1, 3.0 + 2.0 * np.log(1.1) ** 2, 1.0),  # nothing beyond the curve
    )
    def test_is_where_the_parabola_is(self, temperatures, best, nll, temperature):
        found = text_curves.least_nll(self._curve(temperatures, best))
        self.assertAllClose(found, (nll, temperature))
