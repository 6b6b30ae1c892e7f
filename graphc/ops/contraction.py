"""Contractions: sums of products, which matmul, einsum and all linear layers are made of."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ..dataclass import dataclass
from ..errors import DTypeError, ShapeError
from ..index import Index
from ..ir import Node
from ..op import Contraction, Kind, Piece
from ..types import DType, TensorType, int8, int32, uint8
from . import rules
from .bits import cast
from .declare import op
from .rules import NUMBERS
from .values import permuted

Axes = tuple[int, ...]
Pair = tuple[Axes, Axes]
Indices = tuple[Index, ...]


@dataclass(frozen=True)
class _Roles:
    """The axes of one input by role: batch and contracted in the order of the attrs, free ones ascending."""

    batch: Axes
    contracted: Axes
    free: Axes

    @staticmethod
    def of(ndim: int, batch: Axes, contracted: Axes) -> _Roles:
        return _Roles(batch, contracted, tuple(a for a in range(ndim) if a not in (*batch, *contracted)))


@lru_cache(maxsize=1024)
def _roles(a_ndim: int, b_ndim: int, contract: Pair, batch: Pair) -> tuple[_Roles, _Roles]:
    return _Roles.of(a_ndim, batch[0], contract[0]), _Roles.of(b_ndim, batch[1], contract[1])


def can_give(a: DType, b: DType, result: DType) -> bool:
    """Whether inputs of these dtypes can be multiplied and summed to `result`: their own dtype, or the wider one that
    narrow numbers are summed in, float32 for floats of 16 bits and int32 for integers of 8."""
    if a is not b:
        return {a, b} <= {int8, uint8} and result is int32
    return result is a or result is (int32 if a in (int8, uint8) else a.computes_as)


def _dot_general_type(
    a: TensorType, b: TensorType, contract: Pair, batch: Pair, result: DType | None = None
) -> TensorType:
    rules.require(dot_general.name, NUMBERS, a, b)
    result = result or a.dtype
    if not can_give(a.dtype, b.dtype, result):
        raise DTypeError(
            "dot_general needs inputs of equal dtypes and gives that dtype; float32 of 16-bit floats, and int32 of "
            "8-bit integers of either sign, if asked",
            got=f"{a} and {b} for {result}",
        )
    for x, side in ((a, 0), (b, 1)):
        axes = (*contract[side], *batch[side])
        if len(set(axes)) != len(axes) or any(not 0 <= i < x.ndim for i in axes):
            raise ShapeError("dot_general needs distinct axes of its inputs", got=f"axes {axes} of {x}")
    for what, (of_a, of_b) in (("contracted", contract), ("batch", batch)):
        if tuple(a.shape[i] for i in of_a) != tuple(b.shape[i] for i in of_b):
            raise ShapeError(
                f"dot_general needs {what} axes of equal sizes", got=f"axes {of_a} of {a}, {of_b} of {b}"
            )
    left, right = _roles(a.ndim, b.ndim, contract, batch)
    kept = [a.shape[i] for i in (*left.batch, *left.free)] + [b.shape[i] for i in right.free]
    return TensorType(result, tuple(kept))


_FEW = 8  # rows, so that converting the other operand is more work than multiplying it
_MANY = 1 << 17  # elements, a megabyte in float64


def _few_rows(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The product in float64, to which some columns at a time are converted, so that they stay in the processor's
    cache."""
    rows = rows.astype(np.float64)
    result = np.empty((rows.shape[0], columns.shape[1]), np.float32)
    width = max(1, _MANY // columns.shape[0])
    for start in range(0, columns.shape[1], width):
        some = slice(start, start + width)
        result[:, some] = rows @ columns[:, some].astype(np.float64)
    return result


def _dot_general_vjp(
    g: Node, y: Node, a: Node, b: Node, contract: Pair, batch: Pair, result: DType | None = None
) -> tuple[Node, Node]:
    """Where the result is wider than the inputs, their gradients are summed in its dtype and rounded once."""
    left, right = _roles(len(a.shape), len(b.shape), contract, batch)
    first = len(left.batch) + len(left.free)
    wide_a, wide_b = (x if x.dtype is g.dtype else cast(x, dtype=g.dtype) for x in (a, b))
    found = (
        _input_gradient(g, wide_b, left, right, tuple(range(first, first + len(right.free)))),
        _input_gradient(g, wide_a, right, left, tuple(range(len(left.batch), first))),
    )
    to_a, to_b = (d if d.dtype is x.dtype else cast(d, dtype=x.dtype) for d, x in zip(found, (a, b), strict=True))
    return to_a, to_b


def _input_gradient(g: Node, other: Node, own: _Roles, others: _Roles, others_free: Axes) -> Node:
    """g times the other input, summed over the other's free axes, which g has at `others_free`.

    The product's axes are the batch, g's remaining axes, which are this input's free ones, and the other's
    contracted ones in ascending order; a permutation brings them to this input's order.
    """
    batch = (tuple(range(len(own.batch))), others.batch)
    product = dot_general(g, other, contract=(others_free, others.free), batch=batch)
    ascending = sorted(range(len(others.contracted)), key=lambda i: others.contracted[i])
    order = (*own.batch, *own.free, *(own.contracted[i] for i in ascending))
    return permuted(product, tuple(order.index(i) for i in range(len(order))))


def _sizes(
    a: TensorType, b: TensorType, contract: Pair, batch: Pair, result: DType | None = None
) -> tuple[int, ...]:
    return tuple(a.shape[i] for i in contract[0])


def _operands(
    index: Indices,
    contracted: Indices,
    a: TensorType,
    b: TensorType,
    contract: Pair,
    batch: Pair,
    result: DType | None = None,
) -> tuple[Piece, Piece]:
    left, right = _roles(a.ndim, b.ndim, contract, batch)
    batches, rest = index[: len(left.batch)], index[len(left.batch) :]
    return (
        Piece(0, _at(left, batches, rest[: len(left.free)], contracted)),
        Piece(1, _at(right, batches, rest[len(left.free) :], contracted)),
    )


def _at(roles: _Roles, batch: Indices, free: Indices, contracted: Indices) -> Indices:
    where = dict(
        zip((*roles.batch, *roles.free, *roles.contracted), (*batch, *free, *contracted), strict=True)
    )
    return tuple(where[i] for i in range(len(where)))


# The product of a and b over pairs of `batch` axes, summed over pairs of `contract` axes.
# Result axes: batch, free axes of a, free axes of b. `result` is its dtype, left out where it is that of the inputs.
@op(Kind.CONTRACTION, _dot_general_type, _dot_general_vjp, contraction=Contraction(_sizes, _operands))
def dot_general(
    a: np.ndarray, b: np.ndarray, contract: Pair, batch: Pair, result: DType | None = None
) -> np.ndarray:
    """As one batched matrix product; float32 numbers are multiplied and added in float64."""
    if result is int32:
        a, b = a.astype(np.int32), b.astype(np.int32)
    left, right = _roles(a.ndim, b.ndim, contract, batch)
    shape = [a.shape[i] for i in (*left.batch, *left.free)] + [b.shape[i] for i in right.free]
    batches, m, k, n = (
        math.prod([x.shape[i] for i in axes])
        for x, axes in ((a, left.batch), (a, left.free), (a, left.contracted), (b, right.free))
    )
    first = (batches,) if left.batch else ()
    rows = a.transpose(left.batch + left.free + left.contracted).reshape(*first, m, k)
    columns = b.transpose(right.batch + right.contracted + right.free).reshape(*first, k, n)
    if a.dtype != np.float32:
        product = rows @ columns
    elif not first and m <= _FEW and k * n > _MANY:
        product = _few_rows(rows, columns)
    elif not first and n <= _FEW and k * m > _MANY:
        product = _few_rows(columns.T, rows.T).T
    else:
        product = rows.astype(np.float64) @ columns.astype(np.float64)
    return product.reshape(shape).astype(a.dtype, copy=False)
