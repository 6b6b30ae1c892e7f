"""What the recipes need to know about the bits of float32 and float64, and the moves made with them."""

from __future__ import annotations

from ...dataclass import dataclass
from ...scalar import Builder, Scalar, integer_like, to_bits, unsigned_like
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


def within(s: Builder, x: Scalar, low: float, high: float) -> Scalar:
    """x within bounds; NaN stays, since it compares as false and the bound stands first."""
    x = s.select(s.coerce(low, x.dtype) > x, low, x)
    return at_most(s, x, high)


def at_most(s: Builder, x: Scalar, high: float) -> Scalar:
    """The smaller of x and a bound; NaN stays."""
    return s.select(s.coerce(high, x.dtype) < x, high, x)


def nearest(s: Builder, x: Scalar, scale: float = 1.0) -> tuple[Scalar, Scalar]:
    """(k, n): x·scale to the nearest integer k, and an integer n whose low bits are k's (22 of float32, 51 of float64).

    |k| stays below 2²² or 2⁵¹. Adding 1.5·2²³ pushes the fraction out and leaves k in the low bits of the sum,
    which is cheaper than conversions that saturate.
    """
    magic = 1.5 * 2.0 ** FORMATS[x.dtype].mantissa
    shifted = x + magic if scale == 1 else s.fma(x, scale, magic)
    return shifted - magic, s.bitcast(shifted, integer_like(x.dtype))


def power_of_two(s: Builder, n: Scalar, dtype: DType) -> Scalar:
    """2ⁿ for an integer n as wide as `dtype` whose low bits are a normal exponent; the others are shifted out."""
    form = FORMATS[dtype]
    return s.bitcast((n << form.mantissa) + (form.bias << form.mantissa), dtype)


def scaled(s: Builder, p: Scalar, n: Scalar) -> Scalar:
    """p·2ⁿ, p near 1, in two factors: 2ⁿ itself may be no normal number. Only the last product rounds."""
    half = n >> 1
    return p * power_of_two(s, half, p.dtype) * power_of_two(s, n - half, p.dtype)


def split(s: Builder, a: Scalar, low: float) -> tuple[Scalar, Scalar]:
    """(e, m): a positive normal number as 2ᵉ m with low ≤ m < 2·low; `low` between ½ and 1."""
    form, unsigned = FORMATS[a.dtype], unsigned_like(a.dtype)
    one, fraction = form.bias << form.mantissa, (1 << form.mantissa) - 1
    bits = s.bitcast(a, unsigned)
    biased = bits + (one - to_bits(low, a.dtype))
    m = s.bitcast((bits - (biased & ~fraction)) + one, a.dtype)
    # The exponent as the low bits of 2²³ or 2⁵² + exponent: a conversion without a conversion instruction.
    e = s.bitcast((biased >> form.mantissa) | (one + (form.mantissa << form.mantissa)), a.dtype)
    return e - (2.0**form.mantissa + form.bias), m


def split_any(s: Builder, a: Scalar, low: float) -> tuple[Scalar, Scalar]:
    """The same for subnormal numbers too, which are scaled up first."""
    form = FORMATS[a.dtype]
    tiny = a < 2.0 ** (1 - form.bias)
    e, m = split(s, s.select(tiny, a * 2.0**form.mantissa, a), low)
    return e - s.select(tiny, s.coerce(float(form.mantissa), a.dtype), 0.0), m


def copysign(s: Builder, x: Scalar, y: Scalar) -> Scalar:
    """|x| with the sign bit of y."""
    bits = integer_like(x.dtype)
    magnitude = s.bitcast(x, bits) & int(bits.max)
    return s.bitcast(magnitude | (s.bitcast(y, bits) & int(bits.min)), x.dtype)
