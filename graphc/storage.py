"""The memory behind a Variable: one array that lives as long as the Variable, and a version.

Executables read it and write it in place; whoever changes the contents raises `version`, so that prepared
work (packed weights) and snapshots know when they are out of date.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from ctypes import addressof, c_int64

import numpy as np

from .types import TensorType, type_of

WRITE = 2  # what a write adds to a version: one before, one after
ALIGNMENT = 64   # bytes: a cache line, and the widest vector


def aligned_empty(type_: TensorType) -> np.ndarray:
    """An uninitialized C-contiguous array whose data start at a multiple of 64 bytes."""
    raw = np.empty(type_.nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    array: np.ndarray = raw[start : start + type_.nbytes].view(type_.dtype.numpy).reshape(type_.shape)
    return array


def aligned_copy(array: np.ndarray) -> np.ndarray:
    """A copy whose data start at a multiple of 64 bytes, so that no vector of it lies across two cache lines; of a few
    elements, which are not worth it, any copy."""
    if array.nbytes < 1 << 12:
        return array.copy()
    copy = aligned_empty(type_of(array))
    copy[...] = array
    return copy


class Storage:
    """A Variable's memory. `array` is never replaced, only written to. The version is kept where native code finds it:
    a call compares and raises versions in the same step in which it runs."""

    __slots__ = ("__weakref__", "_version", "array", "name", "type")

    def __init__(self, value: np.ndarray, type_: TensorType, name: str = "") -> None:
        self.type = type_
        self.name = name
        self.array = aligned_empty(type_)
        self.array[...] = value
        self._version = c_int64(0)

    @property
    def version(self) -> int:
        """A number that rises with every change of the contents."""
        return self._version.value

    @property
    def version_address(self) -> int:
        """Where the version is, as an int64."""
        return addressof(self._version)

    def raise_version(self) -> None:
        self._version.value += 1

    def write(self, value: np.ndarray) -> None:
        """Overwrite the contents; shape and dtype are the caller's business. The version rises before and after, so
        that whoever interrupts this finds nothing that was made from the old contents up to date."""
        self.raise_version()
        self.array[...] = value
        self.raise_version()


def write_all(changes: Sequence[tuple[Storage, np.ndarray]]) -> None:
    """`write` to several in one step of Python's: no signal handler sees, and no interrupt leaves, some of them old and
    some new."""
    for storage, _ in changes:
        storage.raise_version()
    copies = map(np.copyto, [s.array for s, _ in changes], [value for _, value in changes])
    deque(copies, maxlen=0)
    for storage, _ in changes:
        storage.raise_version()
