"""What a leaderboard says: in which order the estimators stand, and tables in Markdown."""

from dataclasses import dataclass

import numpy as np
from tabulate import tabulate

from regan_tf.estimators.bias import BIAS_SEEN, BLOCKS

_TAIL = 0.1  # above this share of one batch the sample variance is none


@dataclass(frozen=True)
class Standing:
    """One estimator's row.

    Attributes:
      estimator: as `leaderboard.ESTIMATORS` has it.
      at_states, along_runs: its results by the names of states and of runs.
    """

    estimator: str
    at_states: dict
    along_runs: dict

    @property
    def biases(self):
        """Those that are seen, of the states."""
        return [r["bias"] for r in self.at_states.values() if sees_bias(r)]

    @property
    def biased(self):
        """Whether a bias is seen in any state."""
        return bool(self.biases)

    @property
    def mean_variance(self):
        """The geometric mean over the states of the greatest length."""
        length = max(r["seq_len"] for r in self.at_states.values())
        return geometric_mean(r["variance"] for r in self.of_length(length).values())

    def of_length(self, seq_len):
        """Its results at the states of a length."""
        return {name: r for name, r in self.at_states.items() if r["seq_len"] == seq_len}


def has_tail(result):
    """Whether so many draws have not measured the variance at a state: it is one batch's."""
    return result["largest_share"] > _TAIL


def sees_bias(result):
    """Whether a bias is seen at a state. A tail is skewed: most blocks lack its rare draws, and lie
    on one side of the truth for that alone.
    """
    return result["bias_seen"] and not has_tail(result)


def geometric_mean(values):
    """Of numbers at least 0."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.mean(np.log(list(values)))))


def standings(board):
    """A Standing for each estimator at states, of a `leaderboard.measure`: the unbiased first, by
    their variance, then the others.
    """
    names = dict.fromkeys(r["estimator"] for r in board["at_states"])

    def of(name, results, key):
        return {r[key]: r for r in board[results] if r["estimator"] == name}

    found = [Standing(n, of(n, "at_states", "state"), of(n, "along_runs", "run")) for n in names]
    return sorted(found, key=lambda s: (s.biased, s.mean_variance))


def tables(board):
    """Markdown: what the states are, and a table of each length."""
    rows = standings(board)
    lengths = dict.fromkeys(r["seq_len"] for r in board["at_states"])
    parts = [_states(board)]
    parts += [f"Length {length}:\n\n{_table(board, rows, length)}" for length in lengths]
    return "\n\n".join(parts)


def _states(board):
    lines = []
    for state in board["states"]:
        truth = f"truth: {state['truth']}"
        if "agreement" in state:
            a = state["agreement"]
            truth += (
                "; as many batches of reinforce_loo beside it: bias "
                f"{a['bias']:.3f} (noise {a['bias_error']:.3f}), p {a['p']:.2g}"
            )
        lines.append(f"- {state['state']}: {state['description']}; {truth}")
    return "\n".join(lines)


def _table(board, rows, length):
    runs = list(dict.fromkeys(r["run"] for r in board["along_runs"]))
    runs = runs if length == max(r["seq_len"] for r in board["at_states"]) else []
    states = list(dict.fromkeys(r["state"] for r in board["at_states"] if r["seq_len"] == length))
    body = []
    for row in rows:
        results = [row.at_states[state] for state in states]
        buy = geometric_mean(r["variance_x_time"] for r in results)
        body.append(
            [
                row.estimator,
                _bias(results),
                f"{min(r['p'] for r in results):.1g}",
                *map(_variance, results),
                _number(np.median([r["relative_time"] for r in results])),
                _number(buy),
                f"{max(r['largest_share'] for r in results):.2g}",
                *(_interval(row.along_runs[run]) if run in row.along_runs else "" for run in runs),
            ]
        )
    headers = ["estimator", "bias", "least p", *(f"variance, {s.split('_')[0]}" for s in states)]
    headers += ["time", "variance x time", "largest", *(f"along {run}" for run in runs)]
    return tabulate(body, headers, tablefmt="pipe", disable_numparse=True)


def _bias(results):
    """The bias of each state where one is seen; else the noise that might have hidden one."""

    def of_state(result):
        if sees_bias(result):
            return f"**{result['bias']:.2f}**"
        return "tail" if result["bias_seen"] else "none"

    if not any(r["bias_seen"] for r in results):
        return f"none ({max(r['bias_error'] for r in results):.2g})"
    return ", ".join(map(of_state, results))


def _variance(result):
    return _interval(result) + (" (tail)" if has_tail(result) else "")


def _interval(result):
    value, low, high = (_number(result[f"variance{end}"]) for end in ("", "_low", "_high"))
    return value if low == high else f"{value} [{low}, {high}]"


def _number(value):
    """Two significant digits, without an exponent."""
    return np.format_float_positional(float(f"{value:.2g}"), trim="-")


LEGEND = (
    "bias: relative to the gradient's norm, in each state where it is seen "
    f"(p < {BIAS_SEEN:g}), else\n"
    "the noise; tail: a small p beside one, no verdict;\n"
    f"p: of no bias, by random flips of the signs of {BLOCKS} blocks' differences;\n"
    "variance: of one estimate, relative to reinforce_loo's, with its 95 % interval;\n"
    "time: of one estimate without what trains its parts, relative to reinforce_loo's in turn;\n"
    "variance x time: geometric mean over the states;\n"
    f"largest: the largest share of one batch in a variance; above {_TAIL:g} (tail) it is none;\n"
    "along: ratio of the means over a run's updates but the first tenth, [least, most] over seeds"
)
