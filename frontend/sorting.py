"""Array functions that sort, with the names and signatures of the Python array API standard, and `top_k`."""

from __future__ import annotations

import numpy as np

from graphc import ops
from graphc.brief import brief
from graphc.errors import ArgumentError, ShapeError
from graphc.sort import in_order
from graphc.types import int64

from .binary import add, less, less_equal, logical_and, logical_not, logical_or, minimum
from .context import current_frame
from .emit import (
    ArrayLike,
    as_tensor,
    cast,
    elements,
    emit,
    emit_items,
    normal_axis,
    operands,
    operation,
    stretch,
    whole,
)
from .searching import take, where
from .shapes import moveaxis
from .tensor import Tensor, concrete
from .unary import isnan


def _sorted(x: ArrayLike, axis: int, descending: bool, result: int) -> Tensor:
    x = as_tensor(x)
    place = normal_axis(axis, x.ndim)
    if place == x.ndim - 1:
        return emit_items(ops.sort, [x], descending=bool(descending))[result]
    return moveaxis(emit_items(ops.sort, [moveaxis(x, place, -1)], descending=bool(descending))[result], -1, place)


def _at_once(x: Tensor, axis: int, descending: bool) -> Tensor:
    """Without positions, which take ten times as long."""
    rows = np.moveaxis(elements(x), normal_axis(axis, x.ndim), -1)
    return concrete(np.ascontiguousarray(np.moveaxis(in_order(rows, descending), -1, axis)))


@operation
def sort(x: ArrayLike, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """x in order along an axis. NaN counts as the greatest: it comes last, and first where `descending`.

    Equal elements keep their order, whatever `stable` says; −0.0 equals 0.0. The gradient goes to where each element
    was.
    """
    x = as_tensor(x)
    if current_frame() is None:
        return _at_once(x, axis, bool(descending))
    return _sorted(x, axis, descending, 0)


@operation
def argsort(x: ArrayLike, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The positions (int64) along an axis of the elements in order, as `sort` puts them: of equals the first one first,
    whatever `stable` says. Together with `sort` of the same x in a compiled function, it is sorted once."""
    return _sorted(x, axis, descending, 1)


@operation
def top_k(x: ArrayLike, k: int, /) -> tuple[Tensor, Tensor]:
    """The k greatest elements along the last axis, the greatest first, and their positions (int64).

    Of equal elements the one with the lower position comes first; NaN counts as the greatest. The gradient of the
    values goes to where they were. Raises ShapeError where the axis has less than k elements.
    """
    values, indices = emit_items(ops.top_k, [as_tensor(x)], k=whole(k, "gx.top_k takes a whole number of elements"))
    return values, indices


@operation
def searchsorted(
    x1: ArrayLike, x2: ArrayLike, /, *, side: str = "left", sorter: ArrayLike | None = None
) -> Tensor:
    """Where to insert the elements of x2 into the sorted 1-dimensional x1 so that it stays sorted: positions (int64).

    Among equals, `side` "left" gives the first position and "right" the one behind the last. `sorter`: positions that
    put x1 in order, as `argsort` gives. NaN counts as the greatest.
    """
    if side not in ("left", "right"):
        raise ArgumentError("gx.searchsorted takes side='left' or side='right'", got=brief(side))
    x1, x2 = operands(x1, x2)
    if x1.ndim != 1:
        raise ShapeError("gx.searchsorted takes a sorted array of one dimension", got=str(x1.type))
    if sorter is not None:
        x1 = take(x1, sorter)
    size = x1.shape[0]
    found = stretch(as_tensor(0, int64), x2.shape)
    if not size or not x2.size:
        return found
    step = 1 << (size.bit_length() - 1)
    while step:  # found + step elements come before the place if the last of them does
        last = minimum(add(found, step - 1), size - 1)
        here = emit(ops.gather, x1, last, axes=(0,))
        ahead = _before(here, x2) if side == "left" else _before_or_equal(here, x2)
        found = where(logical_and(less_equal(found, size - step), ahead), add(found, step), found)
        step //= 2
    return found


def _before(a: Tensor, b: Tensor) -> Tensor:
    if not a.dtype.is_float:
        return less(a, b) if not a.dtype.is_bool else less(cast(a, int64), cast(b, int64))
    return logical_or(less(a, b), logical_and(isnan(b), logical_not(isnan(a))))


def _before_or_equal(a: Tensor, b: Tensor) -> Tensor:
    if not a.dtype.is_float:
        return less_equal(a, b) if not a.dtype.is_bool else less_equal(cast(a, int64), cast(b, int64))
    return logical_or(less_equal(a, b), isnan(b))


__all__ = ["argsort", "searchsorted", "sort", "top_k"]
