"""What generated sequences begin with: the forms in which a user may give it, as one array."""

from typing import Any

import numpy as np
import tensorflow as tf


def padded(prompts: Any, length: int, vocab_size: int, end_token: int | None = None) -> np.ndarray:
    """Prompts as `complete` reads them: int32 [P, length], the given tokens first, then -1.

    Args:
      prompts: tokens, ints from 0 to V - 1: one prompt [L], or an array, a tensor or a list of
        them, which may differ in length, also 0. None: one that is empty.
      length: more than this no prompt may have.
      vocab_size: V.
      end_token: what only itself may follow; None: there is none.
    Raises:
      ValueError: prompts are not so; the message says which one.
    """
    rows = _rows(prompts)
    lengths = np.array([len(row) for row in rows])
    is_given = np.arange(max(length, lengths.max())) < lengths[:, np.newaxis]
    given = np.full(is_given.shape, -1, np.int64)
    given[is_given] = np.concatenate(rows)
    wrong = is_given & ((given < 0) | (given >= vocab_size))
    _refuse(wrong, rows, f"its tokens must be from 0 to {vocab_size - 1}")
    _refuse(is_given[:, length:], rows, f"it must have at most {length} tokens")
    if end_token is not None:
        ends = given == end_token
        after = np.cumsum(ends, axis=1) - ends > 0
        _refuse(is_given & after & ~ends, rows, f"nothing may follow its end token {end_token}")
    return given[:, :length].astype(np.int32)


def _rows(prompts):
    """A list of int arrays."""
    if prompts is None:
        return [np.zeros([0], np.int64)]
    if isinstance(prompts, tf.RaggedTensor):
        prompts = prompts.to_list()
    if not np.iterable(prompts) or any(isinstance(prompt, str) for prompt in prompts):
        raise ValueError(f"prompts={prompts!r} is not allowed: it must be tokens, which are ints")
    one = all(np.ndim(token) == 0 for token in prompts)
    rows = [np.asarray(row) for row in ([prompts] if one else prompts)]
    for i, row in enumerate(rows):
        if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
            raise ValueError(f"prompts[{i}]={row!r} is not allowed: it must be a list of ints")
    return [row.astype(np.int64) for row in rows]


def _refuse(wrong, rows, why):
    """Raises ValueError for the first row with something wrong, [P, ...]."""
    for i in np.flatnonzero(wrong.any(axis=1))[:1]:
        raise ValueError(f"prompts[{i}]={rows[i].tolist()} is not allowed: {why}")
