"""Norms of vectors and matrices, with the names and signatures of the Python array API standard."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc.errors import OptionError, ShapeError

from .binary import divide, equal, logical_or, multiply, pow
from .emit import (
    ArrayLike,
    as_tensor,
    cast,
    float_dtype,
    for_squares,
    normal_axes,
    rounded_once,
    wide,
)
from .gradients import stop_gradient
from .recorded import recorded
from .reductions import count_nonzero, max, min, sum
from .searching import where
from .shapes import squeeze
from .tensor import Tensor
from .unary import abs, isinf, sqrt, square


@recorded
@rounded_once
def vector_norm(
    x: ArrayLike,
    /,
    *,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    ord: float = 2,
) -> Tensor:
    """The Euclidean norm over these axes, or another: the largest (∞) or smallest (−∞) magnitude, how many elements are
    not 0 (0), or the sum of the magnitudes to the power p, to the power 1 / p. Integers give float32.

    Powers neither overflow nor vanish on the way, but for squares of float64 numbers beyond 10^±154, as in NumPy. The
    Euclidean norm's gradient is x / norm; 0 where all elements are 0, and NaN for elements that are infinite.
    """
    if ord == 2:
        return cast(sqrt(sum(square(for_squares(x)), axis=axis, keepdims=keepdims)), float_dtype(x))
    x = wide(x)
    if ord == 0:
        return cast(count_nonzero(x, axis=axis, keepdims=keepdims), x.dtype)
    if ord in (math.inf, -math.inf):
        return (max if ord > 0 else min)(abs(x), axis=axis, keepdims=keepdims)
    if ord == 1:
        return sum(abs(x), axis=axis, keepdims=keepdims)
    return _power_norm(abs(x), axis, keepdims, ord)


def _power_norm(x: Tensor, axis: int | Sequence[int] | None, keepdims: bool, ord: float) -> Tensor:
    """(Σ xᵖ)^(1/p) for x ≥ 0, scaled by the element that decides: its power is 1, and others are less. Where that is
    0 so are the norm and its gradient."""
    axes = normal_axes(axis, x.ndim)
    if not all(x.shape[a] for a in axes):
        return pow(sum(x, axis=axis, keepdims=keepdims), 1 / ord)
    most = stop_gradient((max if ord > 0 else min)(x, axis=axes, keepdims=True))
    nothing = equal(most, 0)
    scale = where(logical_or(nothing, isinf(most)), 1.0, most)
    shares = pow(divide(where(nothing, 1.0, x), scale), ord)
    norm = where(nothing, 0.0, multiply(pow(sum(shares, axis=axes, keepdims=True), 1 / ord), scale))
    return norm if keepdims else squeeze(norm, axes)


@recorded
def matrix_norm(x: ArrayLike, /, *, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """The Frobenius norm of the matrices in the last two axes; or the largest (1) or smallest (−1) sum of magnitudes of
    a column, or of a row (∞, −∞). Integers give float32. Raises OptionError for norms that need singular values.
    """
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError("a matrix norm needs at least two axes", got=str(x.type))
    if ord == "fro":
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if isinstance(ord, str) or math.fabs(ord) not in (1, math.inf):
        raise OptionError(
            "this version has no singular values, which this norm is made of",
            got=f"ord={ord!r}",
            hint='use one of "fro", 1, -1, inf, -inf',
        )
    along = -2 if math.fabs(ord) == 1 else -1
    sums = vector_norm(x, axis=along, keepdims=True, ord=1)
    found = (max if ord > 0 else min)(sums, axis=(-2, -1), keepdims=True)
    return found if keepdims else squeeze(found, (-2, -1))


__all__ = ["matrix_norm", "vector_norm"]
