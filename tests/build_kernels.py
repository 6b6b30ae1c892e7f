"""Builds kernels by hand, value by value, for tests of lowerings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.index import Axis, Bound, Gathered, Index
from graphc.kernel import (
    Accumulate,
    Apply,
    Const,
    Dot,
    Inside,
    Kernel,
    Load,
    Position,
    Reduce,
    Slot,
    Store,
    Value,
)
from graphc.scalar import Number, record, to_bits
from graphc.types import DType, float32, int64


@dataclass
class Build:
    """Collects slots, values and stores; `kernel` finishes."""

    slots: list[Slot] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)

    def slot(self, name: str, size: int, dtype: DType = float32) -> int:
        self.slots.append(Slot(dtype, size, name))
        return len(self.slots) - 1

    def add(self, value: Value) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def load(self, slot: int, index: Index, *bounds: Bound) -> int:
        return self.add(Load(slot, index, bounds, self.slots[slot].dtype))

    def const(self, value: Number, dtype: DType = float32) -> int:
        return self.add(Const(to_bits(value, dtype), dtype))

    def inside(self, *bounds: Bound) -> int:
        return self.add(Inside(bounds))

    def position(self, index: Index) -> int:
        return self.add(Position(index))

    def apply(self, function: Callable[..., Any], *inputs: int, name: str = "") -> int:
        dtypes = [self.values[i].dtype for i in inputs]
        return self.add(Apply(record(name or function.__name__.strip("<>_"), function, dtypes), inputs))

    def cast(self, number: int, dtype: DType) -> int:
        return self.apply(lambda s, x: s.cast(x, dtype), number, name="cast")

    def reduce(
        self,
        combine: Callable[..., Any],
        init: Sequence[Number],
        inputs: Sequence[int],
        axes: tuple[Axis, ...],
        finish: Callable[..., Any] = lambda s, first, *rest: first,
        name: str = "reduced",
    ) -> int:
        dtypes = [self.values[i].dtype for i in inputs]
        constants = tuple(Const(to_bits(v, d), d) for v, d in zip(init, dtypes, strict=True))
        combined = record(f"{name}.combine", combine, dtypes + dtypes)
        return self.add(Reduce(combined, constants, record(name, finish, dtypes), tuple(inputs), axes))

    def sum(self, number: int, axes: tuple[Axis, ...]) -> int:
        return self.reduce(lambda s, a, b: a + b, [0], [number], axes, name="sum")

    def max(self, number: int, axes: tuple[Axis, ...]) -> int:
        least = self.values[number].dtype.min
        return self.reduce(lambda s, a, b: s.max(a, b), [least], [number], axes, name="max")

    def max_or_infinity(self, number: int, axes: tuple[Axis, ...]) -> int:
        """The maximum, which of nothing, and of what is masked throughout, is -inf."""
        return self.reduce(lambda s, a, b: s.max(a, b), [-math.inf], [number], axes, name="max")

    def dot(self, a: int, b: int, axes: tuple[Axis, ...], dtype: DType = float32) -> int:
        return self.add(Dot((a, b), axes, dtype))

    def gathered(self, number: int, size: int, axes: tuple[Axis, ...]) -> Index:
        return Index(((Gathered(number, size, frozenset(axes)), 1),))

    def store(
        self, slot: int, index: Index, value: int, accumulate: tuple[Axis, ...] = (), scatter: bool = False
    ) -> None:
        """Store a value; its sum over the axes `accumulate`, where there are any."""
        self.stores.append(Store(slot, index, self.accumulated(value, accumulate) if accumulate else value, scatter))

    def accumulated(self, number: int, axes: tuple[Axis, ...], like: Callable[..., int] | None = None) -> int:
        """The sum of a value over parallel axes, or another reduction: `like` makes it as if over a row."""
        (like or self.sum)(number, axes)
        reduce = self.values.pop()
        assert isinstance(reduce, Reduce)
        return self.add(Accumulate(reduce.combine, reduce.init, reduce.finish, reduce.inputs, reduce.axes))

    def kernel(
        self, parallel: tuple[Axis, ...], row: tuple[Axis, ...] = (), contracted: tuple[Axis, ...] = ()
    ) -> Kernel:
        return Kernel(tuple(self.slots), parallel, row, contracted, tuple(self.values), tuple(self.stores))


def axes(**sizes: int) -> tuple[tuple[Axis, ...], tuple[Index, ...]]:
    """Axes of given sizes, and the indices that walk along them."""
    made = tuple(Axis(name, size) for name, size in sizes.items())
    return made, tuple(Index.of(a) for a in made)


def random_array(slot: Slot, rng: np.random.Generator) -> np.ndarray:
    """Contents for a slot: small whole numbers for integers, normally distributed floats."""
    if slot.dtype.is_float:
        return rng.standard_normal(slot.size).astype(slot.dtype.numpy)
    if slot.dtype is int64:  # index tensors
        return rng.integers(0, 4, slot.size)
    return rng.integers(0, 2 if slot.dtype.is_bool else 100, slot.size).astype(slot.dtype.numpy)
