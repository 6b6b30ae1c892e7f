"""Array functions that choose elements, with the names and signatures of the Python array API standard."""

from __future__ import annotations

from graphc import ops
from graphc.errors import DTypeError
from graphc.types import int64

from .binary import add, greater, less, logical_or
from .emit import (
    ArrayLike,
    as_tensor,
    broadcast,
    cast,
    elementwise,
    emit,
    is_number,
    normal_axis,
    operands,
    require,
)
from .promotion import Number
from .recorded import recorded
from .shapes import as_count, expand_dims, moveaxis, reshape
from .tensor import Tensor
from .unary import isnan


@recorded
def where(condition: ArrayLike, x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 where the condition holds, x2 elsewhere. Both sides are computed.

    The value that is not chosen does not matter, NaN and inf included, and gets the gradient 0. But where the function
    behind it is infinitely steep or NaN there, that 0 becomes NaN on its way back, as 0 · inf does. So keep the
    argument inside the function's domain, too:

        gx.where(x > 0, gx.sqrt(x), 0.0)                             # the gradient at 0 is NaN
        gx.where(x > 0, gx.sqrt(gx.where(x > 0, x, 1.0)), 0.0)       # it is 0
    """
    mask = as_tensor(condition)
    require(mask.dtype, mask.dtype.is_bool, "where", "a bool condition: compare first, as in x != 0")
    return elementwise(ops.select, mask, *operands(x1, x2))


@recorded
def clip(x: ArrayLike, /, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Tensor:
    """x, but at least min and at most max. NaN stays, and a NaN bound gives NaN; the gradient at the bounds is 1.

    The dtype is x's, promoted with that of the bounds.
    """
    given = [(bound, test) for bound, test in ((min, less), (max, greater)) if bound is not None]
    x, *limits = operands(as_tensor(x), *(bound for bound, _ in given))
    for (bound, is_outside), limit in zip(given, limits, strict=True):
        outside = is_outside(x, limit)
        if limit.dtype.is_float and not (is_number(bound) and bound == bound):
            # No comparison finds a NaN bound.
            outside = logical_or(outside, isnan(limit))
        x = where(outside, limit, x)
    return x


@recorded
def take(x: ArrayLike, indices: ArrayLike, /, *, axis: int | None = None) -> Tensor:
    """The slices of x at these positions along an axis; negative positions count from the end.

    The result has the indices' axes in place of that axis. A position outside raises IndexError at run time.
    """
    x, indices = as_tensor(x), as_indices(indices)
    if axis is None:
        x, axis = reshape(x, -1), 0
    place = normal_axis(axis, x.ndim)
    found = emit(ops.gather, x, positions(indices, x.shape[place]), axes=(place,))
    n = indices.ndim
    return moveaxis(found, list(range(n)), list(range(place, place + n))) if place else found


@recorded
def take_along_axis(x: ArrayLike, indices: ArrayLike, /, *, axis: int = -1) -> Tensor:
    """Elements of x at positions that differ for each place: result[i, j] = x[i, indices[i, j]] for the last axis."""
    x, indices = as_tensor(x), as_indices(indices)
    place = normal_axis(axis, x.ndim)
    grid = []
    for a, size in enumerate(x.shape):
        if a == place:
            grid.append(positions(indices, size))
        else:
            places = emit(ops.iota, type=indices.type.with_shape((size,)).with_dtype(int64), axis=0)
            grid.append(expand_dims(places, [b for b in range(x.ndim) if b != a]))
    return emit(ops.gather, x, *broadcast(*grid), axes=tuple(range(x.ndim)))


@recorded
def one_hot(x: ArrayLike, num_classes: int, /, *, dtype: object = None) -> Tensor:
    """1 at the class number, 0 elsewhere, along a new last axis; float32 unless another dtype is given."""
    from graphc.types import as_dtype, float32

    from .binary import equal

    x = as_tensor(x)
    require(x.dtype, x.dtype.is_integer, "one_hot", "class numbers of an integer dtype")
    count = as_count(num_classes, "gx.one_hot takes a number of classes ≥ 0")
    classes = emit(ops.iota, type=x.type.with_shape((count,)).with_dtype(int64), axis=0)
    return cast(equal(expand_dims(x, -1), classes), float32 if dtype is None else as_dtype(dtype))  # type: ignore[arg-type]


def as_indices(indices: ArrayLike) -> Tensor:
    """As a tensor. A list without elements, which would be of floats, is one of no positions."""
    tensor = as_tensor(indices)
    return cast(tensor, int64) if isinstance(indices, list | tuple) and not tensor.size else tensor


def positions(indices: Tensor, size: int) -> Tensor:
    """Indices into an axis of this size, with negative ones counted from the end."""
    if not indices.dtype.is_integer:
        raise DTypeError(
            "an index is of an integer dtype",
            got=str(indices.type),
            hint="bool masks give results of unknown size: use gx.where",
        )
    if indices.dtype.is_unsigned or not (indices.is_symbolic or (indices._array < 0).any()):
        return indices
    wide = indices if indices.dtype.bits == 64 or _fits(size, indices) else operands(indices, dtype=int64)[0]
    return where(less(wide, 0), add(wide, size), wide)


def _fits(size: Number, indices: Tensor) -> bool:
    return size <= indices.dtype.max


__all__ = ["clip", "one_hot", "take", "take_along_axis", "where"]
