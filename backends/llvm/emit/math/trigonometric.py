"""sin and cos of float32 as scalar recipes, accurate for every argument.

Usual arguments lose their multiple of π/2 in three fused steps (Cody and Waite). For huge ones the fraction of a
turn is computed in integers from 210 bits of 1/2π (Payne and Hanek), which are shifted into place without a table.
"""

from __future__ import annotations

import math
from typing import TypeAlias

from graphc.ops.functions.formats import nearest
from graphc.scalar import Builder, Scalar
from graphc.types import float32, float64, int32, uint32

# π/2 in parts of 24, 12 and 24 bits. A fused product with the first is exact, and any with the second.
_HALF_PI = (1.5707963705062866, -4.371395334601402e-08, 2.5633440682570896e-12)
# Up to 2¹² quadrants that holds; where products are rounded, the first is exact for quadrants 0, 1 and 2 only.
USUAL_FUSED, USUAL_ROUNDED = 6400.0, 3.9
# 2⁻²²/2π in 32-bit words after the binary point; moved left by the exponent of a number that is at least 2.
_TURNS = (0x000000A2, 0xF9836E4E, 0x441529FC, 0x2757D1F5, 0x34DDC0DB, 0x6295993C, 0x439041FE)
_FIRST_EXPONENT = 128

# (sin r / r − 1) / r² and cos r as polynomials of r² on ±π/4; to 2⁻²⁸ and 2⁻³³.
_SIN = (-0.000195180954, 0.00833218824, -0.166666552)
_COS = (2.44323273e-05, -0.00138873095, 0.0416666456, -0.5, 1.0)

# (r, rest, quadrant): the argument is r + rest + quadrant·π/2 modulo 2π, with |r| ≤ π/4. Two bits of quadrant count.
Reduced: TypeAlias = tuple[Scalar, Scalar, Scalar]


def sin(s: Builder, x: Scalar) -> Scalar:
    a = s.abs(x)
    return _sin(s, x, a, _near(s, a))


def sin_far(s: Builder, x: Scalar) -> Scalar:
    """sin for |x| ≥ 2; NaN for infinities and NaN."""
    a = s.abs(x)
    return _sin(s, x, a, _far(s, a))


def cos(s: Builder, x: Scalar) -> Scalar:
    return _cos(s, _near(s, s.abs(x)))


def cos_far(s: Builder, x: Scalar) -> Scalar:
    """cos for |x| ≥ 2; NaN for infinities and NaN."""
    return _cos(s, _far(s, s.abs(x)))


def is_usual(s: Builder, x: Scalar, limit: float) -> Scalar:
    """Where `sin` and `cos` hold; elsewhere `sin_far` and `cos_far` do."""
    return s.abs(x) < limit


def _sin(s: Builder, x: Scalar, a: Scalar, reduced: Reduced) -> Scalar:
    return _in_quadrant(s, reduced, reduced[2], s.bitcast(x, int32) ^ s.bitcast(a, int32))


def _cos(s: Builder, reduced: Reduced) -> Scalar:
    return _in_quadrant(s, reduced, reduced[2] + 1, s.const(0, int32))


def _in_quadrant(s: Builder, reduced: Reduced, quadrant: Scalar, sign: Scalar) -> Scalar:
    """sin(r + rest + quadrant·π/2), its sign bit turned by `sign`."""
    r, rest, _ = reduced
    z = r * r
    sine = r + s.fma(s.polynomial(z, _SIN), z * r, rest)
    cosine = s.polynomial(z, _COS)  # `rest` moves it by less than a third of an ULP
    magnitude = s.select(s.ne(quadrant & 1, 0), cosine, sine)
    return s.bitcast(s.bitcast(magnitude, int32) ^ (((quadrant & 2) << 30) ^ sign), float32)


def _near(s: Builder, a: Scalar) -> Reduced:
    k, quadrant = nearest(s, a, 2 / math.pi)
    first, second, third = _HALF_PI
    exact = s.fma(k, -first, a)
    product = k * second
    r = exact - product
    rest = s.fma(k, -third, (exact - r) - product)
    return r, rest, quadrant


def _far(s: Builder, a: Scalar) -> Reduced:
    bits = s.bitcast(a, uint32)
    mantissa = (bits & 0x7FFFFF) | 0x800000
    low, high = _turn(s, mantissa, (bits >> 23) - _FIRST_EXPONENT)
    quadrant = (high + (1 << 29)) >> 30
    signed = s.bitcast(high - (quadrant << 30), int32)  # in units of 2⁻³² turns, with `low` below it
    turns = s.fma(s.cast(s.bitcast(low >> 1, int32), float64), 2.0**-31, s.cast(signed, float64))
    angle = turns * (2 * math.pi * 2.0**-32)
    r = s.cast(angle, float32) + (a - a)  # a − a is 0, or NaN where a is not finite
    rest = s.cast(angle - s.cast(r, float64), float32)
    return r, rest, s.bitcast(quadrant, int32)


def _turn(s: Builder, mantissa: Scalar, shift: Scalar) -> tuple[Scalar, Scalar]:
    """(low, high) words of the fraction of mantissa·2^shift·(2⁻²²/2π), to 64 bits; 0 ≤ shift < 128."""
    words = [s.const(w, uint32) for w in _TURNS]
    for distance in (64, 32):
        moved = s.ne(shift & distance, 0)
        skip = distance // 32
        words = [s.select(moved, words[i + skip], words[i]) for i in range(len(words) - skip)]
    bits = shift & 31
    w0, w1, w2 = ((words[i] << bits) | (words[i + 1] >> (32 - bits)) for i in range(3))
    middle = w1 * mantissa
    low = middle + s.umulhi(w2, mantissa)
    carry = s.select(low < middle, s.const(1, uint32), 0)
    return low, w0 * mantissa + s.umulhi(w1, mantissa) + carry
