"""The error function of float32 as a scalar recipe."""

from __future__ import annotations

from graphc.ops.functions.formats import at_most, copysign, nearest, power_of_two
from graphc.scalar import Builder, Scalar
from graphc.types import float32

# erf(x)/x − 1 as a polynomial of x² up to 1, highest power first; to 2⁻²⁹.
_SMALL = (7.80690389e-05, -0.00079978531, 0.0051871622, -0.0268533472, 0.112835787, -0.37612626, 0.128379166)
# log2(erfc(x)) on [1, 3.95]; erfc(x) to 2⁻²⁹, absolutely.
_LARGE = (
    0.000267724419, -0.00424090447, 0.0314581394, -0.14865081, -0.920765877, -1.62597454, -0.000510442711,
)  # fmt: skip
# 2ᶠ on ±½.
_EXP2 = (0.00015825947, 0.00134177471, 0.00961706508, 0.0555027276, 0.240226552, 0.693147242, 1.0)


def erf(s: Builder, x: Scalar) -> Scalar:
    a = s.abs(x)
    small = s.fma(s.polynomial(a * a, _SMALL), a, a)
    y = s.polynomial(at_most(s, a, 3.95), _LARGE)  # from 3.92 on, erf rounds to 1
    k, n = nearest(s, y)
    large = s.fma(s.polynomial(y - k, _EXP2), -power_of_two(s, n, float32), 1)
    return copysign(s, s.select(a < 1, small, large), x)
