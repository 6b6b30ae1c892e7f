"""Array functions of two arrays, element by element, with the names and signatures of the Python array API standard.

Each promotes and broadcasts its operands and applies one op.
"""

from __future__ import annotations

from graphc import ops

from .emit import ArrayLike, broadcast, emit, float_dtype, operands, operation
from .tensor import Tensor


@operation
def add(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 + x2."""
    return emit(ops.add, *broadcast(*operands(x1, x2)))


@operation
def subtract(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 − x2."""
    return emit(ops.subtract, *broadcast(*operands(x1, x2)))


@operation
def multiply(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 · x2."""
    return emit(ops.multiply, *broadcast(*operands(x1, x2)))


@operation
def floor_divide(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The largest whole number ≤ x1 / x2; an integer divided by 0 gives 0."""
    return emit(ops.floor_divide, *broadcast(*operands(x1, x2)))


@operation
def remainder(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 − x2 · floor(x1 / x2), with the sign of x2; an integer modulo 0 gives 0."""
    return emit(ops.remainder, *broadcast(*operands(x1, x2)))


@operation
def maximum(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The larger one; NaN if either is NaN."""
    return emit(ops.maximum, *broadcast(*operands(x1, x2)))


@operation
def minimum(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The smaller one; NaN if either is NaN."""
    return emit(ops.minimum, *broadcast(*operands(x1, x2)))


@operation
def pow(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 to the power x2. Integers to a negative power follow integer division: 0 unless x1 is ±1."""
    return emit(ops.power, *broadcast(*operands(x1, x2)))


@operation
def divide(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 / x2. Integers give float32."""
    return emit(ops.divide, *broadcast(*operands(x1, x2, dtype=float_dtype(x1, x2))))


@operation
def atan2(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The angle of the point (x2, x1), in radians. Integers give float32."""
    return emit(ops.atan2, *broadcast(*operands(x1, x2, dtype=float_dtype(x1, x2))))


@operation
def hypot(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """sqrt(x1² + x2²). Integers give float32."""
    return emit(ops.hypot, *broadcast(*operands(x1, x2, dtype=float_dtype(x1, x2))))


@operation
def logaddexp(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """log(exp(x1) + exp(x2)) without overflow. Integers give float32."""
    return emit(ops.logaddexp, *broadcast(*operands(x1, x2, dtype=float_dtype(x1, x2))))


@operation
def copysign(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """|x1| with the sign of x2. Integers give float32."""
    return emit(ops.copysign, *broadcast(*operands(x1, x2, dtype=float_dtype(x1, x2))))


@operation
def equal(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 = x2. Gives bool."""
    return emit(ops.equal, *broadcast(*operands(x1, x2)))


@operation
def not_equal(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 ≠ x2; true for NaN. Gives bool."""
    return emit(ops.not_equal, *broadcast(*operands(x1, x2)))


@operation
def less(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 < x2. Gives bool."""
    return emit(ops.less, *broadcast(*operands(x1, x2)))


@operation
def less_equal(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 ≤ x2. Gives bool."""
    return emit(ops.less_equal, *broadcast(*operands(x1, x2)))


@operation
def greater(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 > x2. Gives bool."""
    return emit(ops.greater, *broadcast(*operands(x1, x2)))


@operation
def greater_equal(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 ≥ x2. Gives bool."""
    return emit(ops.greater_equal, *broadcast(*operands(x1, x2)))


@operation
def logical_and(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """Both. Takes and gives bool."""
    return emit(ops.logical_and, *broadcast(*operands(x1, x2)))


@operation
def logical_or(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """At least one. Takes and gives bool."""
    return emit(ops.logical_or, *broadcast(*operands(x1, x2)))


@operation
def logical_xor(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """Exactly one. Takes and gives bool."""
    return emit(ops.logical_xor, *broadcast(*operands(x1, x2)))


@operation
def logical_not(x: ArrayLike, /) -> Tensor:
    """The opposite. Takes and gives bool."""
    return emit(ops.logical_not, *operands(x))


@operation
def bitwise_and(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The bits set in both. Takes integers and bools."""
    return emit(ops.bitwise_and, *broadcast(*operands(x1, x2)))


@operation
def bitwise_or(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The bits set in either. Takes integers and bools."""
    return emit(ops.bitwise_or, *broadcast(*operands(x1, x2)))


@operation
def bitwise_xor(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The bits set in one of both. Takes integers and bools."""
    return emit(ops.bitwise_xor, *broadcast(*operands(x1, x2)))


@operation
def bitwise_invert(x: ArrayLike, /) -> Tensor:
    """All bits flipped. Takes integers and bools."""
    return emit(ops.bitwise_invert, *operands(x))


@operation
def bitwise_left_shift(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 · 2^x2, bits that leave are lost. Takes integers."""
    x1, x2 = operands(x1, x2)
    return emit(ops.left_shift, *broadcast(x1, x2))


@operation
def bitwise_right_shift(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """floor(x1 / 2^x2); keeps the sign. Takes integers."""
    x1, x2 = operands(x1, x2)
    return emit(ops.right_shift, *broadcast(x1, x2))
