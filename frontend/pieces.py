"""A long vector made piece by piece, so that what each piece needs stays in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphc.driver import driver

PIECE = 1 << 16  # elements: some vectors of 8 bytes each fit into a second-level cache
SHARED = 1 << 20  # from so many elements on threads share the work


def in_pieces(size: int, make: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """The vector whose elements from start to stop are make(start, stop), wherever it is cut."""
    if size <= PIECE:
        return make(0, size)
    first = make(0, PIECE)
    result = np.empty(size, first.dtype)
    result[:PIECE] = first

    def fill(start: int) -> None:
        stop = min(start + PIECE, size)
        result[start:stop] = make(start, stop)

    starts = range(PIECE, size, PIECE)
    if size < SHARED or (threads := driver().thread_count()) == 1:
        for start in starts:
            fill(start)
        return result
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as team:  # NumPy's loops run without Python's lock
        for _ in team.map(fill, starts):
            pass
    return result
