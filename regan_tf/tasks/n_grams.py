"""N-grams of token sequences: what texts are compared by. NumPy alone."""

import itertools
from collections.abc import Iterator

import numpy as np


def n_grams(
    *groups: tuple[np.ndarray, np.ndarray], longest: int
) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
    """For n = 1 .. longest and each group (int64 [N, T], lengths [N]): its n-grams' rows, and their
    ids, shared by all groups.
    """
    width = max(tokens.shape[1] for tokens, _ in groups)
    tokens = np.concatenate([np.pad(t, [[0, 0], [0, width - t.shape[1]]]) for t, _ in groups])
    lengths = np.concatenate([lengths for _, lengths in groups])
    edges = np.cumsum([0, *(len(lengths) for _, lengths in groups)])
    ids, symbols = tokens, tokens.max(initial=0) + 1
    for n in range(1, longest + 1):
        if n > 1:  # an n-gram is the one before it, and a token more
            joined = ids[:, : max(width - n + 1, 0)] * symbols + tokens[:, n - 1 :]
            ids = np.unique(joined, return_inverse=True)[1].reshape(joined.shape)
        there = np.arange(ids.shape[1]) <= lengths[:, np.newaxis] - n
        rows, grams = np.nonzero(there)[0], ids[there]
        bounds = np.searchsorted(rows, edges)
        yield [
            (rows[a:b] - first, grams[a:b])
            for (a, b), first in zip(itertools.pairwise(bounds), edges, strict=False)
        ]
