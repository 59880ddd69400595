"""How various samples are, and how new: what a generator that is trained for a reward loses first.
NumPy in, numbers out.
"""

import numpy as np
from scipy import sparse

from regan_tf.tasks.n_grams import n_grams
from regan_tf.tasks.text import Vocabulary

_COMPARED = 500  # samples, each with each other
_LONGEST = 3  # n-grams by which they are compared


class Variety:
    """Judges samples by each other and by the training data.

    Args:
      vocabulary: of the tokens.
      real: the training data, int [M, T].
    """

    def __init__(self, vocabulary: Vocabulary, real: np.ndarray):
        self._vocabulary, self._dtype = vocabulary, real.dtype
        self._known = set(self._keys(real))

    def describe(self, tokens: np.ndarray) -> dict[str, float]:
        """Of samples int [N, T], N >= 2, shares between 0 and 1:

        unique: different samples, over all.
        novel: those that are not in the training data, over all.
        diversity: 1 less the mean similarity of two of the first 500 samples, that is of their sets
          of n-grams, n = 1 to 3: what both have over what either has (Jaccard's index, for sets
          the same as Tanimoto's).
        """
        keys = self._keys(tokens)
        return {
            "unique": len(set(keys)) / len(keys),
            "novel": float(np.mean([key not in self._known for key in keys])),
            "diversity": self._diversity(tokens[:_COMPARED]),
        }

    def _keys(self, tokens):
        return [row.tobytes() for row in np.asarray(tokens, self._dtype)]

    def _diversity(self, tokens):
        size, sequences = len(tokens), (np.int64(tokens), self._vocabulary.lengths(tokens))
        parts = []  # of the matrix that says which sample has which n-gram
        for [(rows, grams)] in n_grams(sequences, longest=_LONGEST):
            shape = [size, 1 + grams.max(initial=0)]
            parts.append(sparse.csr_array((np.ones(len(rows)), (rows, grams)), shape))
        has = (sparse.hstack(parts, format="csr") > 0).astype(np.float64)
        both, numbers = (has @ has.T).toarray(), has.sum(axis=1)
        either = numbers[:, np.newaxis] + numbers - both
        similar = np.where(either > 0, both / np.maximum(either, 1), 1.0)  # empty ones are alike
        return float(1 - (similar.sum() - size) / (size * (size - 1)))
