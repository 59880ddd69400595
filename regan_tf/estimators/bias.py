"""The bias of a measured gradient beside the truth, and how surely it is one."""

import numpy as np
from scipy import stats

BLOCKS = 20  # independent parts of the draws, from which standard errors are taken
BIAS_SEEN = 1e-3  # a bias is called seen where p is below
_FLIPS = 9_999


def compare(blocks: np.ndarray, truth: np.ndarray, truth_blocks: np.ndarray | None = None) -> dict:
    """Bias and size of a measured gradient beside the truth.

    Args:
      blocks: [BLOCKS, P], mean gradients of independent parts of the draws.
      truth: [P].
      truth_blocks: [BLOCKS, P] if the truth is itself a mean of draws, else None: exact.
    Returns:
      A dict: `bias` relative to the truth's norm, the square root of an unbiased estimate of its
      square (0 where that is negative); `bias_error`, the bias that noise alone would show; `p`,
      the p-value of no bias (see `sign_flip_p`), and `bias_seen`, whether it is below BIAS_SEEN;
      `cosine` and `norm_ratio` of the mean gradient to the truth.
    """
    difference = blocks - (truth if truth_blocks is None else truth_blocks)
    count, total = len(difference), difference.sum(axis=0)
    # E[d_k . d_l] for independent blocks k != l is the squared bias: no noise adds to it. Its error
    # by the jackknife.
    square_sum = np.sum(difference**2)
    squared_bias = (total @ total - square_sum) / (count * (count - 1))
    left_out = [
        (((total - d) @ (total - d)) - (square_sum - d @ d)) / ((count - 1) * (count - 2))
        for d in difference
    ]
    error = np.sqrt((count - 1) * np.var(left_out))
    norm, mean = np.linalg.norm(truth), blocks.mean(axis=0)
    p = sign_flip_p(difference)
    return {
        "bias": float(np.sqrt(max(squared_bias, 0)) / norm),
        "bias_error": float(np.sqrt(error) / norm),
        "p": p,
        "bias_seen": p < BIAS_SEEN,
        "cosine": float(mean @ truth / (np.linalg.norm(mean) * norm)),
        "norm_ratio": float(np.linalg.norm(mean) / norm),
    }


def sign_flip_p(differences: np.ndarray) -> float:
    """How often chance shows as large a bias: one-sided, a randomisation test, uniform under none.

    Without a bias, and with a distribution symmetric about 0, blocks with flipped signs are as
    likely as they are: the sum over k != l of d_k . d_l is compared with itself after random flips.
    No distribution of the noise is assumed beyond that, heavy tails included.

    Args:
      differences: [K, P], of K independent blocks from the truth; 1-D for a single number.
    Returns:
      (1 + flips that show as much) / (1 + flips): at least 1e-4, and 1 where all differences are 0.
    """
    differences = np.reshape(differences, [len(differences), -1])
    gram = differences @ differences.T
    np.fill_diagonal(gram, 0)

    def statistic(signs, axis):
        return np.sum((signs @ gram) * signs, axis=axis)

    signs = (np.ones(len(gram)),)
    options = {"n_resamples": _FLIPS, "vectorized": True, "rng": np.random.default_rng(0)}
    options |= {"permutation_type": "samples", "alternative": "greater"}
    return float(stats.permutation_test(signs, statistic, **options).pvalue)
