"""Array functions that reduce axes, with the names and signatures of the Python array API standard."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc import ops
from graphc.op import Op
from graphc.types import DType, DTypeLike, as_dtype, bool_, int64, uint64

from .binary import divide, not_equal, subtract
from .emit import (
    ArrayLike,
    as_tensor,
    broadcast,
    cast,
    emit,
    filled,
    float_dtype,
    for_squares,
    normal_axes,
    rounded_once,
    wide,
)
from .recorded import recorded
from .shapes import reshape
from .tensor import Tensor
from .unary import exp, log, sqrt, square

Axis = int | Sequence[int] | None


def _reduce(op: Op, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    axes = normal_axes(axis, x.ndim)
    return _kept(emit(op, x, axes=axes), x, axes, keepdims)


def _kept(result: Tensor, x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """With the reduced axes back as axes of size 1, where wanted."""
    if not keepdims:
        return result
    return emit(ops.reshape, result, shape=tuple([1 if a in axes else s for a, s in enumerate(x.shape)]))


def accumulator(x: Tensor, dtype: DTypeLike | None = None) -> DType:
    """What sums are kept in: small integers and bools widen to 64 bits, floats stay."""
    if dtype is not None:
        return as_dtype(dtype)
    return x.dtype if x.dtype.is_float else uint64 if x.dtype.is_unsigned else int64


@recorded
def sum(
    x: ArrayLike, /, *, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False
) -> Tensor:
    """The sum; bools and integers are summed in 64 bits."""
    x = as_tensor(x)
    return _reduce(ops.sum, cast(x, accumulator(x, dtype)), axis, keepdims)


@recorded
def prod(
    x: ArrayLike, /, *, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False
) -> Tensor:
    """The product; bools and integers are multiplied in 64 bits. The gradient is right also where elements are 0."""
    x = as_tensor(x)
    return _reduce(ops.prod, cast(x, accumulator(x, dtype)), axis, keepdims)


@recorded
def max(x: ArrayLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element; NaN if there is one. Raises ShapeError for no elements.

    Equal ones share the gradient; none flows where the result is NaN.
    """
    x = as_tensor(x)
    return _reduce(ops.max, x, axis, keepdims)


@recorded
def min(x: ArrayLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest element; NaN if there is one. Raises ShapeError for no elements.

    Equal ones share the gradient; none flows where the result is NaN.
    """
    x = as_tensor(x)
    return _reduce(ops.min, x, axis, keepdims)


@recorded
def any(x: ArrayLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether any element is true, that is not 0."""
    return _reduce(ops.any, _truth(as_tensor(x)), axis, keepdims)


@recorded
def all(x: ArrayLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether all elements are true, that is not 0."""
    return _reduce(ops.all, _truth(as_tensor(x)), axis, keepdims)


@recorded
def count_nonzero(x: ArrayLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """How many elements are not 0, as int64."""
    return sum(_truth(as_tensor(x)), axis=axis, keepdims=keepdims)


def _truth(x: Tensor) -> Tensor:
    return x if x.dtype is bool_ else not_equal(x, 0)


@recorded
def argmax(x: ArrayLike, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position of the first largest element along an axis, or among all in row-major order; int64."""
    return _reduce(ops.argmax, as_tensor(x), axis, keepdims)


@recorded
def argmin(x: ArrayLike, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position of the first smallest element along an axis, or among all in row-major order; int64."""
    return _reduce(ops.argmin, as_tensor(x), axis, keepdims)


@recorded
@rounded_once
def mean(x: ArrayLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean; of integers in float32."""
    x = wide(x)
    return divide(_reduce(ops.sum, x, axis, keepdims), float(_count(x, axis)))


@recorded
@rounded_once
def var(x: ArrayLike, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance: squared distances from the mean, summed and divided by their number − correction.

    Of float32 it is inf where their sum passes 3·10³⁸, as in NumPy; `std` is not.
    """
    x = wide(x)
    distances = subtract(x, mean(x, axis=axis, keepdims=True))
    divisor = float(_count(x, axis) - correction)
    # Too few elements for the correction divide by 0, as in NumPy: a variance is never negative.
    return divide(_reduce(ops.sum, square(distances), axis, keepdims), divisor if divisor > 0 else 0.0)


@recorded
def std(x: ArrayLike, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard deviation: the square root of the variance, also where that is no number of the dtype.

    The gradient for elements that are all equal is 0.
    """
    variance = var(for_squares(x), axis=axis, correction=correction, keepdims=keepdims)
    return cast(sqrt(variance), float_dtype(x))


def _count(x: Tensor, axis: Axis) -> int:
    return math.prod(x.shape[a] for a in normal_axes(axis, x.ndim))


@recorded
@rounded_once
def logsumexp(x: ArrayLike, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))), without overflow: the largest element is taken out first.

    The gradient is softmax(x). Infinite elements that are the largest share it, also where all are −inf. The value for
    no elements is −inf.
    """
    x = wide(x)
    shifted, largest = below_largest(x, axis)
    result = log(_reduce(ops.sum, exp(shifted), axis, keepdims=True)) + largest
    axes = normal_axes(axis, x.ndim)
    return result if keepdims else reshape(result, [s for a, s in enumerate(x.shape) if a not in axes])


def below_largest(x: Tensor, axis: Axis) -> tuple[Tensor, Tensor]:
    """(x − m, m) for the largest element m along the axes, kept as axes of size 1: what exp is applied to.

    Elements that are m are 0, infinite ones too: inf − inf would be NaN. m is a constant for gradients, since the
    results of those who use it do not depend on it. Where there are no elements it is 0.
    """
    from .gradients import stop_gradient

    axes = normal_axes(axis, x.ndim)
    if not _count(x, axis):
        return x, filled(0.0, x.type.with_shape(tuple(1 if a in axes else s for a, s in enumerate(x.shape))))
    largest = stop_gradient(_reduce(ops.max, x, axis, keepdims=True))
    return emit(ops.difference, *broadcast(x, largest)), largest


__all__ = [
    "all", "any", "argmax", "argmin", "count_nonzero", "logsumexp", "max", "mean", "min", "prod", "std",
    "sum", "var",
]  # fmt: skip
