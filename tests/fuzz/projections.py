"""Random products of matrices, and what is computed of their rows and columns: kernels that multiply and reduce.

In: a seed. Out: a graph around one product, of sizes that leave tails, with reductions over rows and over all of them.
"""

from __future__ import annotations

import numpy as np

from graphc import ops
from graphc.ir import Node
from graphc.types import TensorType, float32, float64
from tests.graphs import matmul, number, spread

from .maker import Maker
from .random_graphs import Case, case_of

ROWS = (2, 5, 6, 7, 13, 33, 64, 100, 150)
COLUMNS = (2, 3, 10, 16, 17, 40, 64, 70, 130)
TERMS = (1, 3, 8, 20, 65)


def random_projection_case(seed: int) -> Case:
    """x @ w, with or without batches, and up to ten ops more."""
    m = Maker(np.random.default_rng(seed))
    dtype = m.choose((float32, float32, float64))
    rows, columns, terms = m.choose(ROWS), m.choose(COLUMNS), m.choose(TERMS)
    batch = (m.choose((2, 3)),) if m.chance(0.2) else ()
    x = m.source(TensorType(dtype, (*batch, rows, terms)))
    w = m.source(TensorType(dtype, (*batch, terms, columns)))
    y = matmul(x, w)
    full, results = [y], []
    last = len(y.shape) - 1
    for _ in range(m.integer(2, 10)):
        a = m.choose(full[-3:])
        match m.integer(0, 8):
            case 0:
                bias = m.source(TensorType(dtype, (columns,)))
                full.append(ops.add(a, spread(bias, a, *range(last))))
            case 1:
                full.append(ops.multiply(a, m.source(a.tensor_type)))
            case 2:
                full.append(ops.tanh(a))
            case 3:
                results.append(m.choose((ops.argmax, ops.max, ops.sum))(a, axes=(last,)))
            case 4 | 5:
                found = _reduced(m, a, last)
                full.append(m.choose((ops.subtract, ops.multiply))(a, spread(found, a, last)))
            case 6:
                axes = m.choose((tuple(range(last)), (last - 1,), tuple(range(last + 1))))
                results.append(m.choose((ops.max, ops.sum, ops.min, ops.argmin))(a, axes=axes))
            case _:
                full.append(ops.add(a, number(0.5, a)))
    outputs = [*results, *(n for n in full[1:] if m.chance(0.3)), full[-1]]
    return case_of(m, outputs)


def _reduced(m: Maker, a: Node, axis: int) -> Node:
    if m.chance(0.5):
        return ops.max(a, axes=(axis,))
    total = ops.sum(a, axes=(axis,))
    return ops.multiply(total, number(1 / a.shape[axis], total))
