"""What random graphs are drawn from: a generator of numbers, and the nodes that a graph holds so far.

In: a random generator. Out: sources with arrays of tame numbers, and nodes to be inputs of later ones. Knows no op.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc import ops
from graphc.ir import Node
from graphc.types import (
    DType,
    TensorType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)  # fmt: skip

COMMON = (float32, float32, float32, float32, float64, int32, int64, uint8, uint32, bool_)
RARE = (float16, bfloat16, int8, int16, uint16, uint64)
SMALL = (1, 1, 2, 3, 4, 5, 7, 8, 9)
SIZES = (*SMALL, *SMALL, 16, 17, 31, 33, 64, 70, 130)
MOST_ELEMENTS = 4096


@dataclass
class Maker:
    """Draws one graph. `nodes` are candidates for inputs of later ones."""

    rng: np.random.Generator
    nodes: list[Node] = field(default_factory=list)
    sources: list[tuple[Node, np.ndarray]] = field(default_factory=list)

    # Choices

    def integer(self, low: int, high: int) -> int:
        """low ≤ n < high."""
        return int(self.rng.integers(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def choose(self, items: Any) -> Any:
        return items[self.integer(0, len(items))]

    def some_axes(self, ndim: int) -> tuple[int, ...]:
        """Any of the axes, in order; none and all are possible."""
        return tuple(sorted(self.order(ndim)[: self.integer(0, ndim + 1)]))

    def order(self, count: int) -> tuple[int, ...]:
        """0 … count − 1 in random order."""
        return tuple(int(a) for a in self.rng.permutation(count))

    def dtype(self) -> DType:
        found: DType = self.choose(RARE if self.chance(0.15) else COMMON)
        return found

    def shape(self, ndim: int | None = None) -> tuple[int, ...]:
        ndim = self.integer(0, 4) if ndim is None else ndim
        shape = [self.choose(SIZES) for _ in range(ndim)]
        if shape and self.chance(0.03):
            shape[self.integer(0, ndim)] = 0
        return tuple(shape) if np.prod(shape) <= MOST_ELEMENTS else self.shape(ndim)

    # Sources

    def source(self, type_: TensorType, high: int | None = None) -> Node:
        """A new input. Integers lie in 0 … `high` − 1, if given: an index, of which other ops make none."""
        node = ops.input(type=type_, name=f"x{len(self.sources)}")
        self.sources.append((node, self.array(type_, high)))
        if high is None:
            self.nodes.append(node)
        return node

    def array(self, type_: TensorType, high: int | None = None) -> np.ndarray:
        dtype = type_.dtype
        if dtype.is_bool:
            return np.asarray(self.rng.random(type_.shape) < 0.5)
        if dtype.is_integer:
            if high is not None:
                return np.asarray(self.rng.integers(0, high, type_.shape), dtype.numpy)
            middle = 9 if dtype.is_unsigned else self.choose((0, 0, 0, 9, -10))
            return np.asarray(self.rng.integers(middle - 9, middle + 10, type_.shape), dtype.numpy)
        middle = self.choose((0, 0, 0, 3, -3))
        return np.asarray(self.rng.uniform(middle - 2, middle + 2, type_.shape), dtype.numpy)

    # Nodes

    def like(self, accept: Callable[[Node], bool]) -> Node | None:
        """A node that is acceptable, more often a late one."""
        found = [n for n in self.nodes if accept(n)]
        return found[max(self.integer(0, len(found)), self.integer(0, len(found)))] if found else None

    def any_node(self, accept: Callable[[DType], bool] = lambda d: True) -> Node:
        """A node whose dtype is acceptable: one that exists, or a new input."""
        found = self.like(lambda n: accept(n.dtype))
        if found is not None:
            return found
        return self.source(TensorType(self.choose([d for d in (*COMMON, *RARE) if accept(d)]), self.shape()))

    def same(self, type_: TensorType, other: Node | None = None) -> Node:
        """A node of the type: one that exists, seldom `other`, or a new input."""
        if other is not None and self.chance(0.05):
            return other
        found = self.like(lambda n: n.type == type_ and n is not other) if self.chance(0.7) else None
        return found or self.source(type_)
