"""Static memory: a place in one arena for every temporary, reused as soon as its last reader is done.

In: the life of each temporary, as a range of step numbers. Out: byte offsets, and the size of the arena.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    placed: list[tuple[int, int, Life]] = []  # start, end, life; sorted by start
    total = 0
    for number in sorted(range(len(lives)), key=lambda n: (-lives[n].nbytes, lives[n].first)):
        life = lives[number]
        size = rounded(life.nbytes)
        start = 0
        for low, high, other in placed:
            if other.last < life.first or life.last < other.first:
                continue
            if low - start >= size:
                break
            start = max(start, high)
        offsets[number] = start
        placed.append((start, start + size, life))
        placed.sort(key=lambda p: p[0])
        total = max(total, start + size)
    return tuple(offsets), total
