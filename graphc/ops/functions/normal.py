"""Scalar recipes for the tails of the normal distribution, float32 and float64.

Each is e^(−a²/2) or e^(−a²) times a quotient of two polynomials of a = |x|, whose coefficients are all positive, so
nothing cancels. They are minimax (Remez exchange in 50 digits, then rounded one by one), highest power first.
"""

from __future__ import annotations

import math
from typing import TypeAlias

from ...scalar import Builder, Scalar, integer_like
from ...types import float64
from .exponential import EXPM1
from .formats import FORMATS, LN2, LOG2E, at_most, nearest, per_dtype

Polynomials: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]  # of the numerator and the denominator

# Φ(−a) e^(a²/2); to 2⁻²⁶ up to 14.2, and to 2⁻⁵⁷ up to 38.55.
_TAIL: tuple[Polynomials, Polynomials] = (
    (
        (0.39894715, 3.94571471, 17.8184319, 42.672123, 48.7546768),
        (1.0, 9.89109039, 45.6492157, 117.053017, 163.145493, 97.5093536),
    ),
    (
        (
            0.39894228040152857, 12.421178720866758, 189.85251836217972, 1852.9818378175792, 12699.296068616117,
            63614.249653014514, 235585.0224276306, 637744.3317522918, 1213256.1817280406, 1478499.3774384225,
            893209.0516837017,
        ),
        (
            1.0, 31.13527778602506, 476.88969053068445, 4675.871945213315, 32306.30426748426, 164039.74349491546,
            621414.7003564332, 1749067.3855088104, 3572722.407928132, 5029916.05092098, 4382354.178692434,
            1786418.1033674034,
        ),
    ),
)  # fmt: skip

# erfc(a) e^(a²); to 2⁻²⁶ up to 11, and to 2⁻⁵⁷ up to 28.
_ERFC: tuple[Polynomials, Polynomials] = (
    (
        (0.564195156, 3.91575313, 12.4338484, 20.956562, 16.8280182),
        (1.0, 6.94088125, 22.5318375, 40.6787148, 39.9449577, 16.8280182),
    ),
    (
        (
            0.5641895835478768, 12.403311195926277, 133.89022098630443, 923.0492769479087, 4468.895390923567,
            15815.23771937233, 41380.42839729128, 79147.51397513127, 106388.57285785417, 91603.17047033309,
            39097.759042884056,
        ),
        (
            1.0, 21.984296693234423, 237.81423778309212, 1647.0543939712795, 8039.067959967425, 28838.818061925205,
            77187.94640837767, 153510.67623914624, 221572.60831287134, 220434.73593751897, 135720.26725444366,
            39097.759042884056,
        ),
    ),
)  # fmt: skip

# eʳ for r from −½ ln 2 − 0.09 to ½ ln 2, to 2⁻²⁷; and on ±½ ln 2, to 2⁻⁵⁷.
_EXP = (
    (0.00132285571, 0.00836908538, 0.041677881, 0.166665137, 0.499999613, 1.0, 1.0),
    (*EXPM1[1], 1.0, 1.0),
)  # fmt: skip


def normal_cdf(s: Builder, x: Scalar) -> Scalar:
    """The share of a normal distribution below x, exact to the smallest numbers on the left; 4.9 ULP, 7 of float64."""
    (far,) = per_dtype(x, (14.2,), (38.55,))  # where nothing is left
    left = _tail(s, at_most(s, s.abs(x), far), 2.0, _TAIL)
    return s.select(x < 0, left, 1 - left)


def erfc(s: Builder, x: Scalar) -> Scalar:
    """1 − erf(x), exact to the smallest numbers on the right; 4.9 ULP, 7 of float64."""
    (far,) = per_dtype(x, (11.0,), (28.0,))
    right = _tail(s, at_most(s, s.abs(x), far), 1.0, _ERFC)
    return s.select(x < 0, 2 - right, right)


def _tail(s: Builder, a: Scalar, width: float, quotient: tuple[Polynomials, Polynomials]) -> Scalar:
    """e^(−a²/width) times the quotient, for a power of two as the width.

    The exponential is 2ˢʰⁱᶠᵗ times too large, so that it is a normal number also where the result is none, and the
    numerator by as much too small. Powers of two go into its exponent bits and into coefficients.
    """
    form, bits = FORMATS[a.dtype], integer_like(a.dtype)
    (shift,) = per_dtype(a, (64,), (128,))
    # a² in two parts: the square of its upper half is exact, and the rest is (a − upper)·(a + upper).
    upper = s.bitcast(s.bitcast(a, bits) & -(1 << (form.mantissa // 2 + 1)), a.dtype)
    square = upper * upper
    k, n = nearest(s, square, -LOG2E / width)
    hi, lo = LN2[a.dtype]
    r = s.fma(k, lo * width, s.fma(k, hi * width, square))
    r = s.fma(a - upper, a + upper, r)
    powers = per_dtype(a, *_EXP)
    degrees = reversed(range(len(powers)))
    of_r = [math.ldexp(c * (-1 / width) ** k, int(shift)) for k, c in zip(degrees, powers, strict=True)]
    power = s.bitcast(s.bitcast(s.polynomial(r, of_r), bits) + (n << form.mantissa), a.dtype)
    above, below = quotient[a.dtype is float64]
    above = tuple(math.ldexp(c, -int(shift)) for c in above)
    squared = a * a
    return power * (_by_halves(s, a, squared, above) / _by_halves(s, a, squared, below))


def _by_halves(s: Builder, a: Scalar, squared: Scalar, coefficients: tuple[float, ...]) -> Scalar:
    """The polynomial of a as two of a²: half as many roundings follow each other, and that of a² leaves the quotient
    nearly as it is."""
    even, odd = coefficients[::-1][::2][::-1], coefficients[::-1][1::2][::-1]
    return s.fma(s.polynomial(squared, odd), a, s.polynomial(squared, even))
