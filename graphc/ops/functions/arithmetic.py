"""Scalar recipes for arithmetic beyond the primitives: signs, classes of floats, division that rounds down, roots.

Integers and floats alike; NumPy's meaning throughout.
"""

from __future__ import annotations

import math

from ...scalar import Builder, Prim, Scalar, integer_like, unsigned_like
from ...types import bool_, float32, float64, int64
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
    """⌊a / b⌋. Integers: 0 where b is 0, and MIN / −1 = MIN. Floats: a / b where b is 0 or either is infinite."""
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
    """As NumPy computes them: the quotient from the exact remainder, so that both agree.

    Where that is NaN, or b infinite, the quotient is a / b, as in the array API standard.
    """
    r = copysign(s, _modulus(s, s.abs(a), s.abs(b)), a)  # C's fmod
    no_multiples = s.is_nan(r) | s.eq(s.abs(b), math.inf)
    q = (a - r) / b
    down = s.ne(r, 0) & ((b < 0) ^ (r < 0))
    q = s.select(down, q - 1, q)
    whole = s.floor(q)
    whole = s.select(q - whole > 0.5, whole + 1, whole)
    whole = s.select(s.eq(q, 0), copysign(s, q, a / b), whole)
    zero = copysign(s, s.coerce(0.0, r.dtype), b)
    r = s.select(down, r + b, s.select(s.eq(r, 0), zero, r))
    return s.select(no_multiples, a / b, whole), r


def _modulus(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    """a − b·⌊a / b⌋ exactly, for a, b ≥ 0; NaN for infinite a or b = 0, a for infinite b.

    By long division. float32 needs no fused multiply-add: in float64 a digit's product with b is exact.
    """
    if a.dtype is float32:
        wide = s.cast(b, float64)
        r = s.cast(_divide_out(s, s.cast(a, float64), wide, digit=29, bits=277), float32)
    else:
        # Multiples of b go first, since a / b may overflow, and 1 / b where b is subnormal.
        large = b * 2.0**700
        r = _divide_out(s, a, large * 2.0**700, digit=45, bits=724)
        r = _divide_out(s, r, large, digit=45, bits=700)
        lift = s.select(b < 1, s.coerce(2.0**60, float64), 1)
        r = _divide_out(s, r * lift, b * lift, digit=45, bits=724) / lift
    return r + (a - a)  # NaN where a is infinite


def _divide_out(s: Builder, a: Scalar, b: Scalar, digit: int, bits: int) -> Scalar:
    """a modulo b for float64 0 ≤ a < 2^bits b; a itself where b is infinite.

    Each step takes the leading `digit` bits off the quotient. What is left, in units of the last place that the
    digit and b share, is at most 0.52·b and so is exact.
    """
    r, inverse = a, 1 / b
    dropped = 53 - digit
    for _ in range(-(-bits // (digit - 1)) + 1):
        q = s.bitcast(r * inverse, int64)
        q = s.bitcast((q + (1 << (dropped - 1))) & -(1 << dropped), float64)
        r = s.fma(s.round(q), -b, r)
    r = s.select(r < 0, r + b, r)
    return s.select(s.eq(b, math.inf), a, r)


def hypot(s: Builder, x: Scalar, y: Scalar) -> Scalar:
    """√(x² + y²) without overflow or underflow on the way; infinite if either is, even beside NaN. 1 ULP."""
    bias = FORMATS[x.dtype].bias
    a, b = s.abs(x), s.abs(y)
    big, small = s.select(a < b, b, a), s.select(a < b, a, b)
    # A power of two brings the squares into range; scaling by it is exact.
    up, down, one = 2.0 ** (bias * 3 // 4), 2.0 ** -(bias * 3 // 4), s.coerce(1.0, x.dtype)
    large, little = big > 2.0 ** (bias // 2 - 2), big < 2.0 ** -(bias * 5 // 16)
    scale = s.select(large, down, s.select(little, up, one))
    back = s.select(large, up, s.select(little, down, one))
    big, small = big * scale, small * scale
    infinite = s.eq(a, math.inf) | s.eq(b, math.inf)
    return s.select(infinite, math.inf, s.sqrt(s.fma(big, big, small * small)) * back)


def cbrt(s: Builder, x: Scalar) -> Scalar:
    """∛x; 1.5 ULP."""
    form = FORMATS[x.dtype]
    unsigned = unsigned_like(x.dtype)
    a = s.abs(x)
    tiny = a < 2.0 ** (30 - form.bias)
    a = a * s.select(tiny, s.coerce(2.0 ** (3 * form.mantissa), x.dtype), 0.125)  # leaves room for 3a below
    # A third of the bits plus two thirds of the bias is a guess within 4 %, 0.033 being what evens out the error.
    # Only upper bits take part, so that multiplying by 2¹⁶/3 does not overflow.
    spare = {23: 16, 52: 20}[form.mantissa]
    third = (((s.bitcast(a, unsigned) >> spare) * 0x5555) >> 16) << spare
    r = s.bitcast(third + int((form.bias * 2 / 3 - 0.033) * 2**form.mantissa), x.dtype)
    for _ in range({23: 2, 52: 3}[form.mantissa]):  # Halley's method cubes the error
        cube = r * r * r
        r = r - r * ((cube - a) / (cube + cube + a))
    r = r * s.select(tiny, s.coerce(2.0**-form.mantissa, x.dtype), 2)
    plain = s.eq(a, 0) | ~(a < math.inf)
    return s.select(plain, x, copysign(s, r, x))


def absolute(s: Builder, x: Scalar) -> Scalar:
    return x if x.dtype.is_unsigned or x.dtype.is_bool else s.unary(Prim.ABS, x)
