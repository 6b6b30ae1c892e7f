"""Scalar recipe for powers: of integers by repeated squaring, of floats as 2 to the power of y·log₂ x.

float32 goes through float64, which leaves every result within 0.6 ULP and exact powers exact. float64 carries the
logarithm and its product with y as unevaluated sums of two numbers; that needs a fused multiply-add.
Coefficients are of minimax polynomials (Remez exchange in 60 digits, then rounded), highest power first.
"""

from __future__ import annotations

import math
from typing import TypeAlias

from ...scalar import Builder, Scalar
from ...types import float32, float64
from .formats import copysign, nearest, power_of_two, scaled, split, split_any, within

# log₂((1 + t)/(1 − t)) / t as a polynomial of t², for (1 + t)/(1 − t) between √½ and √2; to 2⁻³⁷.
_LOG2 = (0.34073221644919777, 0.4116726091963542, 0.5770835867279629, 0.9617966733328346, 2.8853900817900935)
# 2ᶠ on ±½; to 2⁻²⁹.
_EXP2 = (
    0.00015345844617886098, 0.0013399933940463086, 0.009618488841384734, 0.055503287695998264, 0.24022646891664665,
    0.6931472057411716, 1.000000000554052,
)  # fmt: skip

# The same logarithm to 2⁻⁷³: the first two coefficients, 2/ln 2 and a third of it, in two parts each, and the rest.
_LOG2_FIRST = (2.8853900817779268, 4.0710547481862066e-17)
_LOG2_SECOND = (0.9617966939259756, 5.0577616648125907e-17)
_LOG2_REST = (
    0.17282326750851373, 0.16845085971749915, 0.1924013511055214, 0.22195226970794923, 0.2623081986657731,
    0.32059889791273655, 0.41219858311134583, 0.5770780163555851,
)  # fmt: skip
# 2ᶠ on ±½; to 2⁻⁵⁹.
_EXP2_DOUBLE = (
    2.8648881709990368e-11, 4.473628586745345e-10, 7.052979951033788e-09, 1.0177930982462139e-07,
    1.3215491302780685e-06, 1.525273416852024e-05, 0.000154035303888875, 0.0013333558146032792,
    0.009618129107630234, 0.05550410866482338, 0.2402265069591007, 0.6931471805599453, 1.0,
)  # fmt: skip

Pair: TypeAlias = tuple[Scalar, Scalar]  # a number as a sum, the second part below half an ULP of the first


def pow(s: Builder, x: Scalar, y: Scalar) -> Scalar:
    """xʸ. Integers wrap, and a negative power is 1/xⁿ towards zero (0 where x is 0). Floats as in C; 1 ULP."""
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
    result = _single_power(s, a, y) if x.dtype is float32 else _double_power(s, a, y)
    half = y * 0.5
    integer = s.eq(s.trunc(y), y)
    odd = integer & s.ne(s.trunc(half), half)
    result = s.select(odd, copysign(s, result, x), result)
    invalid = (x < 0) & ~integer & (a < math.inf)
    result = s.select(invalid, math.nan, result)
    one = s.eq(x, 1) | s.eq(y, 0) | (s.eq(a, 1) & s.eq(s.abs(y), math.inf))
    return s.select(one, 1.0, result)


def _single_power(s: Builder, a: Scalar, y: Scalar) -> Scalar:
    """aʸ for float32 a ≥ 0. Converting back rounds once, to infinity and to subnormal numbers too."""
    a, y = s.cast(a, float64), s.cast(y, float64)
    e, m = split(s, a, math.sqrt(0.5))
    t = (m - 1) / (m + 1)
    log = _logarithm(s, a, s.fma(s.polynomial(t * t, _LOG2), t, e))
    k, n = nearest(s, product := within(s, y * log, -160.0, 130.0))
    return s.cast(s.polynomial(product - k, _EXP2) * power_of_two(s, n, float64), float32)


def _logarithm(s: Builder, a: Scalar, y: Scalar) -> Scalar:
    """y, the logarithm of a ≥ 0, put right for 0, infinity and NaN."""
    return s.select(a < math.inf, s.select(s.eq(a, 0), -math.inf, y), a)


def _double_power(s: Builder, a: Scalar, y: Scalar) -> Scalar:
    """aʸ for float64 a ≥ 0."""
    high, low = _log2_pair(s, a)
    product = y * high
    rest = s.fma(y, high, -product) + y * low
    rest = s.select(s.abs(product) < 1100, rest, 0)  # beyond, it may be NaN, and does not count
    limited = within(s, product, -1100.0, 1100.0)
    k, n = nearest(s, limited)
    return scaled(s, s.polynomial((limited - k) + rest, _EXP2_DOUBLE), n)


def _log2_pair(s: Builder, a: Scalar) -> Pair:
    """log₂ a to about 2⁻⁶⁵ of its size."""
    e, m = split_any(s, a, math.sqrt(0.5))
    f, under = m - 1, m + 1
    under_low = m - (under - 1)
    t = f / under
    t_low = s.fma(-t, under_low, s.fma(-t, under, f)) / under
    z, z_low = _product(s, (t, t_low), (t, t_low))
    # 2/ln 2 + z (⅓·2/ln 2 + z·rest), where the last product is small enough for one number
    inner = _sum(s, _LOG2_SECOND, z * s.polynomial(z, _LOG2_REST))
    middle = _product(s, (z, z_low), inner)
    outer = _sum(s, _LOG2_FIRST, middle[0], middle[1])
    log, log_low = _product(s, (t, t_low), outer)
    total = e + log
    return _logarithm(s, a, total), (e - total) + log + log_low


def _product(s: Builder, a: Pair, b: Pair) -> Pair:
    """a·b: the first parts' product is exact."""
    high = a[0] * b[0]
    return high, s.fma(a[0], b[0], -high) + s.fma(a[0], b[1], a[1] * b[0])


def _sum(s: Builder, a: tuple[float, float], b: Scalar, b_low: Scalar | float = 0.0) -> Pair:
    """a + b for a constant a that is larger than b."""
    high = a[0] + b
    return high, (a[0] - high) + b + (b_low + s.coerce(a[1], b.dtype))
