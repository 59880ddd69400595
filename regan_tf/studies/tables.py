"""Tables of groups of runs, for a terminal."""

from collections.abc import Sequence

from tabulate import tabulate

_LABEL_WIDTH = 60  # letters
_HEADER_WIDTH = 44


def to_text(rows: Sequence[Sequence], headers: Sequence[str]) -> str:
    """A table whose first column has labels: those that are long have several lines, and so have
    headers.
    """
    widths = [_LABEL_WIDTH] + [None] * (len(headers) - 1)
    return tabulate(
        rows,
        headers,
        disable_numparse=True,
        maxcolwidths=widths,
        maxheadercolwidths=[_HEADER_WIDTH] * len(headers),
    )
