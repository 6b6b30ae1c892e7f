"""Static memory: a place in one arena for every temporary, reused as soon as its last reader is done.

In: the life of each temporary, as a range of step numbers. Out: byte offsets, and the size of the arena.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.dataclass import dataclass
from graphc.storage import ALIGNMENT


@dataclass(frozen=True)
class Life:
    """A temporary of `nbytes` bytes, written first in step `first` and used last in step `last`."""

    nbytes: int
    first: int
    last: int


def rounded(nbytes: int) -> int:
    """Bytes rounded up so that the next buffer is aligned."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def plan_memory(lives: Sequence[Life]) -> tuple[tuple[int, ...], int]:
    """Offsets for all temporaries, and the arena's size in bytes.

    Large ones are placed first, each at the lowest offset where it meets no temporary that lives at the same time
    (greedy by size, as in Pisarchyk & Lee, "Efficient memory management for deep neural net inference", 2020).
    """
    offsets = [0] * len(lives)
    placed = _Placed(len(lives))
    for number in sorted(range(len(lives)), key=lambda n: (-lives[n].nbytes, lives[n].first)):
        offsets[number] = placed.put(lives[number])
    return tuple(offsets), placed.total


class _Placed:
    """Temporaries that have their places, as rows of numbers sorted by start, so that all are compared at once."""

    def __init__(self, most: int) -> None:
        self.table = np.zeros((4, most), np.int64)  # start, end, first step, last step
        self.count = 0
        self.total = 0

    def put(self, life: Life) -> int:
        """Place one more at the lowest offset."""
        size = rounded(life.nbytes)
        start = self._lowest(life, size)
        at = int(np.searchsorted(self.table[0, : self.count], start, side="right"))
        self.table[:, at + 1 : self.count + 1] = self.table[:, at : self.count]
        self.table[:, at] = start, start + size, life.first, life.last
        self.count += 1
        self.total = max(self.total, start + size)
        return start

    def _lowest(self, life: Life, size: int) -> int:
        """The lowest offset with so much space below the next temporary that lives at the same time, or above all."""
        starts, ends, firsts, lasts = self.table[:, : self.count]
        meets = (lasts >= life.first) & (firsts <= life.last)
        tops = np.concatenate(([0], np.maximum.accumulate(ends[meets])))
        fits = starts[meets] - tops[:-1] >= size
        return int(tops[fits.argmax() if fits.any() else -1])
