"""Scalar recipes for the tangent and the inverse trigonometric functions, float32 and float64."""

from __future__ import annotations

import math

from ...scalar import Builder, Scalar, integer_like
from ...types import float32
from .formats import copysign, per_dtype

# (asin(x)/x − 1) / x² as a polynomial of x² on [0, ¼].
_ASIN = (
    (0.0376919582, 0.0143168932, 0.0318388455, 0.044513382, 0.0750052184, 0.166666597),
    (
        0.03262672630106577, -0.020995859042293053, 0.021705043253331106, 0.003707464930773376,
        0.010779951517792596, 0.011398970672265234, 0.013980812692005793, 0.017351612744772028,
        0.02237221494135128, 0.030381942709701702, 0.044642857174563476, 0.07499999999970865,
        0.1666666666666676,
    ),
)  # fmt: skip

# (atan(x)/x − 1) / x² as a polynomial of x², on [0, 1] for float32 and up to tan(π/8) for float64.
_ATAN = (
    (
        -0.00178265269, 0.0108681899, -0.0310964305, 0.0578810945, -0.0839929879, 0.109508798,
        -0.142640159, 0.199985296, -0.333332986,
    ),
    (
        0.014901919343432525, -0.03318295720666474, 0.04490904294461485, -0.05215262726797397,
        0.05876528590993453, -0.06666175842628141, 0.07692279272335928, -0.09090907988593716,
        0.11111111083806606, -0.14285714285317086, 0.19999999999997098, -0.33333333333333326,
    ),
)  # fmt: skip


def tan(s: Builder, x: Scalar) -> Scalar:
    return s.sin(x) / s.cos(x)


def _asin_parts(s: Builder, x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """(large, t, asin t): t is |x| up to ½; beyond, where `large` holds, asin|x| = π/2 − 2 asin t."""
    a = s.abs(x)
    large = a > 0.5
    z = s.select(large, (1 - a) * 0.5, a * a)
    t = s.select(large, s.sqrt(z), a)
    return large, t, s.fma(t * z, s.polynomial(z, per_dtype(x, *_ASIN)), t)


def asin(s: Builder, x: Scalar) -> Scalar:
    large, _, r = _asin_parts(s, x)
    return copysign(s, s.select(large, math.pi / 2 - 2 * r, r), x)


def acos(s: Builder, x: Scalar) -> Scalar:
    large, _, r = _asin_parts(s, x)
    left = x < 0
    return s.select(
        large, s.select(left, math.pi - 2 * r, 2 * r), s.select(left, math.pi / 2 + r, math.pi / 2 - r)
    )


def atan(s: Builder, x: Scalar) -> Scalar:
    """2.5 ULP."""
    return copysign(s, _angle(s, s.abs(x), s.coerce(1.0, x.dtype)), x)


def atan2(s: Builder, y: Scalar, x: Scalar) -> Scalar:
    """The angle of the point (x, y), with the sign of y; zeros and infinities as C has them. 3 ULP."""
    r = _angle(s, s.abs(y), s.abs(x))
    left = s.bitcast(x, integer_like(x.dtype)) < 0  # −0 too
    return copysign(s, s.select(left, math.pi - r, r), y)


def _angle(s: Builder, y: Scalar, x: Scalar) -> Scalar:
    """The angle of a point of the first quadrant."""
    steep = y > x
    low, high = s.select(steep, x, y), s.select(steep, y, x)
    t = low / high
    equal = s.select(s.eq(low, 0), 0.0, s.coerce(1.0, x.dtype))  # 0/0 counts as 0, inf/inf as 1
    r = _atan_below_one(s, s.select(s.eq(low, high), equal, t))
    return s.select(steep, math.pi / 2 - r, r)


def _atan_below_one(s: Builder, t: Scalar) -> Scalar:
    """atan t for 0 ≤ t ≤ 1; float64, whose polynomial ends at tan(π/8), folds the rest to below that."""
    if t.dtype is float32:
        return _atan_polynomial(s, t)
    folded = t > math.tan(math.pi / 8)
    r = _atan_polynomial(s, s.select(folded, (t - 1) / (t + 1), t))
    return s.select(folded, math.pi / 4 + r, r)


def _atan_polynomial(s: Builder, t: Scalar) -> Scalar:
    z = t * t
    return s.fma(t * z, s.polynomial(z, per_dtype(t, *_ATAN)), t)
