"""A long vector made piece by piece, so that what each piece needs stays in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PIECE = 1 << 16  # elements: some vectors of 8 bytes each fit into a second-level cache


def in_pieces(size: int, make: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """The vector whose elements from start to stop are make(start, stop), wherever it is cut."""
    if size <= PIECE:
        return make(0, size)
    first = make(0, PIECE)
    result = np.empty(size, first.dtype)
    result[:PIECE] = first
    for start in range(PIECE, size, PIECE):
        stop = min(start + PIECE, size)
        result[start:stop] = make(start, stop)
    return result
