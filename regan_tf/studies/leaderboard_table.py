"""The leaderboard's tables, in Markdown: one of each length."""

import numpy as np
from tabulate import tabulate

from regan_tf.estimators.bias import BIAS_SEEN

TAIL = 0.1  # above this share of one batch, a variance is none


@dataclass
class X:
    pass
