"""Scalar recipes for functions made of exponentials and logarithms, float32 and float64.

Coefficients are of minimax polynomials (Remez exchange in 50 digits, then rounded), highest power first. Errors are
in ULP for either dtype, given primitives that are within 1 ULP.
"""

from __future__ import annotations

import math

from ...scalar import Builder, Scalar
from .formats import LN2, LOG2E, at_most, copysign, nearest, per_dtype, power_of_two, within

# (eʳ − 1 − r) / r² on ±½ ln 2; eʳ − 1 to 2⁻³¹ and 2⁻⁵⁷.
EXPM1 = (
    (0.000196645153, 0.00139350467, 0.00833364297, 0.0416664667, 0.166666657, 0.5),
    (
        1.4689283402600443e-09, 2.5113194131179953e-08, 2.757773416986851e-07, 2.7557237415089933e-06,
        2.4801563118874334e-05, 0.0001984126988736347, 0.0013888888901164385, 0.008333333333323463,
        0.041666666666642455, 0.1666666666666667, 0.5000000000000001,
    ),
)  # fmt: skip

# The same for 2r, halved: (e²ʳ − 1 − 2r) / 2r² on ±¼ ln 2; e²ʳ − 1 to 2⁻²⁶ and 2⁻⁵⁷.
_TANH = tuple(
    tuple(c * 2.0 ** (len(powers) - k) for k, c in enumerate(powers))
    for powers in ((0.00138706574, 0.00836626161, 0.0416674353, 0.166665465, 0.49999997), EXPM1[1])
)

def _expm1_parts(s: Builder, x: Scalar) -> tuple[Scalar, Scalar]:
    """(p, n) with eˣ = 2ⁿ (1 + p), |p| < 0.42; of n the low bits count."""
    k, n = nearest(s, x, LOG2E)
    hi, lo = LN2[x.dtype]
    r = s.fma(k, -lo, s.fma(k, -hi, x))
    return s.fma(r * r, s.polynomial(r, per_dtype(x, *EXPM1)), r), n


def expm1(s: Builder, x: Scalar) -> Scalar:
    """eˣ − 1; 1.5 ULP."""
    (low, high, tiny) = per_dtype(x, (-20.0, 89.0, 2.0**-25), (-40.0, 710.0, 2.0**-54))
    p, n = _expm1_parts(s, within(s, x, low, high))
    half = power_of_two(s, n - 1, x.dtype)  # 2ⁿ itself may not be finite
    result = s.fma(half, p, half - 0.5) * 2
    return s.select(s.abs(x) < tiny, x, result)


def sinh(s: Builder, x: Scalar) -> Scalar:
    """2.5 ULP."""
    (tiny,) = per_dtype(x, (2.0**-12,), (2.0**-26,))
    p, quarter = _quarter(s, s.abs(x))
    t = s.fma(quarter, p, quarter - 0.25)  # (e^|x| − 1) / 4
    result = 2 * (t + t / s.fma(t, 4, 1))
    return s.select(s.abs(x) < tiny, x, copysign(s, result, x))


def cosh(s: Builder, x: Scalar) -> Scalar:
    """1.5 ULP."""
    p, quarter = _quarter(s, s.abs(x))
    e = s.fma(quarter, p, quarter)  # e^|x| / 4
    return 2 * (e + 0.0625 / e)


def _quarter(s: Builder, a: Scalar) -> tuple[Scalar, Scalar]:
    """(p, q) with eᵃ/4 = q (1 + p), q a finite power of two although eᵃ may overflow; for larger a, eᵃ = inf."""
    (high,) = per_dtype(a, (89.5,), (710.5,))
    p, n = _expm1_parts(s, at_most(s, a, high))
    return p, power_of_two(s, n - 2, a.dtype)


def tanh(s: Builder, x: Scalar) -> Scalar:
    """h / (h + 1) for h = (e^2|x| − 1) / 2; 2.6 ULP.

    ln 2 in one part is enough: what it is off by counts less the larger e^2|x| is.
    """
    (high,) = per_dtype(x, (10.0,), (20.0,))
    a = at_most(s, s.abs(x), high)
    k, n = nearest(s, a, 2 * LOG2E)
    r = s.fma(k, -math.log(2) / 2, a)
    p = s.fma(r * r, s.polynomial(r, per_dtype(x, *_TANH)), r)  # (e²ʳ − 1) / 2
    power = power_of_two(s, n, x.dtype)
    h = s.fma(power, p, s.fma(power, 0.5, -0.5))
    return copysign(s, h / (h + 1), x)


def sigmoid(s: Builder, x: Scalar) -> Scalar:
    """eˣ / (1 + eˣ), which is 1 long before eˣ overflows; exact to the smallest numbers on the left; 2.5 ULP."""
    e = s.exp(at_most(s, x, 40.0))
    return e / (1 + e)


def log1p(s: Builder, x: Scalar) -> Scalar:
    """log(1 + x), what the sum loses put back to first order; 2 ULP."""
    u = 1 + x
    lost = s.select(x < 1, x - (u - 1), 1 - (u - x))
    (tiny,) = per_dtype(x, (2.0**-25,), (2.0**-54,))
    plain = (s.abs(x) < tiny) | s.eq(x, math.inf)
    return s.select(plain, x, s.select(s.eq(x, -1), -math.inf, s.log(u) + lost / u))


def log10(s: Builder, x: Scalar) -> Scalar:
    """2 ULP."""
    hi, lo = per_dtype(x, (0.4342944920063019, -1.0103050118e-8), (0.4342944819032518, 1.098319650216765e-17))
    y = s.log(x)
    return s.select(s.eq(s.abs(y), math.inf), y, s.fma(y, hi, y * lo))


def asinh(s: Builder, x: Scalar) -> Scalar:
    """2 ULP."""
    a = s.abs(x)
    large = s.log(a) + math.log(2)
    small = log1p(s, a + a * a / (1 + s.sqrt(s.fma(a, a, 1))))
    return copysign(s, s.select(_square_exceeds_one(s, a), large, small), x)


def acosh(s: Builder, x: Scalar) -> Scalar:
    """2.5 ULP."""
    t = x - 1
    large = s.log(x) + math.log(2)
    small = log1p(s, t + s.sqrt(s.fma(t, t, 2 * t)))
    result = s.select(_square_exceeds_one(s, x), large, small)
    return s.select(x < 1, math.nan, result)


def _square_exceeds_one(s: Builder, x: Scalar) -> Scalar:
    """Where adding 1 to x² changes nothing."""
    (big,) = per_dtype(x, (2.0**13,), (2.0**27,))
    return x > big


def atanh(s: Builder, x: Scalar) -> Scalar:
    """2.5 ULP."""
    a = s.abs(x)
    return copysign(s, 0.5 * log1p(s, (a + a) / (1 - a)), x)


def logaddexp(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    """log(eᵃ + eᵇ); 3.5 ULP of the larger of the result, |a| and |b|."""
    same = a + math.log(2)  # also of equal infinities, whose difference is NaN
    high = s.select(a < b, b, a)
    return s.select(s.eq(a, b), same, high + log1p(s, s.exp(-s.abs(a - b))))
