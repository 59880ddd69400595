"""Rewards in Python as estimators want them: asked once for each sequence, in processes of their
own where they are slow.
"""

import functools
import itertools
import math
import threading
import weakref
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import tensorflow as tf

from regan_tf.estimators import reward_functions, rewards
from regan_tf.estimators.reward_functions import PythonReward, RewardError
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

    Attributes:
      calls: how many different sequences were asked for.
    """

    def __init__(
        self, function: PythonReward, vocabulary: Vocabulary, name: str = "", workers: int = 0
    ):
        self._function, self._vocabulary = function, vocabulary
        self._name, self._workers = name, workers
        self._lock = threading.Lock()  # replicas ask from threads of their own
        self._names: tuple[str, ...] = ()  # "reward", then components
        self._known: dict[bytes, tuple[float, ...]] = {}
        self._since: list[list[tuple[float, ...]]] = []  # what was given since `take_components`
        self.calls = 0
        self._pool, self._closing = None, None
        if workers:
            self._pool = reward_functions.pool(workers)
            # Before the interpreter takes apart what a pool needs to end.
            self._closing = weakref.finalize(self, self._pool.shutdown, cancel_futures=True)

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
        keys = [row.tobytes() for row in tokens]
        with self._lock:
            new = {key: i for i, key in enumerate(keys) if key not in self._known}
            if new:
                self._keep(new, self._asked(tokens[list(new.values())]))
            found = [self._known[key] for key in keys]
            self._since.append(found)
        return np.array([values[0] for values in found], np.float32)

    def take_components(self) -> dict[str, float]:
        """What the function gave besides the reward, as means over all sequences since this was
        called last.
        """
        with self._lock:
            given, self._since = list(itertools.chain.from_iterable(self._since)), []
        columns = zip(*given, strict=True)
        # fsum does not depend on the order, in which replicas may differ.
        means = [math.fsum(column) / len(given) for column in columns]
        return dict(zip(self._names[1:], means[1:], strict=True)) if given else {}

    def _keep(self, keys, answers):
        for key, answer in zip(keys, answers, strict=True):
            self._names = self._names or ("reward", *(n for n in answer if n != "reward"))
            if answer.keys() != set(self._names):
                names = ", ".join(answer)
                raise RewardError(f"gave {names}, and {', '.join(self._names)} at first")
            self._known[key] = tuple(answer[name] for name in self._names)
        self.calls += len(keys)

    def _asked(self, tokens):
        sequences = tokens
        if self._function.reads == "texts":
            sequences = self._vocabulary.to_text(tokens)
        if self._pool is None:
            return reward_functions.ask(self._function, sequences)
        size = -(-len(sequences) // (_PARTS_A_WORKER * self._workers))
        parts = [sequences[i : i + size] for i in range(0, len(sequences), size)]
        ask = functools.partial(reward_functions.ask_by_name, self._name)
        try:
            return list(itertools.chain.from_iterable(self._pool.map(ask, parts)))
        except BrokenProcessPool:
            raise RewardError(
                "lost a worker process, which the reward or somebody else ended, at one of "
                f"{len(sequences)} sequences, the first of which is "
                f"{reward_functions.shown(sequences[0])}"
            ) from None
