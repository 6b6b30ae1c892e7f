"""Scalar recipe for powers, of integers by repeated squaring and of floats through logarithms."""

from __future__ import annotations

import math

from ...scalar import Builder, Scalar
from .formats import copysign


def pow(s: Builder, x: Scalar, y: Scalar) -> Scalar:
    """xʸ. Integers wrap, and a negative power is 1/xⁿ towards zero (0 where x is 0). Floats as in C."""
    return _float_power(s, x, y) if x.dtype.is_float else _integer_power(s, x, y)


def _integer_power(s: Builder, x: Scalar, n: Scalar) -> Scalar:
    result, base = s.coerce(1, x.dtype), x
    for bit in range(x.dtype.bits - x.dtype.is_signed):
        result = s.select(s.ne((n >> bit) & 1, 0), result * base, result)
        base = base * base
    if x.dtype.is_unsigned:
        return result
    unit = s.eq(x, 1) | s.eq(x, -1)
    odd = s.ne(n & 1, 0)
    return s.select(n < 0, s.select(unit, s.select(odd, x, 1), 0), result)


def _float_power(s: Builder, x: Scalar, y: Scalar) -> Scalar:
    a = s.abs(x)
    result = s.exp2(y * s.log2(a))
    half = y * 0.5
    integer = s.eq(s.trunc(y), y)
    odd = integer & s.ne(s.trunc(half), half)
    result = s.select(odd, copysign(s, result, x), result)
    invalid = (x < 0) & ~integer & (a < math.inf)
    result = s.select(invalid, math.nan, result)
    one = s.eq(x, 1) | s.eq(y, 0) | (s.eq(a, 1) & s.eq(s.abs(y), math.inf))
    return s.select(one, 1.0, result)
