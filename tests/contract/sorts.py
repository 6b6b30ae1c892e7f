"""Samples of the ops that sort: shapes, both directions, all dtypes; ties, NaN, both zeros, infinities; short rows and
long ones, for which backends sort in other ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from graphc import ops
from graphc.ir import Graph
from graphc.op import Op
from graphc.types import DType, type_of
from tests.contract.values import ordinary, special


@dataclass(frozen=True)
class SortSample:
    """One application of an op with values and indices as its results, which are outputs as far as `wanted`."""

    op: Op
    array: np.ndarray
    attrs: dict[str, Any] = field(default_factory=dict)
    wanted: tuple[int, ...] = (0, 1)

    def graph(self) -> Graph:
        x = ops.input(type=type_of(self.array), name="x")
        both = self.op(x, **self.attrs)
        return Graph((x,), (), (), tuple(ops.item(both, index=i) for i in self.wanted))

    def __str__(self) -> str:
        return f"{self.op.name}({type_of(self.array)}, {self.attrs}) to {self.wanted}"


def arrays(dtype: DType) -> Iterator[np.ndarray]:
    edges = special(dtype)
    yield np.concatenate([edges, edges[::-1], edges])
    mixed = np.resize(np.concatenate([edges, ordinary(dtype, (30,))]), (3, 1400))
    yield np.random.default_rng(1).permuted(mixed, axis=1)
    for seed, shape in enumerate([(1,), (3, 0), (0, 3), (2, 1), (4, 5), (2, 3, 67), (2, 129), (1, 300)]):
        yield ordinary(dtype, shape, seed)


LONG = (2, 140_000)  # rows that are cut into chunks


def _sorts(op: Op, dtype: DType) -> Iterator[SortSample]:
    for number, x in enumerate(arrays(dtype)):
        yield SortSample(op, x, {"descending": bool(number % 2)})
        yield SortSample(op, x, {"descending": not number % 2}, ((0,), (1,))[number % 2])


def _tops(op: Op, dtype: DType) -> Iterator[SortSample]:
    for x in arrays(dtype):
        for k in {0, 1, 7, 100, x.shape[-1]}:
            if k <= x.shape[-1]:
                yield SortSample(op, x, {"k": k}, (0, 1) if k != 7 else (1,))


CALLS = {"sort": partial(_sorts, ops.sort), "top_k": partial(_tops, ops.top_k)}
