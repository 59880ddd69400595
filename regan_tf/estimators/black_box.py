"""Rewards in Python as estimators want them: asked once for each sequence, in processes of their
own where they are slow.
"""

import collections
import functools
import itertools
import math
import threading
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import tensorflow as tf

from regan_tf.estimators import calls, reward_functions, rewards
from regan_tf.estimators.answers import RewardError, ask, shown
from regan_tf.estimators.reward_functions import PythonReward
from regan_tf.tasks.text import Vocabulary

_PARTS_A_WORKER = 4  # of a batch: the last ones to end leave the others idle for less


class BlackBoxReward(rewards.TokenReward):
    """R of sequences by a function of texts or of tokens, which is called outside of TensorFlow. A
    sequence that was seen before is not asked for again: what it got is kept.

    Args:
      function: what `text_reward` or `token_reward` gives.
      vocabulary: turns tokens into texts.
      name: module:function, from which worker processes load the function.
      workers: how many such processes, which run until `close`; 0: the function is called in this
        one.
      limit: of calls. What asks for more than are left has only those asked, and a RewardError;
        0: none.

    Attributes:
      ledger: the calls, `calls.Calls`: a sequence is called once.
      names: of the reward and its components; [] before the first answer.
      iteration: what the next calls are recorded with.
      spent: whether more calls than `limit` were asked for.
    """

    def __init__(
        self,
        function: PythonReward,
        vocabulary: Vocabulary,
        name: str = "",
        workers: int = 0,
        limit: int = 0,
    ):
        self._function, self._vocabulary = function, vocabulary
        self._name, self._workers, self._limit = name, workers, limit
        self._lock = threading.Lock()  # replicas ask from threads of their own
        self.ledger = calls.Calls(len(vocabulary))
        self.names: list[str] = []
        self._uncounted: dict[str | bytes, dict[str, float]] = {}  # known, but no call yet
        self._since: collections.Counter[int] = collections.Counter()
        self._write: Callable[[str], None] = lambda lines: None
        self.iteration, self.spent = 0, False
        self._pool, self._closing = None, None
        if workers:
            self._pool = reward_functions.pool(workers)
            # Before the interpreter takes apart what a pool needs to end.
            self._closing = weakref.finalize(self, self._pool.shutdown, cancel_futures=True)

    @property
    def calls(self) -> int:
        """How many different sequences were asked for."""
        return len(self.ledger)

    def close(self) -> None:
        """Ends its processes; it cannot be asked afterwards."""
        if self._closing:
            self._closing()

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """Raises UnsuitableError: it has no value on relaxed rows, and no gradient."""
        raise rewards.UnsuitableError(
            f"the reward reads {self._function.reads}, so it has no gradient: "
            f"{rewards.WITHOUT_GRADIENT}"
        )

    def of_tokens(self, tokens: tf.Tensor) -> tf.Tensor:
        """R of hard tokens, int32 [B, T] -> [B], float32; no gradient. A RewardError comes as an
        OpError with its message.
        """
        values = tf.numpy_function(self.of_array, [tokens], tf.float32)
        return tf.ensure_shape(values, tokens.shape[:1])

    def of_array(self, tokens: np.ndarray) -> np.ndarray:
        """R of int32 [B, T] in NumPy -> [B], float32. Raises RewardError."""
        keys = self._keys(tokens)
        with self._lock:
            if new := self._new(keys):
                self._call(new, tokens)
            places = self.ledger.places(keys)
            self._since.update(places)
            return self.ledger.column("reward", places).astype(np.float32)

    def try_on(self, tokens: np.ndarray) -> None:
        """Asks for int32 [N, T] without a call: what they get is kept until they are asked for.
        Raises RewardError.
        """
        new = self._new(self._keys(tokens))
        for part, answers in self._asked(list(new), tokens[list(new.values())]):
            self._uncounted |= zip(part, answers, strict=True)

    def keep_record(
        self, lines: Callable[[], Iterable[str]], counted: int, write: Callable[[str], None]
    ) -> None:
        """Goes on with a record in a file; what is known there is not asked for again.

        Args:
          lines: opens the file and gives its lines.
          counted: how many of its calls were made when the run was where it goes on. The others are
            made again when they come again, with what they got.
          write: adds lines to the file.
        Raises:
          ValueError: it has fewer calls; nothing is changed.
        """
        ledger = calls.Calls(len(self._vocabulary))
        self._uncounted |= ledger.load(lines, counted)
        self.ledger = ledger
        self.names = list(self.ledger.names) or self.names
        self._write = write

    def best(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The best sequences so far, int32 [n, T], and their rewards, float32 [n], n <= count: the
        highest first, equal ones by call order.
        """
        with self._lock:
            rewards = self.ledger.column("reward")
            places = calls.best_first(rewards, count)
            return self.ledger.tokens(places), rewards[places].astype(np.float32)

    def take_components(self) -> dict[str, float]:
        """What the function gave besides the reward, as means over all sequences since this was
        called last. What is no number, where a sequence is not valid, is left out.
        """
        with self._lock:
            times, self._since = self._since, collections.Counter()
            given = {n: self.ledger.column(n, times).tolist() for n in self.ledger.names[1:]}
        # fsum does not depend on the order, in which replicas may differ.
        found = {}
        for name, column in given.items():
            repeated = map(itertools.repeat, column, times.values())
            values = [x for x in itertools.chain.from_iterable(repeated) if not math.isnan(x)]
            if values:
                found[name] = math.fsum(values) / len(values)
        return found

    def _keys(self, tokens):
        """What tells sequences from each other: their texts, or their tokens."""
        if self._function.reads == "texts":
            return self._vocabulary.to_text(tokens)
        return self.ledger.packed(tokens)

    def _new(self, keys):
        """The keys that were not called for yet, each with its first row."""
        new: dict[str | bytes, int] = {}
        for i, key in enumerate(keys):
            if key not in self.ledger:
                new.setdefault(key, i)
        return new

    def _call(self, new, tokens):
        """Makes calls, as far as the limit goes; new: their rows of the tokens by key."""
        left = max(self._limit - self.calls, 0) if self._limit else len(new)
        waiting = dict(itertools.islice(new.items(), left))
        unknown = [key for key in waiting if key not in self._uncounted]
        known = self._uncounted.__contains__
        try:
            for part, answers in self._asked(unknown, tokens[[new[key] for key in unknown]]):
                self._uncounted |= zip(part, answers, strict=True)
                # In the order of the rows, as far as they are known.
                self._count(itertools.takewhile(known, list(waiting)), waiting, tokens)
        finally:  # with what is known beyond an error: it is not asked for again
            self._count(filter(known, list(waiting)), waiting, tokens)
        if left < len(new):
            self.spent = True
            raise RewardError(f"was asked for more than its {self._limit} calls")

    def _count(self, keys, waiting, tokens):
        """Makes calls of those that waited, whose answers are known."""
        first = self.calls
        for key in keys:
            (row,) = self.ledger.packed(tokens[waiting.pop(key)][np.newaxis])
            self.ledger.add(key, row, self._uncounted.pop(key), self.iteration)
        made = map(self.ledger.record, range(first, self.calls))
        if lines := "".join(map(calls.line, made)):
            self._write(lines)

    def _asked(self, keys, tokens):
        """Asks the function for sequences in parts, the workers' or all. Yields the keys of one
        with its answers, of one that fails as far as there are any; an error of one comes after the
        others that were begun.
        """
        texts = self._function.reads == "texts"
        size = -(-len(keys) // (_PARTS_A_WORKER * self._workers)) if self._pool else len(keys)
        starts = range(0, len(keys), max(size, 1))
        parts = [(keys if texts else tokens)[i : i + size] for i in starts]
        for number, answers in self._answers(parts):
            start, known = starts[number], [answer for answer in answers if answer is not None]
            for answer in known:
                self.names = self.names or list(answer)
                if answer.keys() != set(self.names):
                    given, first = map(", ".join, (answer, self.names))
                    raise RewardError(f"gave {given}, and {first} at first")
            asked = keys[start : start + len(answers)]
            yield [k for k, a in zip(asked, answers, strict=True) if a is not None], known

    def _answers(self, parts):
        """Yields the numbers of the parts, in their order, with what the function gives; of one
        that fails what `RewardError.answers` has.
        """
        if self._pool is None:  # then there is one part
            try:
                yield from enumerate(ask(self._function, part) for part in parts)
            except RewardError as error:
                yield 0, error.answers
                raise
            return
        asked, failed = self._submitted(self._pool, parts)
        for number, future in enumerate(asked):
            try:
                yield number, future.result()
            except CancelledError:
                continue
            except (RewardError, BrokenProcessPool) as error:
                failed = failed or error
                for other in asked[number:]:
                    other.cancel()
                yield number, getattr(error, "answers", [])
        if isinstance(failed, BrokenProcessPool):
            failed = RewardError(
                "lost a worker process, which the reward or somebody else ended, at one of "
                f"{sum(map(len, parts))} sequences, the first of which is "
                f"{shown(parts[0][0])}"
            )
        if failed:
            raise failed

    def _submitted(self, pool, parts):
        """The futures of the parts, and None; or those of the first ones, and why no more are taken
        on: a worker has ended meanwhile.
        """
        ask_there = functools.partial(reward_functions.ask_by_name, self._name)
        asked: list[Future] = []
        try:
            for part in parts:
                asked.append(pool.submit(ask_there, part))
        except BrokenProcessPool as error:
            return asked, error
        return asked, None
