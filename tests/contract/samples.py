"""Samples of every op: inputs and attrs over shapes, edge cases and all dtypes that the op's type rule takes.

An op in the registry without an entry here fails the suite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np

from graphc import ops
from graphc.errors import DTypeError
from graphc.ir import Graph, Literal, Node
from graphc.op import Op, find_op
from graphc.types import (
    DTYPES,
    DType,
    TensorType,
    bfloat16,
    bool_,
    float16,
    float32,
    int8,
    int32,
    int64,
    type_of,
    uint8,
)  # fmt: skip
from tests.contract.values import ordinary, special


@dataclass(frozen=True)
class Sample:
    """One application of an op."""

    op: Op
    arrays: tuple[np.ndarray, ...]
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def types(self) -> tuple[TensorType, ...]:
        return tuple(type_of(a) for a in self.arrays)

    def graph(self) -> Graph:
        return graph_of([self])

    def __str__(self) -> str:
        return f"{self.op.name}({', '.join(map(str, self.types))}, {self.attrs})"


def graph_of(samples: list[Sample]) -> Graph:
    """One graph that computes all the samples; its inputs are their arrays, in order."""
    inputs: list[Node] = []
    outputs = []
    for sample in samples:
        own = [ops.input(type=t, name=f"x{len(inputs) + i}") for i, t in enumerate(sample.types)]
        inputs += own
        outputs.append(sample.op(*own, **sample.attrs))
    return Graph(tuple(inputs), (), (), tuple(outputs))


Maker = Callable[[Op, DType], Iterator[Sample]]


# Elementwise


def _unary(op: Op, dtype: DType, /, **attrs: Any) -> Iterator[Sample]:
    yield Sample(op, (special(dtype),), attrs)
    for seed, shape in enumerate([(37,), (3, 5), (), (0, 4), (1, 1)]):
        yield Sample(op, (ordinary(dtype, shape, seed),), attrs)


def _binary(op: Op, dtype: DType) -> Iterator[Sample]:
    a, b = (x.ravel() for x in np.meshgrid(special(dtype), special(dtype)))
    yield Sample(op, (a, b))
    for seed, shape in enumerate([(37,), (3, 5), (), (4, 0), (1,)]):
        yield Sample(op, (ordinary(dtype, shape, seed), ordinary(dtype, shape, seed + 100)))


def _power(op: Op, dtype: DType) -> Iterator[Sample]:
    """Without exponents so large that any approach through logarithms loses most digits."""
    for sample in _binary(op, dtype):
        x, n = sample.arrays
        yield Sample(
            op, (x, np.where(np.abs(n.astype(np.float64)) > 20, n.dtype.type(2), n) if dtype.is_float else n)
        )


def _select(op: Op, dtype: DType) -> Iterator[Sample]:
    for seed, sample in enumerate(_binary(ops.maximum, dtype)):
        yield Sample(op, (ordinary(bool_, sample.arrays[0].shape, seed), *sample.arrays))


def _cast(op: Op, dtype: DType) -> Iterator[Sample]:
    for target in DTYPES.values():
        yield Sample(op, (special(dtype),), {"dtype": target})
        yield Sample(op, (ordinary(dtype, (2, 3)),), {"dtype": target})


def _bitcast(op: Op, dtype: DType) -> Iterator[Sample]:
    for target in DTYPES.values():
        if target.bits == dtype.bits and not (target.is_float and target.bits == 16):
            yield from _unary(op, dtype, dtype=target)


def _philox(op: Op, dtype: DType) -> Iterator[Sample]:
    counter = np.arange(40)
    key = np.full(40, 0xDEADBEEF), np.full(40, 11)
    yield Sample(op, tuple(x.astype(dtype.numpy) for x in (*key, counter * 3, counter % 5)))


# Reductions


def _reduction(op: Op, dtype: DType, of_nothing: bool = True) -> Iterator[Sample]:
    for shape, axes in [
        ((4, 5), (1,)), ((4, 5), (0,)), ((4, 5), (0, 1)), ((2, 3, 4), (1,)), ((2, 3, 4), (0, 2)), ((2, 3, 4), (1, 2)),
        ((2, 3, 4), (0, 1)), ((7,), (0,)), ((3, 1), (1,)), ((1, 3), (0,)), ((2, 3), ()), ((), ()), ((1,), (0,)),
        ((33, 67), (1,)), ((33, 67), (0,)), ((0, 3), (1,)),
    ]:  # fmt: skip
        yield Sample(op, (ordinary(dtype, shape, len(shape)),), {"axes": axes})
    if of_nothing:
        yield Sample(op, (ordinary(dtype, (3, 0)),), {"axes": (1,)})
        yield Sample(op, (ordinary(dtype, (3, 0, 2)),), {"axes": (0, 1)})
    yield Sample(op, (_rows_with_edge_cases(dtype),), {"axes": (1,)})


def _rows_with_edge_cases(dtype: DType) -> np.ndarray:
    """Each row ordinary but for one special value, in any place, and rows of equal elements. Without floats so
    large that it depends on the order whether a sum or product overflows."""
    edges = special(dtype)
    if dtype.is_float:
        edges = edges[~(np.isfinite(edges) & (np.abs(edges) > 100))]
    rows = ordinary(dtype, (len(edges), 6), 5)
    rows[np.arange(len(edges)), np.arange(len(edges)) % 6] = edges
    return np.concatenate([rows, np.repeat(edges[:, None], 6, 1)])


# Views


def _reshape(op: Op, dtype: DType) -> Iterator[Sample]:
    for shape, new in [((2, 6), (3, 4)), ((2, 3, 4), (24,)), ((24,), (4, 3, 2)), ((1,), ()), ((), (1, 1)),
                       ((6, 1), (2, 3)), ((0, 3), (2, 0)), ((2, 3, 4), (6, 4)), ((5, 6), (10, 3))]:  # fmt: skip
        yield Sample(op, (ordinary(dtype, shape),), {"shape": new})


def _permute(op: Op, dtype: DType) -> Iterator[Sample]:
    for shape, axes in [((2, 3), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((2, 3, 4), (0, 1, 2)), ((), ()), ((0, 2), (1, 0)),
                        ((2, 1, 3, 2), (3, 1, 0, 2))]:  # fmt: skip
        yield Sample(op, (ordinary(dtype, shape),), {"axes": axes})


def _broadcast(op: Op, dtype: DType) -> Iterator[Sample]:
    for shape, new, dims in [((3,), (2, 3), (1,)), ((3,), (3, 2), (0,)), ((), (2, 3), ()), ((2, 3), (3, 4, 2), (2, 0)),
                             ((2, 3), (2, 3), (0, 1)), ((1,), (1, 4), (0,)), ((2,), (0, 2), (1,)), ((), (), ()),
                             ((3, 2), (2, 3), (1, 0))]:  # fmt: skip
        yield Sample(op, (ordinary(dtype, shape),), {"shape": new, "dims": dims})


def _slice(op: Op, dtype: DType) -> Iterator[Sample]:
    for shape, start, stop, step in [
        ((6,), (1,), (5,), (1,)), ((7,), (0,), (7,), (2,)), ((7,), (1,), (7,), (3,)), ((5, 6), (1, 0), (4, 6), (1, 2)),
        ((3,), (2,), (2,), (1,)), ((), (), (), ()), ((4, 4), (0, 1), (4, 3), (3, 1)), ((10,), (2,), (9,), (4,)),
        ((0, 2), (0, 0), (0, 2), (1, 1)), ((8,), (1,), (8,), (2,)),
    ]:  # fmt: skip
        yield Sample(op, (ordinary(dtype, shape),), {"start": start, "stop": stop, "step": step})


def _delay(op: Op, dtype: DType) -> Iterator[Sample]:
    yield Sample(op, (ordinary(dtype, (2, 3)), ordinary(int32, (4,))))


def _flip(op: Op, dtype: DType) -> Iterator[Sample]:
    for shape, axes in [
        ((5,), (0,)),
        ((2, 3), (1,)),
        ((2, 3), (0, 1)),
        ((2, 3), ()),
        ((), ()),
        ((1, 0), (1,)),
    ]:
        yield Sample(op, (ordinary(dtype, shape),), {"axes": axes})


def _pad(op: Op, dtype: DType) -> Iterator[Sample]:
    for shape, low, high in [((3,), (1,), (2,)), ((2, 3), (0, 1), (2, 0)), ((2, 3), (0, 0), (0, 0)), ((), (), ()),
                             ((0, 2), (1, 0), (1, 1)), ((1,), (0,), (4,)), ((0,), (2,), (1,))]:  # fmt: skip
        yield Sample(op, (ordinary(dtype, shape), ordinary(dtype, (), 3)), {"low": low, "high": high})


def _concat(op: Op, dtype: DType) -> Iterator[Sample]:
    for shapes, axis in [
        (((3,), (2,)), 0), (((2, 3), (2, 1), (2, 4)), 1), (((1, 2), (3, 2)), 0), (((2, 0), (2, 3)), 1), (((4,),), 0),
        (((2, 3), (0, 3)), 0),
    ]:  # fmt: skip
        yield Sample(op, tuple(ordinary(dtype, s, i) for i, s in enumerate(shapes)), {"axis": axis})


# Contractions and indexed ops


def _dot_general(op: Op, dtype: DType) -> Iterator[Sample]:
    nothing = ((), ())
    for a, b, contract, batch in [
        ((3, 4), (4, 5), ((1,), (0,)), nothing), ((4, 3), (4, 5), ((0,), (0,)), nothing),
        ((3, 4), (5, 4), ((1,), (1,)), nothing), ((2, 3, 4), (2, 4, 5), ((2,), (1,)), ((0,), (0,))),
        ((2, 3, 4, 5), (3, 5, 2, 6), ((3,), (1,)), ((0, 1), (2, 0))), ((3, 4), (4,), ((1,), (0,)), nothing),
        ((4,), (4,), ((0,), (0,)), nothing), ((2, 3, 4), (4, 2, 5), ((0, 2), (1, 0)), nothing),
        ((3,), (4,), nothing, nothing), ((1, 4), (4, 1), ((1,), (0,)), nothing), ((), (3,), nothing, nothing),
        ((3, 0), (0, 2), ((1,), (0,)), nothing), ((0, 3), (3, 2), ((1,), (0,)), nothing),
        ((17, 33), (33, 19), ((1,), (0,)), nothing),
    ]:  # fmt: skip
        arrays = (ordinary(dtype, a, 1), ordinary(dtype, b, 2))
        attrs = {"contract": contract, "batch": batch}
        yield Sample(op, arrays, attrs)
        if dtype in (float16, bfloat16):
            yield Sample(op, arrays, {**attrs, "result": float32})
        if dtype in (int8, uint8):
            yield Sample(op, arrays, {**attrs, "result": int32})
            other = ordinary(int8 if dtype is uint8 else uint8, b, 3)
            yield Sample(op, (arrays[0], other), {**attrs, "result": int32})


_GATHERS: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [   # shape of x, of the indices, axes
    ((5, 3), (4,), (0,)), ((5, 3), (2, 2), (1,)), ((5, 3), (6,), (0, 1)), ((2, 3, 4), (3,), (0, 2)), ((5,), (), (0,)),
    ((2, 3, 4), (2, 2), (1,)), ((5, 3), (0,), (0,)), ((1, 2), (3,), (0,)),
]  # fmt: skip


def _indices(
    x: tuple[int, ...], shape: tuple[int, ...], axes: tuple[int, ...], dtype: DType
) -> list[np.ndarray]:
    rng = np.random.default_rng(len(x))
    return [np.asarray(rng.integers(0, x[a], shape)).astype(dtype.numpy) for a in axes]


def _gather(op: Op, dtype: DType) -> Iterator[Sample]:
    for shape, index, axes in _GATHERS:
        for integer in (int64, int32, uint8) if index == (4,) else (int64,):
            yield Sample(op, (ordinary(dtype, shape), *_indices(shape, index, axes, integer)), {"axes": axes})


def _scatter_add(op: Op, dtype: DType) -> Iterator[Sample]:
    for shape, index, axes in _GATHERS:
        rest = tuple(s for a, s in enumerate(shape) if a not in axes)
        arrays = (
            ordinary(dtype, shape),
            ordinary(dtype, index + rest, 7),
            *_indices(shape, index, axes, int64),
        )
        yield Sample(op, arrays, {"axes": axes})


def _pick(op: Op, dtype: DType) -> Iterator[Sample]:
    for shape in [(4, 3), (3,), (2, 3, 5), (0, 2)]:
        index = np.asarray(np.random.default_rng(1).integers(0, shape[-1], shape[:-1]))
        for integer in (int64, uint8):
            yield Sample(op, (ordinary(dtype, shape), index.astype(integer.numpy)))


# Sources


def _constant(op: Op, dtype: DType) -> Iterator[Sample]:
    for array in (special(dtype), ordinary(dtype, ()), ordinary(dtype, (2, 0)), ordinary(dtype, (2, 3))):
        yield Sample(op, (), {"value": Literal(array)})


def _iota(op: Op, dtype: DType) -> Iterator[Sample]:
    for shape, axis in [((5,), 0), ((2, 3), 0), ((2, 3), 1), ((0, 2), 1), ((300,), 0)]:
        yield Sample(op, (), {"type": TensorType(dtype, shape), "axis": axis})


def _cumulative(op: Op, dtype: DType, count: int = 1) -> Iterator[Sample]:
    for shape, axis in [
        ((4, 5), 1), ((4, 5), 0), ((2, 3, 4), 1), ((2, 3, 4), 0), ((7,), 0), ((3, 1), 1), ((1, 3), 0), ((1,), 0),
        ((3, 67), 1), ((35, 5), 0), ((0, 3), 1), ((3, 0), 1), ((3, 0, 2), 0),
    ]:  # fmt: skip
        arrays = [ordinary(dtype, shape, len(shape) + 10 * k) for k in range(count)]
        if dtype.is_float and op in (ops.cumulative_prod, ops.linear_recurrence):
            # Products of many stay numbers.
            arrays[0] = (np.sign(arrays[0]) * np.exp(arrays[0] / 20)).astype(dtype.numpy)
        yield Sample(op, tuple(arrays), {"axis": axis})
    if count == 1:
        yield Sample(op, (_rows_with_edge_cases(dtype),), {"axis": 1})


_NOT_EMPTY = partial(_reduction, of_nothing=False)

_UNARY = [
    "negative",
    "square",
    "sqrt",
    "rsqrt",
    "cbrt",
    "reciprocal",
    "abs",
    "sign",
    "floor",
    "ceil",
    "trunc",
    "round",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sigmoid",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "erf",
    "erfc",
    "normal_cdf",
    "isnan",
    "isinf",
    "isfinite",
    "signbit",
    "logical_not",
    "bitwise_invert",
    "stop_gradient",
]

_BINARY = [
    "add",
    "subtract",
    "difference",
    "multiply",
    "divide",
    "floor_divide",
    "remainder",
    "hypot",
    "copysign",
    "maximum",
    "minimum",
    "logaddexp",
    "atan2",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "left_shift",
    "right_shift",
]

MAKERS: dict[str, Maker] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
    "power": _power,
    "select": _select,
    "cast": _cast,
    "bitcast": _bitcast,
    "philox": _philox,
    "sum": _reduction,
    "prod": _reduction,
    "any": _reduction,
    "all": _reduction,
    "max": _NOT_EMPTY,
    "min": _NOT_EMPTY,
    "argmax": _NOT_EMPTY,
    "argmin": _NOT_EMPTY,
    "cumulative_sum": _cumulative,
    "cumulative_prod": _cumulative,
    "cumulative_max": _cumulative,
    "cumulative_min": _cumulative,
    "logcumsumexp": _cumulative,
    "linear_recurrence": partial(_cumulative, count=2),
    "reshape": _reshape,
    "permute": _permute,
    "broadcast": _broadcast,
    "slice": _slice,
    "flip": _flip,
    "delay": _delay,
    "pad": _pad,
    "concat": _concat,
    "dot_general": _dot_general,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "pick": _pick,
    "constant": _constant,
    "iota": _iota,
}  # fmt: skip


def accepts(op: Op, dtype: DType) -> bool:
    """Whether the op's own type rule takes samples of that dtype."""
    try:
        sample = next(MAKERS[op.name](op, dtype), None)
        if sample is not None:
            sample.graph()
    except DTypeError:
        return False
    return sample is not None


@cache
def samples_of(name: str, dtype: DType) -> list[Sample]:
    """The op's samples of one dtype; none where its type rule refuses the dtype."""
    op = find_op(name)
    return list(MAKERS[name](op, dtype)) if accepts(op, dtype) else []


def all_samples(name: str) -> list[Sample]:
    return [s for dtype in DTYPES.values() for s in samples_of(name, dtype)]
