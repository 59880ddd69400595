"""Rewards in Python as estimators want them: asked once for each sequence, in processes of their
own where they are slow.
"""

import itertools
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
    sequence that was seen before is not asked for again.

    Args:
      function: what `text_reward` or `token_reward` gives.
      vocabulary: turns tokens into texts.
      name: module:function, from which worker processes load the function.
      workers: how many such processes; 0: the function is called in this one.

    Attributes:
      calls: how many different sequences were asked for.
      components: the means over the last batch of what the function gives besides the reward.
    """

    def __init__(
        self, function: PythonReward, vocabulary: Vocabulary, name: str = "", workers: int = 0
    ):
        self._function, self._vocabulary = function, vocabulary
        self._pool, self._workers = None, workers
        if workers:
            self._pool = reward_functions.pool(name, workers)
            # Also where the interpreter ends before this object.
            weakref.finalize(self, self._pool.shutdown, cancel_futures=True)
        self._known: dict[bytes, dict[str, float]] = {}
        self.calls = 0
        self.components: dict[str, float] = {}

    def __call__(self, rows: tf.Tensor) -> tf.Tensor:
        """Raises UnsuitableError: it has no value on relaxed rows, and no gradient."""
        raise rewards.UnsuitableError(
            f"the reward reads {self._function.reads}, so it has no gradient: use an estimator "
            "without a control variate (reinforce, reinforce_loo), or relax with eta=0, whose "
            "control variate is c_hat alone"
        )

    def of_tokens(self, tokens: tf.Tensor) -> tf.Tensor:
        """R of hard tokens, int32 [B, T] -> [B], float32; no gradient. A RewardError comes as an
        OpError with its message.
        """
        values = tf.numpy_function(self._of_batch, [tokens], tf.float32)
        return tf.ensure_shape(values, tokens.shape[:1])

    def _of_batch(self, tokens):
        keys = [row.tobytes() for row in tokens]
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        if new:
            asked = tokens[list(new.values())]
            self._known |= zip(new, self._asked(asked), strict=True)
            self.calls += len(new)
        found = [self._known[key] for key in keys]
        names = [name for name in found[0] if name != "reward"]
        self.components = {name: float(np.mean([f[name] for f in found])) for name in names}
        return np.array([f["reward"] for f in found], np.float32)

    def _asked(self, tokens):
        sequences = tokens
        if self._function.reads == "texts":
            sequences = self._vocabulary.to_text(tokens)
        if self._pool is None:
            return reward_functions.ask(self._function, sequences)
        size = -(-len(sequences) // (_PARTS_A_WORKER * self._workers))
        parts = [sequences[i : i + size] for i in range(0, len(sequences), size)]
        try:
            answers = self._pool.map(reward_functions.ask_loaded, parts)
            return list(itertools.chain.from_iterable(answers))
        except BrokenProcessPool:
            raise RewardError(
                f"ended its worker process, for one of {len(sequences)} sequences, the first of "
                f"which is {reward_functions.shown(sequences[0])}"
            ) from None
