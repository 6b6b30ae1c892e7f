"""Scalar recipes for functions made of exponentials and logarithms, float32 and float64.

Coefficients are of minimax polynomials (Remez exchange in 50 digits, then rounded), highest power first. Errors are
in ULP for either dtype, given primitives that are within 1 ULP.
"""

from __future__ import annotations

import math

from ...scalar import Builder, Scalar, integer_like
from .formats import FORMATS, LN2, LOG2E, at_most, copysign, nearest, per_dtype, power_of_two, scaled, within

# (eʳ − 1 − r) / r² on ±½ ln 2; eʳ − 1 to 2⁻³¹ and 2⁻⁵⁷.
_EXPM1 = (
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
    for powers in ((0.00138706574, 0.00836626161, 0.0416674353, 0.166665465, 0.49999997), _EXPM1[1])
)

# erfc(a) e^(a²) (1 + 2a) as a polynomial of (a − 2)/(a + 2); to 2⁻²⁵ and 2⁻⁵³.
_ERFC = (
    (
        -0.00043095299, -0.00126580708, 0.0013441781, 0.00866968371, -0.00807156879, -0.0542171299, 0.164057523,
        -0.166030049, -0.0927641317, 1.27697837,
    ),
    (
        -1.1200381843885432e-08, -1.8720898885180876e-08, 8.030636778266429e-08, 2.0618054890566755e-07,
        -1.1410199478244857e-07, -8.934094550512627e-07, -8.553527795758003e-07, 1.5340854142286043e-06,
        5.335018452872499e-06, 3.702113320880328e-06, -1.3544652485829053e-05, -3.642259246722411e-05,
        -1.4935568016619347e-06, 0.00015103950599420362, 0.00020636379639102473, -0.0004543409566749638,
        -0.001456813487874999, 0.0012713389847713921, 0.008722653838907737, -0.00803401508377483,
        -0.05422000099049937, 0.16405128003348318, -0.1660303976153147, -0.09276382658574635, 1.2769783815525289,
    ),
)  # fmt: skip


def expm1_parts(s: Builder, x: Scalar, rest: tuple[Scalar, Scalar] | None = None) -> tuple[Scalar, Scalar]:
    """(p, n) with e^(x + rest) = 2ⁿ (1 + p), |p| < 0.42, for a small `rest`, two factors; of n the low bits count."""
    k, n = nearest(s, x, LOG2E)
    hi, lo = LN2[x.dtype]
    r = s.fma(k, -lo, s.fma(k, -hi, x))
    r = r if rest is None else s.fma(*rest, r)
    return s.fma(r * r, s.polynomial(r, per_dtype(x, *_EXPM1)), r), n


def expm1(s: Builder, x: Scalar) -> Scalar:
    """eˣ − 1; 1.5 ULP."""
    (low, high, tiny) = per_dtype(x, (-20.0, 89.0, 2.0**-25), (-40.0, 710.0, 2.0**-54))
    p, n = expm1_parts(s, within(s, x, low, high))
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
    p, n = expm1_parts(s, at_most(s, a, high))
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


def erfc(s: Builder, x: Scalar) -> Scalar:
    """1 − erf(x), exact to the smallest numbers on the right; 4 ULP.

    For a = |x| it is e^(−a²) g / (1 + 2a), where g is smooth in (a − 2)/(a + 2) (Schonfelder 1978).
    """
    (far,) = per_dtype(x, (11.0,), (28.0,))
    a = at_most(s, s.abs(x), far)
    g = s.polynomial((a - 2) / (a + 2), per_dtype(x, *_ERFC))
    # a² in two parts: the square of its upper half is exact.
    bits = integer_like(x.dtype)
    upper = s.bitcast(s.bitcast(a, bits) & -(1 << (FORMATS[x.dtype].mantissa // 2 + 1)), x.dtype)
    p, n = expm1_parts(s, -(upper * upper), (upper - a, upper + a))
    right = scaled(s, (1 + p) * (g / s.fma(a, 2, 1)), n)
    return s.select(x < 0, 2 - right, right)
