"""Scalar recipes for functions made of exponentials and logarithms, float32 and float64."""

from __future__ import annotations

import math

from ...scalar import Builder, Scalar, integer_like
from .formats import LN2, LOG2E, copysign, per_dtype, power_of_two

# (eʳ − 1 − r) / r² on ±½ ln 2, relative error of eʳ − 1 2⁻³¹ and 2⁻⁵⁷. Highest power first.
_EXPM1 = (
    (0.000196645153, 0.00139350467, 0.00833364297, 0.0416664667, 0.166666657, 0.5),
    (
        1.4689283402600443e-09, 2.5113194131179953e-08, 2.757773416986851e-07, 2.7557237415089933e-06,
        2.4801563118874334e-05, 0.0001984126988736347, 0.0013888888901164385, 0.008333333333323463,
        0.041666666666642455, 0.1666666666666667, 0.5000000000000001,
    ),
)  # fmt: skip


def _expm1_parts(s: Builder, x: Scalar) -> tuple[Scalar, Scalar]:
    """(p, n) with eˣ = 2ⁿ (1 + p) and |p| < 0.42, for |x| that does not leave the exponents."""
    hi, lo = LN2[x.dtype]
    k = s.round(x * LOG2E)
    r = s.fma(k, -lo, s.fma(k, -hi, x))
    p = s.fma(r * r, s.polynomial(r, per_dtype(x, *_EXPM1)), r)
    return p, s.cast(k, integer_like(x.dtype))


def _clamp(s: Builder, x: Scalar, low: float, high: float) -> Scalar:
    """x within bounds; NaN stays."""
    x = s.select(x < low, low, x)
    return s.select(x > high, high, x)


def expm1(s: Builder, x: Scalar) -> Scalar:
    """eˣ − 1."""
    (low, high, tiny) = per_dtype(x, (-20.0, 89.0, 2.0**-25), (-40.0, 710.0, 2.0**-54))
    p, n = _expm1_parts(s, _clamp(s, x, low, high))
    half = power_of_two(s, n - 1, x.dtype)  # 2ⁿ itself may not be finite
    result = s.fma(half, p, half - 0.5) * 2
    return s.select(s.abs(x) < tiny, x, result)


def log1p(s: Builder, x: Scalar) -> Scalar:
    """log(1 + x)."""
    u = 1 + x
    lost = s.select(x < 1, x - (u - 1), 1 - (u - x))
    result = s.log(u) + lost / u
    (tiny,) = per_dtype(x, (2.0**-25,), (2.0**-54,))
    plain = (s.abs(x) < tiny) | s.eq(x, math.inf)
    return s.select(plain, x, s.select(s.eq(x, -1), -math.inf, result))


def log10(s: Builder, x: Scalar) -> Scalar:
    hi, lo = per_dtype(x, (0.4342944920063019, -1.0103050118e-8), (0.4342944819032518, 1.098319650216765e-17))
    y = s.log(x)
    return s.select(s.eq(s.abs(y), math.inf), y, s.fma(y, hi, y * lo))


def sinh(s: Builder, x: Scalar) -> Scalar:
    (high, tiny) = per_dtype(x, (90.0, 2.0**-13), (711.0, 2.0**-27))
    p, n = _expm1_parts(s, _clamp(s, s.abs(x), -1.0, high))
    quarter = power_of_two(s, n - 2, x.dtype)
    t = s.fma(quarter, p, quarter - 0.25)  # (e^|x| − 1) / 4
    result = 2 * (t + t / s.fma(t, 4, 1))
    return s.select(s.abs(x) < tiny, x, copysign(s, result, x))


def cosh(s: Builder, x: Scalar) -> Scalar:
    (high,) = per_dtype(x, (90.0,), (711.0,))
    p, n = _expm1_parts(s, _clamp(s, s.abs(x), -1.0, high))
    quarter = power_of_two(s, n - 2, x.dtype)
    e = s.fma(quarter, p, quarter)  # e^|x| / 4
    return 2 * (e + 0.0625 / e)


def tanh(s: Builder, x: Scalar) -> Scalar:
    (high, tiny) = per_dtype(x, (10.0, 2.0**-13), (20.0, 2.0**-27))
    p, n = _expm1_parts(s, _clamp(s, 2 * s.abs(x), -1.0, 2 * high))
    power = power_of_two(s, n, x.dtype)
    t = s.fma(power, p, power - 1)  # e^2|x| − 1
    return s.select(s.abs(x) < tiny, x, copysign(s, t / (t + 2), x))


def sigmoid(s: Builder, x: Scalar) -> Scalar:
    """1 / (1 + e⁻ˣ), exact to the smallest numbers on the left."""
    e = s.exp(-s.abs(x))
    return s.select(x < 0, e, 1.0) / (1 + e)


def asinh(s: Builder, x: Scalar) -> Scalar:
    a = s.abs(x)
    (big,) = per_dtype(x, (2.0**13,), (2.0**27,))
    large = s.log(a) + math.log(2)
    small = log1p(s, a + a * a / (1 + s.sqrt(a * a + 1)))
    return copysign(s, s.select(a > big, large, small), x)


def acosh(s: Builder, x: Scalar) -> Scalar:
    (big,) = per_dtype(x, (2.0**13,), (2.0**27,))
    t = x - 1
    return s.select(x > big, s.log(x) + math.log(2), log1p(s, t + s.sqrt(s.fma(t, t, 2 * t))))


def atanh(s: Builder, x: Scalar) -> Scalar:
    a = s.abs(x)
    return copysign(s, 0.5 * log1p(s, (a + a) / (1 - a)), x)


def logaddexp(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    """log(eᵃ + eᵇ)."""
    same = a + math.log(2)  # also of equal infinities, whose difference is NaN
    high = s.select(a < b, b, a)
    return s.select(s.eq(a, b), same, high + log1p(s, s.exp(-s.abs(a - b))))


def erfc(s: Builder, x: Scalar) -> Scalar:
    """1 − erf(x)."""
    return 1 - s.erf(x)
