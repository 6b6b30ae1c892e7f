"""What the recipes need to know about the bits of float32 and float64, and the moves made with them."""

from __future__ import annotations

from dataclasses import dataclass

from ...scalar import Builder, Scalar, integer_like
from ...types import DType, float32, float64


@dataclass(frozen=True)
class Format:
    """A binary interchange format of IEEE 754: `mantissa` explicit bits, exponents offset by `bias`."""

    mantissa: int
    bias: int


FORMATS = {float32: Format(23, 127), float64: Format(52, 1023)}

# ln 2 in two parts; the first has so few bits that its product with any exponent is exact.
LN2 = {
    float32: (0.693359375, -2.12194440e-4),
    float64: (6.93147180369123816490e-1, 1.90821492927058770002e-10),
}
LOG2E = 1.4426950408889634


def per_dtype(x: Scalar, single: tuple[float, ...], double: tuple[float, ...]) -> tuple[float, ...]:
    """The coefficients for x's dtype."""
    return {float32: single, float64: double}[x.dtype]


def nearest(s: Builder, x: Scalar, scale: float = 1.0) -> tuple[Scalar, Scalar]:
    """(k, n): x·scale to the nearest integer k, and an integer n whose low bits are k's (22 of float32, 51 of float64).

    |k| stays below 2²² or 2⁵¹. Adding 1.5·2²³ pushes the fraction out and leaves k in the low bits of the sum,
    which is cheaper than conversions that saturate.
    """
    magic = 1.5 * 2.0 ** FORMATS[x.dtype].mantissa
    shifted = x + magic if scale == 1 else s.fma(x, scale, magic)
    return shifted - magic, s.bitcast(shifted, integer_like(x.dtype))


def power_of_two(s: Builder, n: Scalar, dtype: DType) -> Scalar:
    """2ⁿ for an integer n that is a normal exponent of `dtype`; n has the width of `dtype`."""
    form = FORMATS[dtype]
    return s.bitcast((n + form.bias) << form.mantissa, dtype)


def copysign(s: Builder, x: Scalar, y: Scalar) -> Scalar:
    """|x| with the sign bit of y."""
    bits = integer_like(x.dtype)
    magnitude = s.bitcast(x, bits) & int(bits.max)
    return s.bitcast(magnitude | (s.bitcast(y, bits) & int(bits.min)), x.dtype)
