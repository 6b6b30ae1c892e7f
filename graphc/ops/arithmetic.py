"""Elementwise arithmetic: sums and products, division, powers, signs, extremes, rounding.

Integers wrap around. All gradients are with respect to floats. At a kink a rule takes the subgradient 0, or what its
comment says; at infinity and at the ends of a domain it gives the limit, where there is one. Where the value is NaN
the gradient means nothing.
"""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..ir import Node
from ..scalar import Builder, Scalar
from . import functions
from .declare import binary, unary
from .known import is_never_negative, known
from .rules import ANY, FLOATS, NUMBERS
from .values import masked, ones_like, scaled, zeros_like


@binary(NUMBERS, np.add, vjp=lambda g, y, a, b: (g, g), commutes=True)
def add(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a + b


@binary(NUMBERS, np.subtract, vjp=lambda g, y, a, b: (g, negative(g)))
def subtract(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a - b


@binary(NUMBERS, np.multiply, vjp=lambda g, y, a, b: (multiply(g, b), multiply(g, a)), commutes=True)
def multiply(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a * b


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    result = np.asarray(a - b)
    np.copyto(result, 0, where=a == b)
    return result


# a − b, but 0 also where both are the same infinity: how far numbers are below the largest of them.
@binary(FLOATS, _difference, vjp=lambda g, y, a, b: (g, negative(g)))
def difference(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return s.select(s.eq(a, b), 0, a - b)


@binary(FLOATS, np.divide, vjp=lambda g, y, a, b: (divide(g, b), negative(divide(multiply(g, y), b))))
def divide(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a / b


@unary(NUMBERS, np.negative, vjp=lambda g, y, x: (negative(g),))
def negative(s: Builder, x: Scalar) -> Scalar:
    return -x


def _floor_divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """NumPy's, which gives 0 for an integer divided by 0 and wraps MIN // −1; but a / b where either is infinite.

    The array API standard wants ∞ // 1 = ∞ and −1 // ∞ = −0, which are NaN and −1 to NumPy.
    """
    whole = np.floor_divide(a, b)
    if a.dtype.kind != "f":
        return whole
    return np.where(np.isinf(a) | np.isinf(b), np.divide(a, b), whole)


def _remainder_vjp(g: Node, y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    """a − b·⌊a/b⌋, whose floor is constant."""
    return g, negative(multiply(g, floor_divide(a, b)))


floor_divide = binary(NUMBERS, _floor_divide)(functions.floor_divide)

remainder = binary(NUMBERS, np.remainder, vjp=_remainder_vjp)(functions.remainder)


# Powers and roots


def _power(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """NumPy refuses negative integer powers; here they are 1/xⁿ towards zero, and 0 where x is 0."""
    if x.dtype.kind == "f":
        return _float_power(x, n)
    if x.dtype.kind != "i":
        return np.power(x, n)
    whole = np.power(x, np.maximum(n, 0))
    inverse = np.where(x == 1, 1, np.where(x == -1, np.where(n & 1, -1, 1), 0)).astype(x.dtype)
    return np.where(n < 0, inverse, whole)


def _float_power(x: np.ndarray, n: np.ndarray) -> np.ndarray:
    """C's power. NumPy takes a ½ that is repeated for a square root, which differs at −0 and −inf."""
    result = np.power(x, n)
    half = n == 0.5
    if not np.any(half):
        return result
    return np.where(half & ((x == 0) | np.isinf(x)), np.abs(x), result)


def _power_vjp(g: Node, y: Node, x: Node, n: Node) -> tuple[Node, Node]:
    """n·xⁿ⁻¹, which is 0 for n = 0 also where x is 0; and xⁿ·log x, which is 0 where xⁿ is, and for 0⁰.

    At x = 0 and n < 1 the slope is infinite, but 0 for an x that is never negative, as for `sqrt`. The exponent and
    the base are replaced before the function that would not be finite is applied, so that second derivatives stay
    finite as well. Where xⁿ⁻¹ alone overflows, for subnormal x, the slope is inf, though an n near 0 might undo that.
    """
    at_zero = ops.equal(x, zeros_like(x))
    constant = ops.equal(n, zeros_like(n))
    exponents = known(n)
    steep = exponents is None or not np.all(exponents >= 1)
    flat = ops.logical_or(constant, at_zero) if steep and is_never_negative(x) else constant
    one_less = power(x, ops.select(flat, ones_like(n), subtract(n, ones_like(n))))
    if exponents is None or not np.all(np.isfinite(exponents)):  # n·0 is NaN where n is infinite
        flat = ops.logical_or(flat, ops.equal(one_less, zeros_like(n)))
    vanishes = ops.logical_or(ops.equal(y, zeros_like(y)), ops.logical_and(at_zero, constant))
    log = ops.log(ops.select(vanishes, ones_like(x), x))
    return (
        multiply(g, ops.select(flat, zeros_like(x), multiply(n, one_less))),
        multiply(g, ops.select(vanishes, zeros_like(x), multiply(y, log))),
    )


@binary(NUMBERS, _power, vjp=_power_vjp)
def power(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return functions.pow(s, a, b)


square = unary(NUMBERS, np.square, slope=lambda y, x: scaled(x, 2.0))(functions.square)


def _steep_at_zero(y: Node, x: Node) -> Node:
    """y, a root of x, as a divisor: infinite at 0 instead of 0 where x is never negative, so that the quotient is 0."""
    return (
        ops.select(ops.equal(y, zeros_like(y)), ops.full_like(y, math.inf), y) if is_never_negative(x) else y
    )


# The slope at ±0 is ±inf, as the derivative is; but 0 for an x that is never negative by its making, like a sum of
# squares: √(x²) is |x|, whose subgradient at 0 is 0.
@unary(FLOATS, np.sqrt, vjp=lambda g, y, x: (divide(scaled(g, 0.5), _steep_at_zero(y, x)),))
def sqrt(s: Builder, x: Scalar) -> Scalar:
    return s.sqrt(x)


# The slope at ±0 is ∓inf.
rsqrt = unary(
    FLOATS,
    lambda x: 1 / np.sqrt(x),
    vjp=lambda g, y, x: (multiply(multiply(scaled(g, -0.5), y), square(y)),),
)(functions.rsqrt)

# The slope at 0 is infinite, or 0 as for `sqrt`.
cbrt = unary(
    FLOATS, np.cbrt, vjp=lambda g, y, x: (divide(scaled(g, 1 / 3), square(_steep_at_zero(y, x))),)
)(functions.cbrt)

reciprocal = unary(
    FLOATS, lambda x: 1 / x, vjp=lambda g, y, x: (negative(multiply(g, square(y))),)
)(functions.reciprocal)


def unit_vector(y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    """(a/y, b/y) for y = hypot(a, b); a and b are 0 at the origin.

    Where y is infinite, numbers count as 0 beside infinities, which are all alike, and as they are beside each other:
    the direction of two numbers so large that only their hypotenuse is not finite is known.
    """
    infinite = ops.isinf(y)
    any_infinite = ops.logical_or(ops.isinf(a), ops.isinf(b))

    def component(x: Node) -> Node:
        beside = ops.select(ops.isinf(x), sign(x), zeros_like(x))
        return ops.select(infinite, ops.select(any_infinite, beside, scaled(x, 0.25)), x)

    a, b = component(a), component(b)
    length = ops.select(infinite, hypot(a, b), y)
    length = ops.select(ops.equal(length, zeros_like(y)), ones_like(y), length)
    return divide(a, length), divide(b, length)


def _hypot_vjp(g: Node, y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    """a/y and b/y; 0 at the origin, and ±1 of an infinite one beside a number."""
    left, right = unit_vector(y, a, b)
    return multiply(g, left), multiply(g, right)


hypot = binary(FLOATS, np.hypot, vjp=_hypot_vjp)(functions.hypot)


# Signs


# At 0 the subgradient 0.
@unary(NUMBERS, np.abs, slope=lambda y, x: sign(x))
def abs(s: Builder, x: Scalar) -> Scalar:
    return functions.absolute(s, x)


sign = unary(NUMBERS, np.sign)(functions.sign)


def _copysign_vjp(g: Node, y: Node, x: Node, sign_of: Node) -> tuple[Node, None]:
    kept = ops.equal(ops.signbit(x), ops.signbit(sign_of))
    return ops.select(kept, g, negative(g)), None


copysign = binary(FLOATS, np.copysign, vjp=_copysign_vjp)(functions.copysign)


# Extremes


def _extreme_vjp(g: Node, y: Node, a: Node, b: Node) -> tuple[Node, Node]:
    """Where both are equal each gets half, as in JAX and PyTorch. Where one is NaN neither gets anything."""
    a_wins, b_wins, half = ops.equal(a, y), ops.equal(b, y), scaled(g, 0.5)
    return masked(a_wins, ops.select(b_wins, half, g)), masked(b_wins, ops.select(a_wins, half, g))


# NaN if either is NaN.
maximum = binary(ANY, np.maximum, vjp=_extreme_vjp, commutes=True)(functions.maximum)

minimum = binary(ANY, np.minimum, vjp=_extreme_vjp, commutes=True)(functions.minimum)


# Rounding; the identity on integers


floor = unary(NUMBERS, np.floor)(functions.floor)

ceil = unary(NUMBERS, np.ceil)(functions.ceil)

trunc = unary(NUMBERS, np.trunc)(functions.trunc)

# Halves to even.
round = unary(NUMBERS, lambda x: x if x.dtype.kind in "iu" else np.rint(x))(functions.round)
