"""Array functions of one array, element by element, with the names and signatures of the Python array API standard.

Each converts its operand and applies one op.
"""

from __future__ import annotations

from graphc import ops
from graphc.types import TensorType, bool_

from .emit import ArrayLike, elementwise, filled, floats, operands, operation
from .tensor import Tensor


@operation
def exp(x: ArrayLike, /) -> Tensor:
    """e to the power x. Integers give float32."""
    return elementwise(ops.exp, *floats(x))


@operation
def exp2(x: ArrayLike, /) -> Tensor:
    """2 to the power x. Integers give float32."""
    return elementwise(ops.exp2, *floats(x))


@operation
def expm1(x: ArrayLike, /) -> Tensor:
    """exp(x) − 1, exact near 0. Integers give float32."""
    return elementwise(ops.expm1, *floats(x))


@operation
def log(x: ArrayLike, /) -> Tensor:
    """The natural logarithm. Integers give float32."""
    return elementwise(ops.log, *floats(x))


@operation
def log2(x: ArrayLike, /) -> Tensor:
    """The logarithm to base 2. Integers give float32."""
    return elementwise(ops.log2, *floats(x))


@operation
def log10(x: ArrayLike, /) -> Tensor:
    """The logarithm to base 10. Integers give float32."""
    return elementwise(ops.log10, *floats(x))


@operation
def log1p(x: ArrayLike, /) -> Tensor:
    """log(1 + x), exact near 0. Integers give float32."""
    return elementwise(ops.log1p, *floats(x))


@operation
def sqrt(x: ArrayLike, /) -> Tensor:
    """The square root; NaN below 0. Integers give float32.

    The gradient at 0 is inf, but 0 where x is never negative by its making, like a sum of squares, a power of abs(x):
    sqrt(x²) has the gradient of abs(x).
    """
    return elementwise(ops.sqrt, *floats(x))


@operation
def rsqrt(x: ArrayLike, /) -> Tensor:
    """1 / sqrt(x). Integers give float32."""
    return elementwise(ops.rsqrt, *floats(x))


@operation
def cbrt(x: ArrayLike, /) -> Tensor:
    """The cube root. Integers give float32. The gradient at 0 is as that of sqrt."""
    return elementwise(ops.cbrt, *floats(x))


@operation
def sin(x: ArrayLike, /) -> Tensor:
    """The sine of x in radians. Integers give float32."""
    return elementwise(ops.sin, *floats(x))


@operation
def cos(x: ArrayLike, /) -> Tensor:
    """The cosine of x in radians. Integers give float32."""
    return elementwise(ops.cos, *floats(x))


@operation
def tan(x: ArrayLike, /) -> Tensor:
    """The tangent of x in radians. Integers give float32."""
    return elementwise(ops.tan, *floats(x))


@operation
def asin(x: ArrayLike, /) -> Tensor:
    """The arc sine, in radians. Integers give float32."""
    return elementwise(ops.asin, *floats(x))


@operation
def acos(x: ArrayLike, /) -> Tensor:
    """The arc cosine, in radians. Integers give float32."""
    return elementwise(ops.acos, *floats(x))


@operation
def atan(x: ArrayLike, /) -> Tensor:
    """The arc tangent, in radians. Integers give float32."""
    return elementwise(ops.atan, *floats(x))


@operation
def sinh(x: ArrayLike, /) -> Tensor:
    """The hyperbolic sine. Integers give float32."""
    return elementwise(ops.sinh, *floats(x))


@operation
def cosh(x: ArrayLike, /) -> Tensor:
    """The hyperbolic cosine. Integers give float32."""
    return elementwise(ops.cosh, *floats(x))


@operation
def tanh(x: ArrayLike, /) -> Tensor:
    """The hyperbolic tangent. Integers give float32.

    The gradient is taken from the result, as in PyTorch and JAX: it is 0 where that has rounded to ±1, in float32 from
    |x| = 9 on, and right to 2e-7 elsewhere. From x it would be exact, at 5 % of a small network's training step.
    """
    return elementwise(ops.tanh, *floats(x))


@operation
def asinh(x: ArrayLike, /) -> Tensor:
    """The inverse hyperbolic sine. Integers give float32."""
    return elementwise(ops.asinh, *floats(x))


@operation
def acosh(x: ArrayLike, /) -> Tensor:
    """The inverse hyperbolic cosine. Integers give float32."""
    return elementwise(ops.acosh, *floats(x))


@operation
def atanh(x: ArrayLike, /) -> Tensor:
    """The inverse hyperbolic tangent. Integers give float32."""
    return elementwise(ops.atanh, *floats(x))


@operation
def erf(x: ArrayLike, /) -> Tensor:
    """The error function. Integers give float32."""
    return elementwise(ops.erf, *floats(x))


@operation
def erfc(x: ArrayLike, /) -> Tensor:
    """1 − erf(x), exact for large x. Integers give float32."""
    return elementwise(ops.erfc, *floats(x))


@operation
def sigmoid(x: ArrayLike, /) -> Tensor:
    """1 / (1 + exp(−x)). Integers give float32.

    The gradient is taken from the result, as in PyTorch and JAX: it is 0 where that has rounded to 1, in float32 from
    x = 17 on, and right to 1e-7; exact far on the left. From x it would cost 6 % of a small network's training step.
    """
    return elementwise(ops.sigmoid, *floats(x))


@operation
def abs(x: ArrayLike, /) -> Tensor:
    """The absolute value. The gradient at 0 is 0."""
    return elementwise(ops.abs, *operands(x))


@operation
def negative(x: ArrayLike, /) -> Tensor:
    """−x."""
    return elementwise(ops.negative, *operands(x))


@operation
def sign(x: ArrayLike, /) -> Tensor:
    """−1, 0 or 1; NaN stays. No gradient flows."""
    return elementwise(ops.sign, *operands(x))


@operation
def square(x: ArrayLike, /) -> Tensor:
    """x · x."""
    return elementwise(ops.square, *operands(x))


@operation
def positive(x: ArrayLike, /) -> Tensor:
    """+x, which is x."""
    return operands(x)[0]


@operation
def reciprocal(x: ArrayLike, /) -> Tensor:
    """1 / x. Integers give float32."""
    return elementwise(ops.reciprocal, *floats(x))


@operation
def floor(x: ArrayLike, /) -> Tensor:
    """The largest whole number ≤ x. Integers stay as they are."""
    (x,) = operands(x)
    return elementwise(ops.floor, x) if x.dtype.is_float else x


@operation
def ceil(x: ArrayLike, /) -> Tensor:
    """The smallest whole number ≥ x. Integers stay as they are."""
    (x,) = operands(x)
    return elementwise(ops.ceil, x) if x.dtype.is_float else x


@operation
def trunc(x: ArrayLike, /) -> Tensor:
    """The whole number next to x towards 0. Integers stay as they are."""
    (x,) = operands(x)
    return elementwise(ops.trunc, x) if x.dtype.is_float else x


@operation
def round(x: ArrayLike, /) -> Tensor:
    """The nearest whole number; halves go to the even one. Integers stay as they are."""
    (x,) = operands(x)
    return elementwise(ops.round, x) if x.dtype.is_float else x


@operation
def isnan(x: ArrayLike, /) -> Tensor:
    """Whether an element is NaN."""
    (x,) = operands(x)
    return elementwise(ops.isnan, x) if x.dtype.is_float else filled(False, TensorType(bool_, x.shape))


@operation
def isinf(x: ArrayLike, /) -> Tensor:
    """Whether an element is infinite."""
    (x,) = operands(x)
    return elementwise(ops.isinf, x) if x.dtype.is_float else filled(False, TensorType(bool_, x.shape))


@operation
def isfinite(x: ArrayLike, /) -> Tensor:
    """Whether an element is neither infinite nor NaN."""
    (x,) = operands(x)
    return elementwise(ops.isfinite, x) if x.dtype.is_float else filled(True, TensorType(bool_, x.shape))


@operation
def signbit(x: ArrayLike, /) -> Tensor:
    """Whether the sign bit of a float is set; true for −0.0."""
    (x,) = operands(x)
    return elementwise(ops.signbit, x)
