"""Random graphs with scores in them: products of matrices that are larger than both, softmaxes of many kinds, and sums.

In: a seed. Out: a case. What is drawn is like attention and its relatives, in any layout, with what may be in between.
"""

from __future__ import annotations

import math

import numpy as np

from graphc import ops
from graphc.ir import Node
from graphc.ops import scalar_constant
from graphc.types import TensorType, bool_, float32, float64, int64

from .maker import Maker
from .random_graphs import Case, case_of

ROWS, DEPTHS = (9, 16, 17, 24, 33), (1, 2, 2, 3, 4, 5)


def random_scores_case(seed: int) -> Case:
    """One or two such parts, which may share queries, keys and values."""
    m = Maker(np.random.default_rng(seed))
    outputs = [node for _ in range(1 + m.chance(0.15)) for node in _Scores(m).drawn()]
    return case_of(m, outputs)


class _Scores:
    """One part. `space`: the sizes of the scores' axes: batches, rows, columns."""

    def __init__(self, m: Maker) -> None:
        self.m = m
        self.dtype = m.choose((float32, float32, float32, float64))
        self.batch = tuple(m.choose((1, 2, 3)) for _ in range(m.integer(0, 3)))
        self.rows, self.columns = m.choose(ROWS), m.choose(ROWS)
        self.space = (*self.batch, self.rows, self.columns)

    def drawn(self) -> list[Node]:
        m = self.m
        scores = self._scores(self._product())
        weights, extra = self._weights(scores)
        results = [self._sum(weights), *extra]
        if m.chance(0.2):
            results.append(self._sum(weights, over=-2))
        if m.chance(0.2):
            results.append(m.choose((ops.sum, ops.max, ops.min))(scores, axes=(m.integer(0, len(scores.shape)),)))
        if m.chance(0.07):
            results.append(weights)  # then they are stored
        return results

    # Up to the scores

    def _factor(self, rows: int, depth: int) -> Node:
        """[batch..., rows, depth], of a source in any layout."""
        m = self.m
        shape = (*self.batch, rows, depth)
        order = m.order(len(shape)) if m.chance(0.4) else tuple(range(len(shape)))
        x = m.source(TensorType(self.dtype, tuple(shape[a] for a in order)))
        return ops.permute(x, axes=tuple(order.index(a) for a in range(len(order))))

    def _product(self) -> Node:
        depth, n = self.m.choose(DEPTHS), len(self.batch)
        batch = (tuple(range(n)), tuple(range(n)))
        a, b = self._factor(self.rows, depth), self._factor(self.columns, depth)
        return ops.dot_general(a, b, contract=((n + 1,), (n + 1,)), batch=batch)

    def _spread(self, x: Node, dims: tuple[int, ...]) -> Node:
        return ops.broadcast(x, dims=dims, shape=self.space)

    def _row(self, *axes: int) -> Node:
        """A source along some axes of the scores, spread over the others."""
        sizes = tuple(self.space[a] for a in axes)
        return self._spread(self.m.source(TensorType(self.dtype, sizes)), axes)

    def _scores(self, x: Node) -> Node:
        m, n = self.m, len(self.batch)
        for _ in range(m.integer(0, 4)):
            match m.integer(0, 7):
                case 0:
                    x = ops.multiply(x, self._spread(scalar_constant(0.5, self.dtype), ()))
                case 1:
                    x = ops.add(x, self._row(*m.choose(((n, n + 1), (n,), (n + 1,), tuple(range(n + 2))))))
                case 2:
                    x = ops.tanh(x)
                case 3:
                    x = ops.add(x, self._product())
                case _:
                    x = ops.select(self._mask(), x, self._spread(scalar_constant(-math.inf, self.dtype), ()))
        return x

    def _mask(self) -> Node:
        m, n = self.m, len(self.batch)
        i, j = (
            self._spread(ops.iota(type=TensorType(int64, (self.space[a],)), axis=0), (a,)) for a in (n, n + 1)
        )
        if m.chance(0.3):
            return self._spread(m.source(TensorType(bool_, (self.columns,))), (n + 1,))
        far = self._spread(scalar_constant(m.integer(-3, 9), int64), ())
        if m.chance(0.5):
            return m.choose((ops.greater_equal, ops.less_equal, ops.greater))(i, j)
        return m.choose((ops.less, ops.greater_equal))(ops.subtract(i, j), far)

    # From the scores

    def _weights(self, x: Node) -> tuple[Node, list[Node]]:
        """Weights of one kind or another, and what of their rows is a result as well."""
        m, last = self.m, len(x.shape) - 1
        kept = tuple(range(last))

        def spread(row: Node) -> Node:
            return ops.broadcast(row, dims=kept, shape=x.shape)

        kind = m.integer(0, 5)
        if kind == 0:
            return ops.exp(ops.tanh(x)), []
        largest = ops.max(x, axes=(last,))
        if m.chance(0.6):
            largest = ops.stop_gradient(largest)
        zero, infinite = (ops.full_like(largest, value) for value in (0.0, -math.inf))
        finite = ops.select(ops.equal(largest, infinite), zero, largest)
        shift = m.choose((largest, finite, finite))
        weights = ops.exp(m.choose((ops.difference, ops.subtract))(x, spread(shift)))
        total = ops.sum(weights, axes=(last,))
        if shift is finite:
            total = ops.select(ops.equal(total, zero), ops.ones_like(total), total)
        if kind == 1:
            return weights, [total, largest]
        if kind == 2:
            lse = ops.add(ops.log(total), finite)
            return ops.exp(ops.subtract(x, spread(lse))), [lse] if m.chance(0.5) else []
        if m.chance(0.2):
            weights = ops.multiply(weights, self._row(last - 1, last))
        if kind == 3:
            return ops.divide(weights, spread(total)), []
        return ops.multiply(weights, spread(ops.reciprocal(total))), []

    def _sum(self, weights: Node, over: int = -1) -> Node:
        """The product with other values, over columns or rows."""
        m, n = self.m, len(self.batch)
        if m.chance(0.2) and n == 2:  # one axis of batches
            batches, rest = self.batch[0] * self.batch[1], weights.shape[n:]
            folded = ops.reshape(weights, shape=(batches, *rest))
            depth = m.choose(DEPTHS)
            v = ops.reshape(self._factor(weights.shape[over], depth), shape=(batches, weights.shape[over], depth))
            return self._multiplied(folded, v, 1, over)
        return self._multiplied(weights, self._factor(weights.shape[over], m.choose(DEPTHS)), n, over)

    def _multiplied(self, weights: Node, v: Node, n: int, over: int) -> Node:
        batch = (tuple(range(n)), tuple(range(n)))
        return ops.dot_general(weights, v, contract=((len(weights.shape) + over,), (n,)), batch=batch)
