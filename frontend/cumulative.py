"""Cumulative functions along an axis; sums and products with the array API standard's signatures, the others alike."""

from __future__ import annotations

from graphc import ops
from graphc.errors import ShapeError
from graphc.op import Op
from graphc.types import DTypeLike

from .emit import ArrayLike, as_tensor, cast, emit, filled, float_dtype, normal_axis
from .recorded import recorded
from .reductions import accumulator
from .shapes import concat
from .tensor import Tensor


def _cumulated(op: Op, x: Tensor, axis: int | None) -> Tensor:
    return emit(op, x, axis=_place(op, x, axis))


def _place(op: Op, x: Tensor, axis: int | None) -> int:
    if axis is not None:
        return normal_axis(axis, x.ndim)
    if x.ndim != 1:
        raise ShapeError(
            f"{op.name} of a tensor that is not one-dimensional needs an axis",
            got=str(x.type),
            hint="give axis=, or x.reshape(-1) for all elements in a row",
        )
    return 0


def _with_initial(op: Op, x: Tensor, axis: int | None, initial: float) -> Tensor:
    """Behind one place of what no elements come to."""
    place = _place(op, x, axis)
    first = x.type.with_shape(tuple(1 if a == place else size for a, size in enumerate(x.shape)))
    return concat([filled(initial, first), emit(op, x, axis=place)], axis=place)


@recorded
def cumulative_sum(
    x: ArrayLike, /, *, axis: int | None = None, dtype: DTypeLike | None = None, include_initial: bool = False
) -> Tensor:
    """The sums of the elements up to each place; bools and integers are summed in 64 bits, 16-bit floats in float32.

    Without `axis` x is one-dimensional. `include_initial` puts 0 in front: one place more. Raises ShapeError.
    """
    x = as_tensor(x)
    x = cast(x, accumulator(x, dtype))
    if include_initial:
        return _with_initial(ops.cumulative_sum, x, axis, 0)
    return _cumulated(ops.cumulative_sum, x, axis)


@recorded
def cumulative_prod(
    x: ArrayLike, /, *, axis: int | None = None, dtype: DTypeLike | None = None, include_initial: bool = False
) -> Tensor:
    """The products of the elements up to each place; bools and integers are multiplied in 64 bits, 16-bit floats in
    float32. The gradient is right also where elements are 0.

    Without `axis` x is one-dimensional. `include_initial` puts 1 in front: one place more. Raises ShapeError.
    Compiled, neighbours may be multiplied first: a product of them beyond the dtype's range is infinite or 0, whatever
    comes before it.
    """
    x = as_tensor(x)
    x = cast(x, accumulator(x, dtype))
    if include_initial:
        return _with_initial(ops.cumulative_prod, x, axis, 1)
    return _cumulated(ops.cumulative_prod, x, axis)


@recorded
def cumulative_max(x: ArrayLike, /, *, axis: int | None = None) -> Tensor:
    """The largest of the elements up to each place; NaN from the first NaN on. Without `axis` x is one-dimensional.

    The gradient goes to the element that is the largest so far, the last of equal ones as in PyTorch.
    """
    return _cumulated(ops.cumulative_max, as_tensor(x), axis)


@recorded
def cumulative_min(x: ArrayLike, /, *, axis: int | None = None) -> Tensor:
    """The smallest of the elements up to each place; NaN from the first NaN on. Without `axis` x is one-dimensional.

    The gradient goes to the element that is the smallest so far, the last of equal ones as in PyTorch.
    """
    return _cumulated(ops.cumulative_min, as_tensor(x), axis)


@recorded
def logcumsumexp(x: ArrayLike, /, *, axis: int | None = None) -> Tensor:
    """log(cumulative_sum(exp(x))) without overflow; of integers in float32. Without `axis` x is one-dimensional.

    Elements of −inf add nothing: a result is −inf where all elements up to its place are. The
    gradient is that of logaddexp element by element: one as infinite as what came before it gets half.
    """
    x = as_tensor(x)
    return _cumulated(ops.logcumsumexp, cast(x, float_dtype(x)), axis)


__all__ = ["cumulative_max", "cumulative_min", "cumulative_prod", "cumulative_sum", "logcumsumexp"]
