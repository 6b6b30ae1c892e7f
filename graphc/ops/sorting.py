"""Ops that put the elements along the last axis in order. NaN is the greatest, −0 equals 0, equals keep their order."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..errors import ShapeError
from ..ir import Node
from ..op import Kind
from ..sort import Sort, order_of
from ..types import TensorType, TupleType, int64
from .declare import op
from .values import reshaped, unreduced, zeros_like

Gradient = tuple[Node | None, Node | None]


def _call(wanted: tuple[bool, ...], x: TensorType, count: int, descending: bool) -> Sort:
    size = x.shape[-1]
    return Sort(x.dtype, x.size // size if size else 0, size, count, descending, *wanted)


def _first(x: np.ndarray, count: int, descending: bool) -> tuple[np.ndarray, np.ndarray]:
    order = order_of(x, descending)[..., :count]
    return np.take_along_axis(x, order, -1), order.astype(np.int64, copy=False)


def _vjp(g: Gradient, y: Node, x: Node, **attrs: Any) -> tuple[Node | None]:
    """Each element's gradient goes back to where it came from; positions have none."""
    values, _ = g
    if values is None or not values.tensor_type.size:
        return (None if values is None else zeros_like(x),)
    size, count = x.shape[-1], values.shape[-1]
    rows = x.tensor_type.size // size
    of_row = ops.multiply(
        ops.iota(type=TensorType(int64, (rows,)), axis=0),
        ops.full(size, TensorType(int64, (rows,))),
    )
    index = reshaped(ops.item(y, index=1), (rows, count))
    places = reshaped(ops.add(index, unreduced(of_row, (rows, count), (1,))), (rows * count,))
    flat = zeros_like(reshaped(x, (rows * size,)))
    return (reshaped(ops.scatter_add(flat, reshaped(values, (rows * count,)), places, axes=(0,)), x.shape),)


def _sort_type(x: TensorType, descending: bool) -> TupleType:
    if not x.ndim:
        raise ShapeError("sort needs an axis to sort along", got=str(x))
    return TupleType((x, x.with_dtype(int64)))


# x with each row in order, and the positions in the row that its elements come from.
@op(Kind.CALL, _sort_type, _vjp, call=lambda wanted, x, descending: _call(wanted, x, x.shape[-1], descending))
def sort(x: np.ndarray, descending: bool) -> tuple[np.ndarray, np.ndarray]:
    return _first(x, x.shape[-1], descending)


def _top_k_type(x: TensorType, k: int) -> TupleType:
    if not x.ndim:
        raise ShapeError("top_k needs an axis to choose along", got=str(x))
    if not 0 <= k <= x.shape[-1]:
        raise ShapeError("top_k takes 0 ≤ k ≤ the size of the last axis", got=f"k {k} of {x}")
    found = x.with_shape((*x.shape[:-1], k))
    return TupleType((found, found.with_dtype(int64)))


# The k greatest elements of each row, the greatest first, and their positions in the row.
@op(Kind.CALL, _top_k_type, _vjp, call=lambda wanted, x, k: _call(wanted, x, k, True))
def top_k(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    return _first(x, k, True)
