"""Type rules refuse what an op can't mean, and say which rule, what was got and where."""

from __future__ import annotations

import numpy as np
import pytest

from graphc import ops
from graphc.errors import CompileError, DTypeError, GraphcError, GraphcIndexError, Location, ShapeError
from graphc.evaluate import evaluate
from graphc.ir import Node, located
from graphc.types import DType, TensorType, bfloat16, bool_, float32, float64, int8, int16, int32


def x(*shape: int, dtype: DType = float32) -> Node:
    return ops.input(type=TensorType(dtype, shape), name="x")


REFUSED = [
    (ShapeError, "equal shapes", lambda: ops.add(x(2), x(3))),
    (DTypeError, "equal dtypes", lambda: ops.add(x(2), x(2, dtype=float64))),
    (DTypeError, "number", lambda: ops.add(x(2, dtype=bool_), x(2, dtype=bool_))),
    (DTypeError, "float", lambda: ops.divide(x(2, dtype=int32), x(2, dtype=int32))),
    (DTypeError, "float", lambda: ops.exp(x(2, dtype=int32))),
    (DTypeError, "bool", lambda: ops.logical_and(x(2), x(2))),
    (DTypeError, "integer", lambda: ops.bitwise_and(x(2), x(2))),
    (DTypeError, "integer", lambda: ops.left_shift(x(2, dtype=bool_), x(2, dtype=bool_))),
    (DTypeError, "mask", lambda: ops.select(x(2), x(2), x(2))),
    (ShapeError, "equal shapes", lambda: ops.select(x(3, dtype=bool_), x(2), x(2))),
    (DTypeError, "width", lambda: ops.bitcast(x(2), dtype=float64)),
    (DTypeError, "16-bit", lambda: ops.bitcast(x(2, dtype=bfloat16), dtype=int16)),
    (DTypeError, "uint32", lambda: ops.philox(*[x(2, dtype=int32)] * 4)),
    (ShapeError, "axes", lambda: ops.sum(x(2, 3), axes=(1, 0))),
    (ShapeError, "axes", lambda: ops.sum(x(2, 3), axes=(2,))),
    (ShapeError, "no elements", lambda: ops.max(x(2, 0), axes=(1,))),
    (DTypeError, "bool", lambda: ops.any(x(2), axes=(0,))),
    (ShapeError, "number of elements", lambda: ops.reshape(x(2, 3), shape=(5,))),
    (ShapeError, "number of elements", lambda: ops.reshape(x(2, 3), shape=(-2, -3))),
    (ShapeError, "every axis", lambda: ops.permute(x(2, 3), axes=(0, 0))),
    (ShapeError, "equal size", lambda: ops.broadcast(x(1), shape=(3,), dims=(0,))),
    (ShapeError, "equal size", lambda: ops.broadcast(x(2, 2), shape=(2, 2), dims=(0, 0))),
    (ShapeError, "start", lambda: ops.slice(x(4), start=(0,), stop=(5,), step=(1,))),
    (ShapeError, "step", lambda: ops.slice(x(4), start=(0,), stop=(4,), step=(0,))),
    (ShapeError, "axes", lambda: ops.flip(x(4), axes=(1,))),
    (ShapeError, "scalar", lambda: ops.pad(x(4), x(1), low=(0,), high=(0,))),
    (DTypeError, "fill", lambda: ops.pad(x(4), x(dtype=int8), low=(0,), high=(0,))),
    (ShapeError, "width", lambda: ops.pad(x(4), x(), low=(-1,), high=(0,))),
    (ShapeError, "axis 1", lambda: ops.concat(x(2, 3), x(3, 3), axis=1)),
    (DTypeError, "equal dtypes", lambda: ops.concat(x(2), x(2, dtype=int8), axis=0)),
    (ShapeError, "at least one", lambda: ops.concat(axis=0)),
    (ShapeError, "contracted", lambda: ops.dot_general(x(2, 3), x(2, 3), contract=((1,), (0,)), batch=((), ()))),
    (ShapeError, "distinct", lambda: ops.dot_general(x(2, 3), x(3), contract=((1,), (0,)), batch=((1,), (0,)))),
    (DTypeError, "dtypes", lambda: ops.dot_general(x(2), x(2, dtype=int8), contract=((0,), (0,)), batch=((), ()))),
    (DTypeError, "integer", lambda: ops.gather(x(2), x(3), axes=(0,))),
    (ShapeError, "one index", lambda: ops.gather(x(2, 2), x(3, dtype=int32), axes=(0, 1))),
    (ShapeError, "updates", lambda: ops.scatter_add(x(2), x(4), x(3, dtype=int32), axes=(0,))),
    (ShapeError, "each row", lambda: ops.pick(x(2, 3), x(3, dtype=int32))),
    (ShapeError, "axis", lambda: ops.iota(type=TensorType(int32, (3,)), axis=1)),
    (CompileError, "tuple", lambda: ops.item(x(2), index=0)),
]  # fmt: skip


@pytest.mark.parametrize("kind, rule, make", REFUSED, ids=[f"{i}-{r[1]}" for i, r in enumerate(REFUSED)])
def test_refused(kind, rule, make):
    line = Location(__file__, 1)
    with located(line), pytest.raises(kind, match=rule) as raised:
        make()
    assert raised.value.where == line
    assert raised.value.got


OUTSIDE = [
    (lambda i: ops.gather(x(3), i, axes=(0,)), [np.zeros(3, np.float32)]),
    (lambda i: ops.pick(x(1, 3), i), [np.zeros((1, 3), np.float32)]),
    (lambda i: ops.scatter_add(x(3), x(1), i, axes=(0,)), [np.zeros(3, np.float32), np.zeros(1, np.float32)]),
]


@pytest.mark.parametrize("index", [-1, 3])
@pytest.mark.parametrize("make, arrays", OUTSIDE)
def test_index_outside_names_the_line(make, arrays, index):
    line = Location(__file__, 7)
    with located(line):
        node = make(x(1, dtype=int32))
    with pytest.raises(GraphcIndexError, match=str(index)) as raised:
        evaluate(node, [*arrays, np.array([index], np.int32)])
    assert raised.value.where == line


def test_errors_are_also_what_python_programs_expect():
    assert issubclass(ShapeError, ValueError) and issubclass(DTypeError, TypeError)
    assert issubclass(GraphcIndexError, IndexError) and issubclass(GraphcIndexError, GraphcError)
