"""Scalar recipe for the normal distribution, float32 and float64; coefficients as in `exponential`."""

from __future__ import annotations

from ...scalar import Builder, Scalar, integer_like
from .exponential import expm1_parts
from .formats import FORMATS, at_most, per_dtype, power_of_two

# (a + K) Φ(−a) e^(a²/2) as a polynomial of (a − K)/(a + K), K = 3.5 and 5; to 2⁻²⁷ and 2⁻⁵⁷.
_TAIL = (
    (
        0.000110688823, 0.000421896402, -0.000494944106, -0.00317530963, 0.0064931163, 0.0174063779, -0.116053037,
        0.315425038, -0.565561771, 0.744416058,
    ),
    (
        -2.9433022668842987e-10, 1.4541735189744804e-09, 7.933760564604738e-09, -8.3576466551402e-09,
        -6.602903174391617e-08, 4.095592870813854e-08, 4.329232838146021e-07, -3.3558730068928625e-07,
        -2.7689855001355985e-06, 3.9804048619481464e-06, 1.668105651593479e-05, -4.9762659976193266e-05,
        -5.937567901294101e-05, 0.0005448990341837646, -0.0007978694073139613, -0.0029933767667808036,
        0.02079506680077255, -0.06911863870656595, 0.1650203661703405, -0.3135331566712963, 0.49530561596997724,
        -0.6653825028900567, 0.769193049750063,
    ),
)  # fmt: skip


def normal_cdf(s: Builder, x: Scalar) -> Scalar:
    """The share of a normal distribution below x, exact to the smallest numbers on the left; 5 ULP."""
    # Up to where nothing is left of it, e^(−a²/2) is a normal number times 2⁻ˢʰⁱᶠᵗ, which the polynomial brings along.
    far, middle, shift = per_dtype(x, (14.2, 3.5, 64), (38.55, 5.0, 128))
    a = at_most(s, s.abs(x), far)
    inverse = 1 / (a + middle)
    coefficients = tuple(c * 2.0**-shift for c in per_dtype(x, *_TAIL))
    tail = s.polynomial((a - middle) * inverse, coefficients) * inverse
    # a² in two parts: the square of its upper half is exact, and the rest is (a + upper)·(a − upper).
    bits = integer_like(x.dtype)
    upper = s.bitcast(s.bitcast(a, bits) & -(1 << (FORMATS[x.dtype].mantissa // 2 + 1)), x.dtype)
    lower = a - upper
    p, n = expm1_parts(s, upper * upper * -0.5, (s.fma(lower, -0.5, -upper), lower))
    left = s.fma(tail, p, tail) * power_of_two(s, n + int(shift), x.dtype)
    return s.select(x < 0, left, 1 - left)
