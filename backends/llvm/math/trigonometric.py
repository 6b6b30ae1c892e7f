"""sin and cos of float32 as scalar recipes, accurate for every argument.

Up to 71476 the multiple of π/2 is taken off in three fused steps (Cody and Waite); beyond, the fraction of a turn
is computed in integers from 1/2π to 210 bits (Payne and Hanek), shifted into place without a table.
"""

from __future__ import annotations

import math

from graphc.ops.functions.formats import nearest
from graphc.scalar import Builder, Scalar
from graphc.types import float32, float64, int32, uint32

# π/2 in three parts of 24 bits. Each product is exact inside a fused multiply-add.
_HALF_PI = (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15)
_FUSED_LIMIT = 71476.0   # 45503 quadrants; the closest float32 below to a multiple of π/2 still has its bits
# 2⁻¹⁰/2π in 32-bit words after the binary point.
_TURNS = (0x000A2F98, 0x36E4E441, 0x529FC275, 0x7D1F534D, 0xDC0DB629, 0x5993C439, 0x041FE516)
_FIRST_EXPONENT = 140    # biased; at 2¹³, all words from the first are in use

# (sin r / r − 1) / r² and cos r as polynomials of r² on ±π/4; to 2⁻²⁸ and 2⁻³³.
_SIN = (-0.000195180954, 0.00833218824, -0.166666552)
_COS = (2.44323273e-05, -0.00138873095, 0.0416666456, -0.5, 1.0)


def sin(s: Builder, x: Scalar) -> Scalar:
    a = s.abs(x)
    r, quadrant = _reduce(s, a)
    return _in_quadrant(s, r, quadrant, s.bitcast(x, int32) ^ s.bitcast(a, int32))


def cos(s: Builder, x: Scalar) -> Scalar:
    r, quadrant = _reduce(s, s.abs(x))
    return _in_quadrant(s, r, quadrant + 1, s.const(0, int32))


def _in_quadrant(s: Builder, r: Scalar, quadrant: Scalar, sign: Scalar) -> Scalar:
    """sin(r + quadrant·π/2), its sign bit turned by `sign`."""
    z = r * r
    sine = s.fma(s.polynomial(z, _SIN), z * r, r)
    cosine = s.polynomial(z, _COS)
    magnitude = s.select(s.ne(quadrant & 1, 0), cosine, sine)
    return s.bitcast(s.bitcast(magnitude, int32) ^ (((quadrant & 2) << 30) ^ sign), float32)


def _reduce(s: Builder, a: Scalar) -> tuple[Scalar, Scalar]:
    """(r, quadrant) with a ≡ r + quadrant·π/2 modulo 2π and |r| ≤ π/4; of the quadrant two bits count."""
    k, near_quadrant = nearest(s, a, 2 / math.pi)
    near = a
    for part in _HALF_PI:
        near = s.fma(k, -part, near)
    far, far_quadrant = _reduce_far(s, a)
    is_near = a < _FUSED_LIMIT
    return s.select(is_near, near, far), s.select(is_near, near_quadrant, far_quadrant)


def _reduce_far(s: Builder, a: Scalar) -> tuple[Scalar, Scalar]:
    """The same for a ≥ 2¹³, and r = NaN for infinity and NaN."""
    bits = s.bitcast(a, uint32)
    mantissa = (bits & 0x7FFFFF) | 0x800000
    low, high = _turn(s, mantissa, (bits >> 23) - _FIRST_EXPONENT)
    quadrant = (high + (1 << 29)) >> 30
    rest = s.bitcast(high - (quadrant << 30), int32)   # signed, in units of 2⁻³² turns, and `low` below it
    turns = s.fma(s.cast(s.bitcast(low >> 1, int32), float64), 2.0**-31, s.cast(rest, float64))
    r = s.cast(turns * (2 * math.pi * 2.0**-32), float32)
    return r + (a - a), s.bitcast(quadrant, int32)


def _turn(s: Builder, mantissa: Scalar, shift: Scalar) -> tuple[Scalar, Scalar]:
    """(low, high) words of the fraction of mantissa·2^shift·(2⁻¹⁰/2π), to 64 bits; 0 ≤ shift < 116."""
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
