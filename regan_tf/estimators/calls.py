"""What a reward in Python was asked for, in order, and what is made of it: the best sequences, and
how good they were after so many calls.

A call is one evaluation of a sequence that was not asked for before. No TensorFlow here.
"""

import array
import bisect
import json
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

TOP = (1, 10, 100)  # how many of the best a run shows the mean of
NOT_COMPONENTS = ("call", "iteration", "text", "tokens")  # what else a call's record has
_EVERY = 100  # calls between the points of the area under a curve, as PMO has it


class Calls:
    """The calls in order, in arrays: a number a component, and a sequence's tokens in as few bytes
    as they need.

    What tells a sequence from others, its key, is its text where a reward reads texts, else its
    tokens, `packed`.

    Args:
      vocab_size: V.

    Attributes:
      names: "reward", then the components; () before the first call.
    """

    def __init__(self, vocab_size: int):
        self.names: tuple[str, ...] = ()
        self._token = np.min_scalar_type(vocab_size - 1)
        self._places: dict[str | bytes, int] = {}
        self._keys: list[str | bytes] = []
        self._rows: list[bytes] = []
        self._columns: list[array.array] = []
        self._iterations = array.array("q")

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: str | bytes) -> bool:
        return key in self._places

    def packed(self, tokens: np.ndarray) -> list[bytes]:
        """int [N, T] -> the rows, as they are kept here."""
        return [row.tobytes() for row in tokens.astype(self._token)]

    def add(self, key: str | bytes, row: bytes, answer: dict[str, float], iteration: int) -> None:
        """The next call.

        Args:
          key: of its sequence.
          row: its tokens, `packed`.
          answer: the reward and its components, by name.
          iteration: in which it was asked for.
        """
        if not self.names:
            self.names = ("reward", *(name for name in answer if name != "reward"))
            self._columns = [array.array("d") for _ in self.names]
        self._places[key] = len(self)
        self._keys.append(key)
        self._rows.append(row)
        self._iterations.append(iteration)
        for name, column in zip(self.names, self._columns, strict=True):
            column.append(answer[name])

    def places(self, keys: Iterable[str | bytes]) -> list[int]:
        """At which calls, from 0, these sequences were asked for."""
        return [self._places[key] for key in keys]

    def before(self, iteration: int) -> int:
        """How many calls were made in earlier iterations."""
        return bisect.bisect_left(self._iterations, iteration)

    def column(self, name: str, places: Iterable[int] | None = None) -> np.ndarray:
        """One component of all calls, [N], or of those at `places`."""
        column = self._columns[self.names.index(name)] if self.names else array.array("d")
        return np.array(column if places is None else [column[i] for i in places])

    def tokens(self, places: Iterable[int]) -> np.ndarray:
        """The sequences of the calls at `places`, int32 [n, T]."""
        return np.array([np.frombuffer(self._rows[i], self._token) for i in places], np.int32)

    def record(self, place: int) -> dict:
        """A call as its file has it: its number, from 1, its iteration, text, tokens, reward and
        components; None for what is no number.
        """
        key, tokens = self._keys[place], np.frombuffer(self._rows[place], self._token).tolist()
        values = {n: c[place] for n, c in zip(self.names, self._columns, strict=True)}
        answer = {name: None if math.isnan(value) else value for name, value in values.items()}
        if "valid" in answer:
            answer["valid"] = bool(answer["valid"])
        return {
            "call": place + 1,
            "iteration": self._iterations[place],
            **({"text": key} if isinstance(key, str) else {}),
            "tokens": tokens,
            **answer,
        }

    def best(self, count: int) -> list[dict]:
        """The records of the best ones, the highest first, equal ones in their order."""
        return [self.record(place) for place in best_first(self.column("reward"), count)]

    def load(self, lines: Callable[[], Iterable[str]], counted: int) -> dict:
        """Adds the first calls of a file.

        Args:
          lines: opens the file, which is read twice, and gives its lines.
          counted: how many calls.
        Returns:
          A dict from the keys of the file's other sequences to what they got.
        Raises:
          ValueError: the file has fewer calls.
        """
        last = {found["call"]: place for place, found in enumerate(read(lines()))}
        others = {}
        for place, found in enumerate(read(lines())):
            (row,) = self.packed(np.array([found["tokens"]]))
            key, number = found.get("text", row), found["call"]
            if number == len(self) + 1 <= counted and last[number] == place:
                self.add(key, row, _answer(found), found["iteration"])
            else:
                others[key] = _answer(found)
        _require_all(len(self), counted)
        return {key: answer for key, answer in others.items() if key not in self}


def line(record: dict) -> str:
    """A call's record as a line of its file."""
    return json.dumps(record, ensure_ascii=False) + "\n"


def read(lines: Iterable[str]) -> Iterator[dict]:
    """The records of a file's lines; a last one cut short by a kill is left out. A run that was
    killed makes its last calls again: of each number the last line counts. Raises ValueError,
    naming the line, if one is no call.
    """
    for number, line in enumerate(lines, start=1):
        if line.endswith("\n"):
            yield _call(line, number)


def _call(line, number):
    try:
        found = json.loads(line)
        whole = type(found["call"]) is int and {"iteration", "tokens", "reward"} <= found.keys()
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise ValueError(
            f"line {number} is no call, a JSON object with call, iteration, tokens and reward"
        )
    return found


def made(lines: Iterable[str], counted: int) -> list[dict]:
    """The records of a file's first calls, `counted` of them, in order: of each number the last
    line. Raises ValueError if some are not there.
    """
    found = {record["call"]: record for record in read(lines)}
    numbers = range(1, counted + 1)
    _require_all(sum(number in found for number in numbers), counted)
    return [found[number] for number in numbers]


def _require_all(there, counted):
    if there < counted:
        raise ValueError(f"it has {there} of the {counted} calls that were made")


def _answer(record):
    """The reward and its components in a call's record."""
    given = {name: value for name, value in record.items() if name not in NOT_COMPONENTS}
    return {name: np.nan if value is None else float(value) for name, value in given.items()}


def best_first(rewards: np.ndarray, count: int) -> np.ndarray:
    """Which of [N] are the `count` highest, ties in their order; fewer if there are not so many."""
    if len(rewards) > count > 0:
        least = np.partition(rewards, len(rewards) - count)[len(rewards) - count]
        candidates = np.flatnonzero(rewards >= least)
    else:
        candidates = np.arange(len(rewards))
    return candidates[np.argsort(-rewards[candidates], kind="stable")[:count]]


def top_mean(rewards: np.ndarray, count: int) -> float:
    """The mean of the `count` highest of [N] rewards, or of all if there are not so many; NaN if
    there are none.
    """
    if len(rewards) > count > 0:
        rewards = np.partition(rewards, len(rewards) - count)[-count:]
    return float(np.mean(rewards)) if len(rewards) else np.nan


def top_means(rewards: np.ndarray) -> dict[str, float | None]:
    """top_1, top_10 and top_100 of the rewards of all calls; None before the first."""
    return {f"top_{k}": top_mean(rewards, k) if len(rewards) else None for k in TOP}


def auc_top(rewards: np.ndarray, count: int = 10, budget: int = 0) -> float:
    """The area under the curve of the `count` best calls' mean over the calls, divided by the
    budget: PMO's score (Gao et al., 2022).

    The curve is 0 before the first call, is measured every 100 calls and at the last one, and is
    linear between; after the last call it keeps its value up to the budget.

    Args:
      rewards: of the calls, in order, [N].
      count: of the best.
      budget: calls, what is beyond them does not count; 0: as many as were made.
    Returns:
      NaN if there are no calls.
    """
    calls = min(len(rewards), budget or len(rewards))
    if not calls:
        return np.nan
    points, means, best = [0], [0.0], rewards[:0]
    for end in (*range(_EVERY, calls, _EVERY), calls):
        best = np.concatenate([best, rewards[points[-1] : end]])
        best = best[best_first(best, count)]
        points.append(end)
        means.append(float(np.mean(best)))
    points.append(budget or calls)
    means.append(means[-1])
    area = np.diff(points) @ (np.array(means[1:]) + means[:-1]) / 2
    return float(area) / points[-1]
