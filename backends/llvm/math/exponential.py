"""exp, exp2, log, log2 of float32 as scalar recipes.

A power of two is split off with integer arithmetic on the exponent bits; a minimax polynomial (Remez exchange in 50
digits, rounded to float32 one coefficient at a time, lowest power first) does the rest.
"""

from __future__ import annotations

import math

from graphc.ops.functions.formats import LN2, LOG2E, nearest, scaled, within
from graphc.scalar import Builder, Scalar
from graphc.types import float32, int32

# eʳ on ±½ ln 2, highest power first; to 2⁻²⁸.
_EXP = (0.00138388807, 0.00836919155, 0.0416681021, 0.166665167, 0.49999994, 1.0, 1.0)
# 2ᶠ on ±½; to 2⁻²⁷.
_EXP2 = (0.00015825947, 0.00134177471, 0.00961706508, 0.0555027276, 0.240226552, 0.693147242, 1.0)
# (log(1 + f) − f + f²/2) / f³ on ±⅓; log(1 + f) to 2⁻²⁷.
_LOG = (
    -0.128914192, 0.139844701, -0.121843256, 0.140058637, -0.16680482, 0.200104058, -0.249997973, 0.333332151,
)  # fmt: skip
# (log2(1 + f) − f/ln 2) / f² for 1 + f between √½ and √2; log2(1 + f) to 2⁻²⁸.
_LOG2 = (
    -0.110572718, 0.187118188, -0.191311613, 0.20448114, -0.2395726, 0.288571566, -0.360698581, 0.480898201,
    -0.721347332,
)  # fmt: skip
_TWO_THIRDS, _SQRT_HALF = 0x3F2AAAAB, 0x3F3504F3  # as bits


def exp(s: Builder, x: Scalar) -> Scalar:
    """eˣ."""
    x = within(s, x, -104.0, 89.0)  # beyond, the result is 0 or inf all the same
    k, n = nearest(s, x, LOG2E)
    hi, lo = LN2[float32]
    r = s.fma(k, -lo, s.fma(k, -hi, x))
    return scaled(s, s.polynomial(r, _EXP), n)


def exp2(s: Builder, x: Scalar) -> Scalar:
    """2ˣ."""
    x = within(s, x, -151.0, 129.0)
    k, n = nearest(s, x)
    f = x - k
    return scaled(s, s.polynomial(f, _EXP2), n)


def log(s: Builder, x: Scalar) -> Scalar:
    """log x; the float32 nearest to ln 2 happens to be good to 28 bits, so one product is enough."""
    e, f = _split(s, x, _TWO_THIRDS)
    r = s.fma(s.polynomial(f, _LOG), f, -0.5)
    return _logarithm(s, x, s.fma(e, math.log(2), s.fma(r, f * f, f)))


def log2(s: Builder, x: Scalar) -> Scalar:
    """log₂ x."""
    e, f = _split(s, x, _SQRT_HALF)
    r = s.fma(s.polynomial(f, _LOG2), f * f, f * 1.925963033500011e-08)
    return _logarithm(s, x, s.fma(f, 1.4426950216293335, r) + e)


def _split(s: Builder, x: Scalar, low: int) -> tuple[Scalar, Scalar]:
    """(e, f) with x = 2ᵉ (1 + f) for positive finite x; 1 + f starts at the float of bits `low` and ends below twice
    that. Subnormal x are scaled up first."""
    tiny = x < 2.0**-126
    bits = s.bitcast(s.select(tiny, x * 2.0**23, x), int32)
    e = (bits - low) >> 23
    f = s.bitcast(bits - (e << 23), float32) - 1
    return s.cast(e, float32) - s.select(tiny, s.coerce(23.0, float32), 0.0), f


def _logarithm(s: Builder, x: Scalar, y: Scalar) -> Scalar:
    """y, the logarithm of x, put right for x that are not positive and finite."""
    y = s.select(x < math.inf, y, x)
    return s.select(x > 0, y, s.select(s.eq(x, 0), s.coerce(-math.inf, float32), math.nan))
