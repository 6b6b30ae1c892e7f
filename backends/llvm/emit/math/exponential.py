"""exp, exp2, log, log2 of float32 and float64 as scalar recipes.

A power of two is split off with integer arithmetic on the exponent bits; a minimax polynomial does the rest (Remez
exchange in 50 digits, rounded to the dtype one coefficient at a time). Coefficients stand highest power first.
"""

from __future__ import annotations

import math
from typing import TypeAlias

from graphc.ops.functions.formats import LN2, LOG2E, at_most, nearest, per_dtype, scaled, split_any, within
from graphc.scalar import Builder, Scalar, integer_like
from graphc.types import float32

# eʳ on ±½ ln 2; to 2⁻²⁸ and 2⁻⁵⁷.
_EXP = (
    (0.00138388807, 0.00836919155, 0.0416681021, 0.166665167, 0.49999994, 1.0, 1.0),
    (
        2.5018815732562613e-08, 2.762978276962267e-07, 2.7557511837243343e-06, 2.4801494311332845e-05,
        0.00019841269614289466, 0.0013888888942681257, 0.008333333333427805, 0.04166666666653172, 0.1666666666666656,
        0.5000000000000011, 1.0, 1.0,
    ),
)  # fmt: skip
# 2ᶠ on ±½; to 2⁻²⁷ and 2⁻⁵⁹.
_EXP2 = (
    (0.00015825947, 0.00134177471, 0.00961706508, 0.0555027276, 0.240226552, 0.693147242, 1.0),
    (
        2.8648881709990368e-11, 4.473628586745345e-10, 7.052979951033788e-09, 1.0177930982462139e-07,
        1.3215491302780685e-06, 1.525273416852024e-05, 0.000154035303888875, 0.0013333558146032792,
        0.009618129107630234, 0.05550410866482338, 0.2402265069591007, 0.6931471805599453, 1.0,
    ),
)  # fmt: skip
# (log(1 + f) − f + f²/2) / f³ on ±⅓; log(1 + f) to 2⁻²⁷.
_LOG = (
    -0.128914192, 0.139844701, -0.121843256, 0.140058637, -0.16680482, 0.200104058, -0.249997973, 0.333332151,
)  # fmt: skip
# (log2(1 + f) − f/ln 2) / f² for 1 + f between √½ and √2; log2(1 + f) to 2⁻²⁸.
_LOG2 = (
    -0.110572718, 0.187118188, -0.191311613, 0.20448114, -0.2395726, 0.288571566, -0.360698581, 0.480898201,
    -0.721347332,
)  # fmt: skip
# (log((1 + t)/(1 − t))/t − 2) / t² as a polynomial of t², (1 + t)/(1 − t) between √½ and √2; to 2⁻⁵⁹.
_LOG_DOUBLE = (
    0.1479585108414049, 0.15314065341933575, 0.18183563515476628, 0.22222198594420722, 0.28571428742106947,
    0.3999999999941643, 0.6666666666666734,
)  # fmt: skip


# Beyond these the result is 0 or inf all the same.
_EXP_RANGE = (-104.0, 89.0), (-746.0, 710.0)
_EXP2_RANGE = (-151.0, 129.0), (-1076.0, 1025.0)

# (p, k, n): a function's value is p·2ᵏ, p near 1; k is a whole number, and n an integer whose low bits are k's.
Power: TypeAlias = tuple[Scalar, Scalar, Scalar]


def exp(s: Builder, x: Scalar) -> Scalar:
    """eˣ."""
    p, _, n = exp_power(s, x)
    return scaled(s, p, n)


def exp_power(s: Builder, x: Scalar) -> Power:
    """eˣ as a product with a power of two."""
    return _exp_power(s, within(s, x, *per_dtype(x, *_EXP_RANGE)))


def exp_parts(s: Builder, x: Scalar) -> Power:
    """(p, k, is_there): eˣ is p·2ᵏ, or 0 where `is_there` fails."""
    low, high = per_dtype(x, *_EXP_RANGE)
    p, k, _ = _exp_power(s, at_most(s, x, high))
    return p, k, ~(x < low)


def _exp_power(s: Builder, x: Scalar) -> Power:
    k, n = nearest(s, x, LOG2E)
    hi, lo = LN2[x.dtype]
    r = s.fma(k, -lo, s.fma(k, -hi, x))
    return s.polynomial(r, per_dtype(x, *_EXP)), k, n


def exp2(s: Builder, x: Scalar) -> Scalar:
    """2ˣ."""
    p, _, n = exp2_power(s, x)
    return scaled(s, p, n)


def exp2_power(s: Builder, x: Scalar) -> Power:
    """2ˣ as a product with a power of two."""
    return _exp2_power(s, within(s, x, *per_dtype(x, *_EXP2_RANGE)))


def exp2_parts(s: Builder, x: Scalar) -> Power:
    """(p, k, is_there): 2ˣ is p·2ᵏ, or 0 where `is_there` fails."""
    low, high = per_dtype(x, *_EXP2_RANGE)
    p, k, _ = _exp2_power(s, at_most(s, x, high))
    return p, k, ~(x < low)


def _exp2_power(s: Builder, x: Scalar) -> Power:
    k, n = nearest(s, x)
    return s.polynomial(x - k, per_dtype(x, *_EXP2)), k, n


def log(s: Builder, x: Scalar) -> Scalar:
    """log x."""
    return _logarithm(s, x, _log_single(s, x) if x.dtype is float32 else _log_double(s, x))


def _log_single(s: Builder, x: Scalar) -> Scalar:
    """The float32 nearest to ln 2 happens to be good to 28 bits, so one product with it is enough."""
    e, m = split_any(s, x, 2 / 3)
    f = m - 1
    r = s.fma(s.polynomial(f, _LOG), f, -0.5)
    return s.fma(e, math.log(2), s.fma(r, f * f, f))


def _log_double(s: Builder, x: Scalar) -> Scalar:
    """As in fdlibm: log(1 + f) = f − (f²/2 − correction)."""
    e, m = split_any(s, x, math.sqrt(0.5))
    f = m - 1
    half, correction = _log_parts(s, f)
    hi, lo = LN2[x.dtype]
    return e * hi - ((half - s.fma(e, lo, correction)) - f)


def _log_parts(s: Builder, f: Scalar) -> tuple[Scalar, Scalar]:
    """(f²/2, log(1 + f) − f + f²/2) for float64."""
    t = f / (2 + f)
    half = f * f * 0.5
    z = t * t
    return half, t * s.fma(z, s.polynomial(z, _LOG_DOUBLE), half)


def log2(s: Builder, x: Scalar) -> Scalar:
    """log₂ x."""
    e, m = split_any(s, x, math.sqrt(0.5))
    y = _log2_single(s, m - 1) + e if x.dtype is float32 else _log2_double(s, m - 1, e)
    return _logarithm(s, x, y)


def _log2_single(s: Builder, f: Scalar) -> Scalar:
    r = s.fma(s.polynomial(f, _LOG2), f * f, f * 1.925963033500011e-08)
    return s.fma(f, 1.4426950216293335, r)


def _log2_double(s: Builder, f: Scalar, e: Scalar) -> Scalar:
    """As in fdlibm: the leading half of log(1 + f) times the leading half of 1/ln 2 is exact."""
    half, correction = _log_parts(s, f)
    bits = integer_like(f.dtype)
    upper = s.bitcast(s.bitcast(f - half, bits) & -(1 << 32), f.dtype)
    lower = ((f - upper) - half) + correction
    hi, lo = 1.44269504072144627571e0, 1.67517131648865118353e-10
    leading = upper * hi
    total = e + leading
    return total + (((e - total) + leading) + s.fma(lower + upper, lo, lower * hi))


def _logarithm(s: Builder, x: Scalar, y: Scalar) -> Scalar:
    """y, the logarithm of x, put right for x that are not positive and finite."""
    y = s.select(x < math.inf, y, x)
    return s.select(x > 0, y, s.select(s.eq(x, 0), s.coerce(-math.inf, x.dtype), math.nan))
