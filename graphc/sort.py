"""Sorting as a call: what its order is, and the function on buffers that rows are sorted by.

Knows neither the ops that ask for it nor how backends carry it out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .dataclass import dataclass
from .kernel import Call, Slot
from .types import DType, int64


def order_of(x: np.ndarray, descending: bool) -> np.ndarray:
    """The positions of the elements of each row in order. NaN is greater than all numbers, and equal elements stay as
    they are; −0 equals 0."""
    if x.dtype.itemsize == 2 and x.dtype.kind not in "iu":
        x = x.astype(np.float32)
    if not descending:
        return np.argsort(x, axis=-1, kind="stable")
    backwards = np.argsort(x[..., ::-1], axis=-1, kind="stable")
    return x.shape[-1] - 1 - backwards[..., ::-1]


def in_order(x: np.ndarray, descending: bool) -> np.ndarray:
    """Each row in order, as `order_of` has it but for which NaN is which. Quicker by far than with positions."""
    result = np.sort(x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x, axis=-1)
    if result.dtype.kind == "f" and np.signbit(result[result == 0]).any():  # of zeros it can be seen which came first
        return np.take_along_axis(x, order_of(x, descending), -1)
    return (result[..., ::-1] if descending else result).astype(x.dtype, copy=False)


@dataclass(frozen=True)
class Sort(Call):
    """The first `count` elements of each of `rows` rows of `size` in order, and where they were in the row, or one of
    both. Slots: the rows, then `values`, then `indices`."""

    dtype: DType
    rows: int
    size: int
    count: int
    descending: bool
    values: bool
    indices: bool

    @property
    def slots(self) -> tuple[Slot, ...]:
        found = self.rows * self.count
        results = (Slot(self.dtype, found, "values"),) * self.values + (Slot(int64, found, "indices"),) * self.indices
        return (Slot(self.dtype, self.rows * self.size, "rows"), *results)

    @property
    def written(self) -> frozenset[int]:
        return frozenset(range(1, len(self.slots)))

    def run(self, memory: Sequence[np.ndarray]) -> None:
        x = memory[0].reshape(self.rows, self.size)
        order = order_of(x, self.descending)[:, : self.count]
        if self.values:
            memory[1][:] = np.take_along_axis(x, order, -1).ravel()
        if self.indices:
            memory[-1][:] = order.ravel()

    def __str__(self) -> str:
        what = "values, indices" if self.values and self.indices else "values" if self.values else "indices"
        way = "descending" if self.descending else "ascending"
        first = "" if self.count == self.size else f"first {self.count} of "
        return f"sort({self.rows} rows of {self.size} {self.dtype}, {way}) to {first}{what}"
