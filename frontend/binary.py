"""Array functions of two arrays, element by element, with the names and signatures of the Python array API standard.

Each promotes and broadcasts its operands and applies one op.
"""

from __future__ import annotations

from graphc import ops

from .emit import ArrayLike, elementwise, floats, operands, operation
from .tensor import Tensor


@operation
def add(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 + x2."""
    return elementwise(ops.add, *operands(x1, x2))


@operation
def subtract(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 − x2."""
    return elementwise(ops.subtract, *operands(x1, x2))


@operation
def multiply(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 · x2."""
    return elementwise(ops.multiply, *operands(x1, x2))


@operation
def floor_divide(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The largest whole number ≤ x1 / x2. An integer divided by 0 gives 0; where a float is infinite, it is x1 / x2."""
    return elementwise(ops.floor_divide, *operands(x1, x2))


@operation
def remainder(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 − x2 · floor(x1 / x2), with the sign of x2; an integer modulo 0 gives 0."""
    return elementwise(ops.remainder, *operands(x1, x2))


@operation
def maximum(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The larger one; NaN if either is NaN. Equal ones get half the gradient each; none flows where one is NaN."""
    return elementwise(ops.maximum, *operands(x1, x2))


@operation
def minimum(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The smaller one; NaN if either is NaN. Equal ones get half the gradient each; none flows where one is NaN."""
    return elementwise(ops.minimum, *operands(x1, x2))


@operation
def pow(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 to the power x2. Integers to a negative power follow integer division: 0 unless x1 is ±1.

    Where x1 is 0, the gradient for x2 < 1 is inf, or 0 as that of sqrt; that of x2 is 0 wherever the result is, and
    NaN for negative x1.
    """
    return elementwise(ops.power, *operands(x1, x2))


@operation
def divide(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 / x2. Integers give float32."""
    return elementwise(ops.divide, *floats(x1, x2))


@operation
def atan2(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The angle of the point (x2, x1), in radians. Integers give float32. The gradient at the origin is 0."""
    return elementwise(ops.atan2, *floats(x1, x2))


@operation
def hypot(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """sqrt(x1² + x2²), without overflow. Integers give float32.

    The gradient at the origin is 0; beside numbers an infinite one has ±1.
    """
    return elementwise(ops.hypot, *floats(x1, x2))


@operation
def logaddexp(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """log(exp(x1) + exp(x2)) without overflow. Integers give float32. Equal infinities get half the gradient each."""
    return elementwise(ops.logaddexp, *floats(x1, x2))


@operation
def copysign(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """|x1| with the sign of x2. Integers give float32."""
    return elementwise(ops.copysign, *floats(x1, x2))


@operation
def equal(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 = x2. Gives bool."""
    return elementwise(ops.equal, *operands(x1, x2))


@operation
def not_equal(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 ≠ x2; true for NaN. Gives bool."""
    return elementwise(ops.not_equal, *operands(x1, x2))


@operation
def less(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 < x2. Gives bool."""
    return elementwise(ops.less, *operands(x1, x2))


@operation
def less_equal(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 ≤ x2. Gives bool."""
    return elementwise(ops.less_equal, *operands(x1, x2))


@operation
def greater(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 > x2. Gives bool."""
    return elementwise(ops.greater, *operands(x1, x2))


@operation
def greater_equal(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 ≥ x2. Gives bool."""
    return elementwise(ops.greater_equal, *operands(x1, x2))


@operation
def logical_and(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """Both. Takes and gives bool."""
    return elementwise(ops.logical_and, *operands(x1, x2))


@operation
def logical_or(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """At least one. Takes and gives bool."""
    return elementwise(ops.logical_or, *operands(x1, x2))


@operation
def logical_xor(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """Exactly one. Takes and gives bool."""
    return elementwise(ops.logical_xor, *operands(x1, x2))


@operation
def logical_not(x: ArrayLike, /) -> Tensor:
    """The opposite. Takes and gives bool."""
    return elementwise(ops.logical_not, *operands(x))


@operation
def bitwise_and(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The bits set in both. Takes integers and bools."""
    return elementwise(ops.bitwise_and, *operands(x1, x2))


@operation
def bitwise_or(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The bits set in either. Takes integers and bools."""
    return elementwise(ops.bitwise_or, *operands(x1, x2))


@operation
def bitwise_xor(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The bits set in one of both. Takes integers and bools."""
    return elementwise(ops.bitwise_xor, *operands(x1, x2))


@operation
def bitwise_invert(x: ArrayLike, /) -> Tensor:
    """All bits flipped. Takes integers and bools."""
    return elementwise(ops.bitwise_invert, *operands(x))


@operation
def bitwise_left_shift(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 · 2^x2, bits that leave are lost. Takes integers."""
    return elementwise(ops.left_shift, *operands(x1, x2))


@operation
def bitwise_right_shift(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """floor(x1 / 2^x2); keeps the sign. Takes integers."""
    return elementwise(ops.right_shift, *operands(x1, x2))
