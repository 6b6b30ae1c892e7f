"""Memory for outputs. It belongs to the caller and comes back when the last array over it has died.

Fresh pages halve the speed of a copy, so large blocks are kept and handed out again; small arrays are plain ones.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from graphc.storage import aligned_empty
from graphc.types import TensorType, uint8

from .instance import address
from .lifetime import Hold

SMALL = 1 << 16  # bytes; below, an allocation costs less than the bookkeeping
KEPT = 1 << 28  # bytes of free blocks that are kept


class OutputPool:
    """Free blocks by size. Appending to and popping from lists is atomic, so any thread may let go of an array, also
    while this one is in the middle of something here."""

    def __init__(self, kept: int = KEPT) -> None:
        self._free: dict[int, list[np.ndarray]] = {}
        self._limit = kept

    @property
    def nbytes(self) -> int:
        """Of all free blocks."""
        return sum(size * len(blocks) for size, blocks in list(self._free.items()))

    def maker(self, type_: TensorType) -> Callable[[], np.ndarray]:
        """What makes arrays of the type, as `empty` does; all that can be decided once is."""
        if type_.nbytes < SMALL:
            return partial(np.empty, type_.shape, type_.dtype.numpy)
        return partial(self.empty, type_)

    def empty(self, type_: TensorType) -> np.ndarray:
        """An uninitialized array of the type. Any view of it keeps the memory."""
        size = type_.nbytes
        if size < SMALL:
            return np.empty(type_.shape, type_.dtype.numpy)
        try:
            memory = self._free[size].pop()
        except (KeyError, IndexError):
            memory = aligned_empty(TensorType(uint8, (size,)))
        block = _block_type(size).from_address(address(memory))
        block.hold = Hold(lambda: self._take_back(size, memory))
        return np.frombuffer(block, type_.dtype.numpy).reshape(type_.shape)

    def _take_back(self, size: int, memory: np.ndarray) -> None:
        """Keep the block; where that is too much, others go, those of sizes first that came first."""
        if size > self._limit:
            return
        self._free.setdefault(size, []).append(memory)
        excess = self.nbytes - self._limit
        for other, blocks in list(self._free.items()) if excess > 0 else ():
            while excess > 0 and blocks and other != size:
                with contextlib.suppress(IndexError):  # another thread has taken it
                    blocks.pop()
                excess -= other
        if excess > 0:
            with contextlib.suppress(IndexError):
                self._free[size].pop()


@lru_cache(maxsize=1)
def output_pool() -> OutputPool:
    """The process's: one limit holds for all functions together."""
    return OutputPool()


class _Block:
    """What arrays over pooled memory keep alive: NumPy lets a view's base be the array that owns the memory, so that
    owner must be no array, or it would be skipped."""

    hold: Hold


@lru_cache(maxsize=256)
def _block_type(size: int) -> Any:
    return type("Block", (_Block, ctypes.c_char * size), {})
