"""Views: each output element is an element of an input, or a fill value. A kernel only changes an index for them."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..errors import DTypeError, ShapeError
from ..index import Bound, Index, flatten, unflatten
from ..ir import Node
from ..op import Kind, Piece
from ..types import TensorType, bool_
from . import rules
from .declare import op
from .values import full, masked, permuted, reshaped, scalar_constant

Shape = tuple[int, ...]
Indices = tuple[Index, ...]


def _reshape_type(x: TensorType, shape: Shape) -> TensorType:
    if math.prod(shape) != x.size or any(s < 0 for s in shape):
        raise ShapeError("reshape keeps the number of elements", got=f"{x} to {list(shape)}")
    return x.with_shape(tuple(shape))


def _reshape_pull(index: Indices, x: TensorType, shape: Shape) -> tuple[Piece, ...]:
    return (Piece(0, unflatten(flatten(index, shape), x.shape)),)


@op(
    Kind.VIEW,
    _reshape_type,
    vjp=lambda g, y, x, shape: (reshaped(g, x.shape),),
    pull=_reshape_pull,
    inverse=lambda index, x, shape: unflatten(flatten(index, x.shape), shape),
    in_order=True,
)
def reshape(x: np.ndarray, shape: Shape) -> np.ndarray:
    return x.reshape(shape)


def _permute_type(x: TensorType, axes: Shape) -> TensorType:
    if sorted(axes) != list(range(x.ndim)):
        raise ShapeError("permute needs every axis of its input once", got=f"axes {tuple(axes)} of {x}")
    return x.with_shape(tuple(x.shape[a] for a in axes))


def _inverse(axes: Shape) -> Shape:
    return tuple(axes.index(a) for a in range(len(axes)))


# Output axis i is input axis axes[i].
@op(
    Kind.VIEW,
    _permute_type,
    vjp=lambda g, y, x, axes: (permute(g, axes=_inverse(axes)),),
    pull=lambda index, x, axes: (Piece(0, tuple(index[a] for a in _inverse(axes))),),
    inverse=lambda index, x, axes: tuple(index[a] for a in axes),
)
def permute(x: np.ndarray, axes: Shape) -> np.ndarray:
    return x.transpose(axes)


def _broadcast_type(x: TensorType, shape: Shape, dims: Shape) -> TensorType:
    inside = len(dims) == x.ndim and len(set(dims)) == len(dims) and all(0 <= d < len(shape) for d in dims)
    if not inside or any(shape[d] != s for d, s in zip(dims, x.shape, strict=True)):
        raise ShapeError(
            "broadcast puts each axis of its input at an axis of equal size",
            got=f"{x} to {list(shape)} at axes {tuple(dims)}",
            hint="drop axes of size 1 with reshape first",
        )
    return x.with_shape(tuple(shape))


def _broadcast_vjp(g: Node, y: Node, x: Node, shape: Shape, dims: Shape) -> tuple[Node]:
    added = tuple(d for d in range(len(shape)) if d not in dims)
    if added:
        g = ops.sum(g, axes=added)
    return (permuted(g, tuple(sorted(dims).index(d) for d in dims)),)


# Input axis i is output axis dims[i], of equal size; the other output axes repeat it.
@op(
    Kind.VIEW,
    _broadcast_type,
    _broadcast_vjp,
    pull=lambda index, x, shape, dims: (Piece(0, tuple(index[d] for d in dims)),),
)
def broadcast(x: np.ndarray, shape: Shape, dims: Shape) -> np.ndarray:
    order = sorted(dims)
    ordered = x if list(dims) == order else x.transpose([dims.index(d) for d in order])
    sizes = [shape[d] if d in dims else 1 for d in range(len(shape))]
    return np.broadcast_to(ordered.reshape(sizes), shape)


def _slice_type(x: TensorType, start: Shape, stop: Shape, step: Shape) -> TensorType:
    legal = len(start) == len(stop) == len(step) == x.ndim and all(
        0 <= a <= b <= n and s > 0 for a, b, s, n in zip(start, stop, step, x.shape, strict=True)
    )
    if not legal:
        raise ShapeError(
            "slice needs 0 ≤ start ≤ stop ≤ size and a positive step for each axis",
            got=f"{x} from {tuple(start)} to {tuple(stop)} by {tuple(step)}",
        )
    return x.with_shape(tuple(-(-(b - a) // s) for a, b, s in zip(start, stop, step, strict=True)))


def _slice_vjp(g: Node, y: Node, x: Node, start: Shape, stop: Shape, step: Shape) -> tuple[Node]:
    """Zeros before, after and, for steps, between: an axis of size `step` of which only the first is taken."""
    zero = scalar_constant(0, x.dtype)
    if any(s > 1 for s in step):
        gaps = reshaped(g, tuple(size for n in g.shape for size in (n, 1)))
        wide = pad(gaps, zero, low=(0,) * len(gaps.shape), high=tuple(w for s in step for w in (0, s - 1)))
        g = reshaped(wide, tuple(n * s for n, s in zip(g.shape, step, strict=True)))
        room = tuple(min(n, size - a) for n, size, a in zip(g.shape, x.shape, start, strict=True))
        if room != g.shape:  # the last gap may reach beyond the end
            g = slice(g, start=(0,) * len(room), stop=room, step=(1,) * len(room))
    after = tuple(size - a - n for size, a, n in zip(x.shape, start, g.shape, strict=True))
    return (pad(g, zero, low=start, high=after) if any((*start, *after)) else g,)


@op(
    Kind.VIEW,
    _slice_type,
    _slice_vjp,
    pull=lambda index, x, start, stop, step: (
        Piece(0, tuple(i * s + a for i, a, s in zip(index, start, step, strict=True))),
    ),
)
def slice(x: np.ndarray, start: Shape, stop: Shape, step: Shape) -> np.ndarray:
    from builtins import slice

    return x[tuple(slice(*bounds) for bounds in zip(start, stop, step, strict=True))]


def _flip_type(x: TensorType, axes: Shape) -> TensorType:
    rules.check_axes(flip.name, axes, x.ndim)
    return x


def _flipped(index: Indices, x: TensorType, axes: Shape) -> Indices:
    return tuple(i * -1 + (x.shape[a] - 1) if a in axes else i for a, i in enumerate(index))


@op(
    Kind.VIEW,
    _flip_type,
    vjp=lambda g, y, x, axes: (flip(g, axes=axes),),
    pull=lambda index, x, axes: (Piece(0, _flipped(index, x, axes)),),
    inverse=_flipped,
)
def flip(x: np.ndarray, axes: Shape) -> np.ndarray:
    return np.flip(x, axes)


def _pad_type(x: TensorType, fill: TensorType, low: Shape, high: Shape) -> TensorType:
    if fill.shape:
        raise ShapeError("pad's fill is a scalar", got=str(fill))
    if fill.dtype is not x.dtype:
        raise DTypeError("pad's fill has the dtype of its input", got=f"{fill.dtype} for {x.dtype}")
    if not len(low) == len(high) == x.ndim or any(w < 0 for w in (*low, *high)):
        raise ShapeError(
            "pad needs a width of 0 or more before and after each axis", got=f"{x} by {low} and {high}"
        )
    return x.with_shape(tuple(n + a + b for n, a, b in zip(x.shape, low, high, strict=True)))


def _pad_vjp(g: Node, y: Node, x: Node, fill: Node, low: Shape, high: Shape) -> tuple[Node, Node]:
    stop = tuple(a + n for a, n in zip(low, x.shape, strict=True))
    inside = slice(g, start=low, stop=stop, step=(1,) * len(low))
    outside = pad(
        full(False, x.tensor_type.with_dtype(bool_)), scalar_constant(True, bool_), low=low, high=high
    )
    return inside, ops.sum(masked(outside, g), axes=tuple(range(len(low))))


def _pad_pull(index: Indices, x: TensorType, fill: TensorType, low: Shape, high: Shape) -> tuple[Piece, ...]:
    inner = tuple(i - a for i, a in zip(index, low, strict=True))
    widths = zip(inner, x.shape, low, high, strict=True)
    return Piece(0, inner, tuple(Bound(i, 0, n) for i, n, a, b in widths if a or b)), Piece(1, ())


# `low` and `high` elements of the scalar `fill` before and after each axis.
@op(Kind.VIEW, _pad_type, _pad_vjp, pull=_pad_pull)
def pad(x: np.ndarray, fill: np.ndarray, low: Shape, high: Shape) -> np.ndarray:
    from builtins import slice

    result = np.full([n + a + b for n, a, b in zip(x.shape, low, high, strict=True)], fill, x.dtype)
    result[tuple(slice(a, a + n) for n, a in zip(x.shape, low, strict=True))] = x
    return result


def _concat_type(*xs: TensorType, axis: int) -> TensorType:
    if not xs:
        raise ShapeError("concat needs at least one input", got="none")
    first = xs[0]
    if not 0 <= axis < first.ndim:
        raise ShapeError("concat joins along an axis of its inputs", got=f"axis {axis} of {first}")
    for x in xs[1:]:
        if x.dtype is not first.dtype:
            raise DTypeError("concat needs inputs of equal dtypes", got=f"{first.dtype} and {x.dtype}")
        if x.ndim != first.ndim or any(x.shape[a] != first.shape[a] for a in range(first.ndim) if a != axis):
            raise ShapeError(
                f"concat needs inputs whose shapes differ in axis {axis} only", got=f"{first} and {x}"
            )
    joined = sum(x.shape[axis] for x in xs)
    return first.with_shape((*first.shape[:axis], joined, *first.shape[axis + 1 :]))


def _concat_vjp(g: Node, y: Node, *xs: Node, axis: int) -> tuple[Node, ...]:
    parts, at = [], 0
    for x in xs:
        start = (0,) * axis + (at,) + (0,) * (len(x.shape) - axis - 1)
        at += x.shape[axis]
        stop = (*x.shape[:axis], at, *x.shape[axis + 1 :])
        parts.append(slice(g, start=start, stop=stop, step=(1,) * len(start)))
    return tuple(parts)


def _concat_pull(index: Indices, *xs: TensorType, axis: int) -> tuple[Piece, ...]:
    pieces, at = [], 0
    for number, x in enumerate(xs):
        inner = (*index[:axis], index[axis] - at, *index[axis + 1 :])
        pieces.append(Piece(number, inner, (Bound(inner[axis], 0, x.shape[axis]),)))
        at += x.shape[axis]
    return tuple(pieces)


@op(Kind.VIEW, _concat_type, _concat_vjp, pull=_concat_pull)
def concat(*xs: np.ndarray, axis: int) -> np.ndarray:
    return np.concatenate(xs, axis)
