"""Ops that read or write where an integer tensor says. An index i of an axis must satisfy 0 ≤ i < size."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..errors import DTypeError, GraphcIndexError, ShapeError
from ..index import Index
from ..ir import Node
from ..op import Kind, Piece, Read
from ..types import TensorType, int64
from . import rules
from .declare import op
from .rules import INTEGERS, NUMBERS
from .values import masked, unreduced, zeros_like

Axes = tuple[int, ...]
Indices = tuple[Index, ...]


def _gather_type(x: TensorType, *indices: TensorType, axes: Axes) -> TensorType:
    return x.with_shape(_gathered_shape(gather.name, x, indices, axes))


def _gathered_shape(op: str, x: TensorType, indices: tuple[TensorType, ...], axes: Axes) -> tuple[int, ...]:
    """The indices' common shape, then the axes of x that no index selects from."""
    rules.check_axes(op, axes, x.ndim)
    if not indices or len(indices) != len(axes):
        raise ShapeError(f"{op} needs one index tensor for each axis", got=f"{len(indices)} for axes {axes}")
    rules.require(f"{op}'s index", INTEGERS, *indices)
    if any(i.shape != indices[0].shape for i in indices):
        raise ShapeError(f"{op} needs index tensors of equal shapes", got=" and ".join(map(str, indices)))
    return indices[0].shape + tuple(s for a, s in enumerate(x.shape) if a not in axes)


def _check(index: np.ndarray, size: int, axis: int) -> None:
    if index.dtype == np.int64:  # negative ones are large without the sign
        bad = index.view(np.uint64) >= size
    else:
        bad = (index < 0) | (index >= size)
    if np.logical_or.reduce(bad, None):
        value = int(index[bad].flat[0])
        raise GraphcIndexError(f"an index into axis {axis} must lie in 0 ≤ index < {size}", got=str(value))


def _checked(x: np.ndarray, indices: tuple[np.ndarray, ...], axes: Axes) -> tuple[np.ndarray, ...]:
    for axis, index in zip(axes, indices, strict=True):
        _check(index, x.shape[axis], axis)
    return tuple([i.astype(np.int64, copy=False) for i in indices])


def _selected_first(ndim: int, axes: Axes) -> Axes:
    """The permutation that brings `axes` to the front."""
    return (*axes, *(a for a in range(ndim) if a not in axes))


def _gather_vjp(g: Node, y: Node, x: Node, *indices: Node, axes: Axes) -> tuple[Node | None, ...]:
    return scatter_add(zeros_like(x), g, *indices, axes=axes), *(None for _ in indices)


def _place(
    index: Indices, read: Read, first: int, x: TensorType, selector: TensorType, axes: Axes
) -> Indices:
    """The element of x that belongs to an index of the gathered shape; index tensors are inputs `first` and on."""
    picked, rest = index[: selector.ndim], iter(index[selector.ndim :])
    return tuple(
        read(first + axes.index(a), picked, size) if a in axes else next(rest)
        for a, size in enumerate(x.shape)
    )


def _gather_pull(
    index: Indices, read: Read, x: TensorType, *indices: TensorType, axes: Axes
) -> tuple[Piece, ...]:
    return (Piece(0, _place(index, read, 1, x, indices[0], axes)),)


# x at the index tensors' elements along `axes`. Result axes: the indices', then those of x that are not in `axes`.
@op(Kind.INDEXED, _gather_type, _gather_vjp, pull=_gather_pull)
def gather(x: np.ndarray, *indices: np.ndarray, axes: Axes) -> np.ndarray:
    where = _checked(x, indices, axes)
    if len(axes) > 1:
        return x.transpose(_selected_first(x.ndim, axes))[where]
    (index,), (axis,) = where, axes
    taken = x.take(index, axis)  # much quicker than indexing where the axis is not the first
    end = axis + index.ndim
    return taken.transpose((*range(axis, end), *range(axis), *range(end, taken.ndim))) if axis else taken


def _scatter_add_type(x: TensorType, updates: TensorType, *indices: TensorType, axes: Axes) -> TensorType:
    rules.require(scatter_add.name, NUMBERS, x)
    expected = x.with_shape(_gathered_shape(scatter_add.name, x, indices, axes))
    if updates.dtype is not x.dtype:
        raise DTypeError(
            "scatter_add needs updates of its input's dtype", got=f"{updates.dtype} for {x.dtype}"
        )
    if updates.shape != expected.shape:
        raise ShapeError(
            "scatter_add's updates have the shape of the gather", got=f"{updates} for {expected}"
        )
    return x


def _scatter_add_vjp(
    g: Node, y: Node, x: Node, updates: Node, *indices: Node, axes: Axes
) -> tuple[Node | None, ...]:
    return g, gather(g, *indices, axes=axes), *(None for _ in indices)


def _scatter_add_push(
    index: Indices, read: Read, x: TensorType, updates: TensorType, *indices: TensorType, axes: Axes
) -> Indices:
    return _place(index, read, 2, x, indices[0], axes)


# x with the updates added at the positions that gather would read; those that meet are summed.
@op(Kind.INDEXED, _scatter_add_type, _scatter_add_vjp, push=_scatter_add_push)
def scatter_add(x: np.ndarray, updates: np.ndarray, *indices: np.ndarray, axes: Axes) -> np.ndarray:
    where = _checked(x, indices, axes)
    result = np.array(x, np.float64 if x.dtype.kind == "f" else x.dtype)  # rounded once, as sums are
    np.add.at(result.transpose(_selected_first(x.ndim, axes)), where, updates)
    return result.astype(x.dtype)


def _pick_type(x: TensorType, index: TensorType) -> TensorType:
    rules.require("pick's index", INTEGERS, index)
    if not x.ndim or index.shape != x.shape[:-1]:
        raise ShapeError("pick needs an index for each row of its input", got=f"{x} and {index}")
    return x.with_shape(index.shape)


def _pick_vjp(g: Node, y: Node, x: Node, index: Node) -> tuple[Node, None]:
    """By comparing positions, which fuses where a scatter would need a kernel of its own."""
    last = len(x.shape) - 1
    if index.dtype.max < x.shape[last]:  # counting in a narrow dtype would start again at 0
        index = ops.cast(index, dtype=int64)
    positions = ops.iota(type=x.tensor_type.with_dtype(index.dtype), axis=last)
    mask = ops.equal(positions, unreduced(index, x.shape, (last,)))
    return masked(mask, unreduced(g, x.shape, (last,))), None


# One element of each row: x[..., index[...]].
@op(
    Kind.INDEXED,
    _pick_type,
    _pick_vjp,
    pull=lambda index, read, x, which: (Piece(0, (*index, read(1, index, x.shape[-1]))),),
)
def pick(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    size = x.shape[-1]
    _check(index, size, x.ndim - 1)
    rows = x.reshape(index.size, size)
    return rows[np.arange(index.size), index.reshape(-1).astype(np.int64, copy=False)].reshape(index.shape)
