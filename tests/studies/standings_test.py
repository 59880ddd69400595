"""In which order the estimators stand, the tables, and the picture."""

from unittest import mock

import tensorflow as tf

from regan_tf.plots import drawing
from regan_tf.plots.standings import plot_standings
from regan_tf.studies.standings import has_tail, standings, tables


def _result(estimator, state, variance, bias=None, largest=0.01):
    return {
        "state": state,
        "seq_len": int(state.split("_")[1]),
        "estimator": estimator,
        "variance": variance,
        "variance_low": 0.9 * variance,
        "variance_high": 1.1 * variance,
        "relative_time": 1.5,
        "variance_x_time": 1.5 * variance,
        "bias": bias or 0.0,
        "bias_error": 0.02,
        "bias_seen": bias is not None,
        "p": 0.3 if bias is None else 1e-4,
        "largest_share": largest,
    }


def _board():
    run = {"variance": 0.25, "variance_low": 0.2, "variance_high": 0.3}
    return {
        "states": [
            {"state": "weak_3", "description": "length 3", "truth": "exact"},
            {
                "state": "weak_15",
                "description": "length 15",
                "truth": "doubly_robust@8000",
                "agreement": {"bias": 0.01, "bias_error": 0.02, "p": 0.7},
            },
        ],
        "at_states": [
            _result("reinforce", "weak_3", 0.1),
            _result("good", "weak_3", 0.5),
            _result("wrong", "weak_3", 0.001, bias=0.5),
            _result("reinforce", "weak_15", 300.0),
            _result("good", "weak_15", 0.0468, largest=0.4),
            _result("wrong", "weak_15", 0.002),
        ],
        "along_runs": [{"run": "recipe_15", "estimator": "good", **run}],
    }


class StandingsTest(tf.test.TestCase):
    def test_unbiased_first_then_by_the_variance_at_the_greatest_length(self):
        found = standings(_board())
        self.assertEqual([s.estimator for s in found], ["good", "reinforce", "wrong"])
        self.assertEqual([s.biased for s in found], [False, False, True])

    def test_a_tail_is_no_bias(self):
        board = _board()
        board["at_states"][2]["largest_share"] = 0.2
        self.assertFalse(any(s.biased for s in standings(board)))
        self.assertRegex(tables(board), r"\| wrong +\| tail ")

    def test_tables_have_what_was_measured(self):
        short, long = tables(_board()).split("Length 15:")
        self.assertRegex(short, r"reinforce_loo beside it: bias 0.010 \(noise 0.020\), p 0.7")
        self.assertRegex(short, r"\| wrong +\| \*\*0.50\*\* +\| 0.0001 +\| 0.001 \[")
        self.assertNotIn("along", short)
        self.assertRegex(long, r"\| good +\| none \(0.02\) .*\| 0.047 \[0.042, 0.051\] \(tail\) ")
        self.assertRegex(long, r"\| good .*\| 0.4 +\| 0.25 \[0.2, 0.3\] +\|")
        self.assertRegex(long, r"\| reinforce .*\| 300 \[270, 330\] .*\| 450 +\|")

    def _drawn(self, board):
        with mock.patch.object(drawing, "write") as written:
            plot_standings(standings(board), has_tail, "unused.png")
        figure = written.call_args.args[0]
        figure.draw_without_rendering()
        return figure

    def test_the_picture_names_biased_ones_in_red_with_their_bias(self):
        axes = self._drawn(_board()).axes
        self.assertLen(axes, 4)  # two lengths, runs, times
        labels = axes[0].get_yticklabels()
        self.assertEqual([t.get_text() for t in labels], ["good", "reinforce", "wrong\nbias 50 %"])
        self.assertEqual([t.get_color() for t in labels], ["black", "black", "C3"])
        self.assertGreater(axes[0].get_ylim()[0], axes[0].get_ylim()[1])  # the best on top

    def test_what_is_too_large_has_its_number(self):
        self.assertEqual([t.get_text() for t in self._drawn(_board()).axes[1].texts], ["300"])

    def test_a_board_without_runs_has_no_panel_of_them(self):
        self.assertLen(self._drawn(_board() | {"along_runs": []}).axes, 3)


if __name__ == "__main__":
    tf.test.main()
