"""Scalar recipes for arithmetic beyond the primitives: signs, classes of floats, division that rounds down, roots.

Integers and floats alike; NumPy's meaning throughout.
"""

from __future__ import annotations

import math

from ...scalar import Builder, Prim, Scalar, integer_like
from ...types import bool_
from .formats import FORMATS, copysign


def square(s: Builder, x: Scalar) -> Scalar:
    return x * x


def reciprocal(s: Builder, x: Scalar) -> Scalar:
    return 1 / x


def rsqrt(s: Builder, x: Scalar) -> Scalar:
    """1/√x, at most 1.5 ULP."""
    return 1 / s.sqrt(x)


def maximum(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    """NaN if either is NaN."""
    return a | b if a.dtype.is_bool else s.max(a, b)


def minimum(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    """NaN if either is NaN."""
    return a & b if a.dtype.is_bool else s.min(a, b)


def round(s: Builder, x: Scalar) -> Scalar:
    """To the nearest integer, halves to even."""
    return s.round(x) if x.dtype.is_float else x


def floor(s: Builder, x: Scalar) -> Scalar:
    return s.floor(x) if x.dtype.is_float else x


def ceil(s: Builder, x: Scalar) -> Scalar:
    return s.ceil(x) if x.dtype.is_float else x


def trunc(s: Builder, x: Scalar) -> Scalar:
    return s.trunc(x) if x.dtype.is_float else x


def sign(s: Builder, x: Scalar) -> Scalar:
    """−1, 0 or 1; NaN for NaN, and +0 for −0."""
    positive = s.coerce(1, x.dtype)
    if x.dtype.is_unsigned:
        return s.select(s.ne(x, 0), positive, 0)
    rest = s.select(s.eq(x, 0), 0, x)
    return s.select(x > 0, positive, s.select(x < 0, -1, rest))


def signbit(s: Builder, x: Scalar) -> Scalar:
    if x.dtype.is_float:
        x = s.bitcast(x, integer_like(x.dtype))
    return x < 0 if x.dtype.is_signed else s.const(False, bool_)


def isnan(s: Builder, x: Scalar) -> Scalar:
    return s.is_nan(x) if x.dtype.is_float else s.const(False, bool_)


def isinf(s: Builder, x: Scalar) -> Scalar:
    return s.eq(s.abs(x), math.inf) if x.dtype.is_float else s.const(False, bool_)


def isfinite(s: Builder, x: Scalar) -> Scalar:
    return s.abs(x) < math.inf if x.dtype.is_float else s.const(True, bool_)


def floor_divide(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    """⌊a / b⌋. Integers: 0 where b is 0, and MIN / −1 = MIN. Floats: NumPy's rules, which give a / b where b is 0."""
    if a.dtype.is_float:
        return _float_divmod(s, a, b)[0]
    return _integer_divmod(s, a, b)[0]


def remainder(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    """a − b·⌊a / b⌋, with the sign of b. Integers: 0 where b is 0. Floats: NaN where b is 0 or a is infinite."""
    if a.dtype.is_float:
        return _float_divmod(s, a, b)[1]
    return _integer_divmod(s, a, b)[1]


def _integer_divmod(s: Builder, a: Scalar, b: Scalar) -> tuple[Scalar, Scalar]:
    zero = s.eq(b, 0)
    if a.dtype.is_unsigned:
        q = s.quot(a, s.select(zero, 1, b))
        return s.select(zero, 0, q), s.select(zero, 0, a - q * b)
    # Dividing by 1 instead of −1 leaves MIN as it is, which is also what −MIN wraps to.
    wraps = s.eq(a, int(a.dtype.min)) & s.eq(b, -1)
    divisor = s.select(zero | wraps, 1, b)
    q = s.quot(a, divisor)
    r = a - q * divisor
    down = s.ne(r, 0) & ((r ^ divisor) < 0)
    q = s.select(down, q - 1, q)
    return s.select(zero, 0, q), s.select(down, r + divisor, r)


def _float_divmod(s: Builder, a: Scalar, b: Scalar) -> tuple[Scalar, Scalar]:
    r = a - s.trunc(a / b) * b
    q = (a - r) / b
    down = s.ne(r, 0) & s.ne(b < 0, r < 0)
    r = s.select(down, r + b, s.select(s.eq(r, 0), copysign(s, s.coerce(0, r.dtype), b), r))
    q = s.round(s.select(down, q - 1, q))
    q = s.select(s.eq(q, 0), copysign(s, q, a / b), q)
    return s.select(s.eq(b, 0), a / b, q), r


def hypot(s: Builder, x: Scalar, y: Scalar) -> Scalar:
    """√(x² + y²) without overflow or underflow on the way; infinite if either is, even beside NaN."""
    form = FORMATS[x.dtype]
    a, b = s.abs(x), s.abs(y)
    big, small = s.select(a < b, b, a), s.select(a < b, a, b)
    # A power of two brings the larger one's square into range, and scaling by it is exact.
    shift = form.bias * 3 // 4
    up, down = 2.0**shift, 2.0**-shift
    one = s.coerce(1.0, x.dtype)
    large, little = big > 2.0 ** (form.bias // 2 - 2), big < 2.0 ** -(form.bias // 4)
    scale = s.select(large, down, s.select(little, up, one))
    back = s.select(large, up, s.select(little, down, one))
    big, small = big * scale, small * scale
    h = s.sqrt(s.fma(big, big, small * small)) * back
    infinite = s.eq(a, math.inf) | s.eq(b, math.inf)
    return s.select(infinite, math.inf, h)


def cbrt(s: Builder, x: Scalar) -> Scalar:
    """∛x."""
    a = s.abs(x)
    r = s.exp2(s.log2(a) * (1 / 3))
    # One step of Halley's method cubes the error of the first guess.
    cube = r * r * r
    better = r - r * ((cube - a) / (cube + cube + a))
    plain = s.eq(a, 0) | s.eq(a, math.inf) | s.is_nan(a)
    return s.select(plain, x, copysign(s, better, x))


def absolute(s: Builder, x: Scalar) -> Scalar:
    return x if x.dtype.is_unsigned or x.dtype.is_bool else s.unary(Prim.ABS, x)
