"""How far texts are from the training texts, by what their words mean: the Fréchet distance of
embeddings, as de Masson d'Autume et al. 2019 (ScratchGAN) judge generators, with other embeddings.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regan_tf.config import UserError
from regan_tf.tasks.data import Dataset


class FrechetDistance:
    """From half of the training texts; other texts of the same law have about 0.

    Samples that copy them have 0, too: see `copied` of TextMetrics. The order of words is nothing
    to these embeddings.

    Args:
      dataset: of texts, at least 4 to learn from.
    Raises:
      UserError: WordLlama is not installed.
    """

    def __init__(self, dataset: Dataset):
        self._vocabulary = dataset.vocabulary
        real = np.random.default_rng(0).permutation(dataset.real)
        self._others, reference = np.split(real, [len(real) // 2])
        self._reference = self._embedded(reference)

    def describe(self, tokens: np.ndarray) -> dict[str, float]:
        """frechet: of samples int [N, T], N >= 2; it is higher, the fewer they are."""
        return {"frechet": distance(self._embedded(tokens), self._reference)}

    def ideal(self, size: int) -> dict[str, float]:
        """That of so many training texts (at most half), which are not the reference."""
        return self.describe(self._others[:size])

    def _embedded(self, tokens):
        return embeddings(self._vocabulary.to_text(tokens))


def distance(x: np.ndarray, y: np.ndarray) -> float:
    """The Fréchet distance (squared 2-Wasserstein) of two normal laws with the means m and
    covariances C of x and y, embeddings [N, D] and [M, D]; N, M >= 2:

      |m_x - m_y|^2 + trace(C_x + C_y - 2 (C_x C_y)^(1/2)).
    """
    x, y = (np.asarray(values, np.float64) for values in (x, y))
    of_x, of_y = (np.atleast_2d(np.cov(values, rowvar=False)) for values in (x, y))
    # The eigenvalues of a product of covariances are not negative, but for rounding; the trace of
    # its root is the sum of their roots.
    values = np.linalg.eigvals(of_x @ of_y).real
    root = np.sqrt(np.maximum(values, 0)).sum()
    shift = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2)
    return float(shift + np.trace(of_x + of_y) - 2 * root)


def embeddings(texts: Sequence[str]) -> np.ndarray:
    """Of each text the mean of its tokens' vectors, by WordLlama, whose package has them: float32
    [N, 256].
    """
    return _model().embed(list(texts))


@functools.cache
def _model():
    try:
        import wordllama
    except ImportError:
        raise UserError(
            "--frechet needs WordLlama, which is not installed: pip install 'regan-tf[embeddings]'"
        ) from None
    # It looks for its tokenizer where its own package does not have it, and would then download it.
    directory = Path(wordllama.__file__).parent
    return wordllama.WordLlama.load(cache_dir=directory, disable_download=True)
