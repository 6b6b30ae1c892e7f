"""The memory behind a Variable: one array that lives as long as the Variable, and a version.

Executables read it and write it in place; whoever changes the contents raises `version`, so that prepared
work (packed weights) and snapshots know when they are out of date.
"""

from __future__ import annotations

import numpy as np

from .types import TensorType, type_of

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
    """A Variable's memory. `array` is never replaced, only written to."""

    __slots__ = ("__weakref__", "array", "name", "type", "version")

    def __init__(self, value: np.ndarray, type_: TensorType, name: str = "") -> None:
        self.type = type_
        self.name = name
        self.array = aligned_empty(type_)
        self.array[...] = value
        self.version = 0

    def write(self, value: np.ndarray) -> None:
        """Overwrite the contents; shape and dtype are the caller's business."""
        self.array[...] = value
        self.version += 1
