"""Device functions for the scalar primitives that Triton lacks, or means otherwise than graphc does.

Generated sources import them. They hold for tensors of any shape, in Triton's compiler and in its interpreter.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Triton reads annotations of device functions as types of its own, so there are none.

import triton
import triton.language as tl


@triton.jit
def exp(x):
    """eˣ in float32. `tl.exp` is 2^(x·log₂e) with a rounded product, which costs up to 6 bits; here the product's
    rounding error, with the part of log₂e that float32 can't hold, is put back, unless the power is infinite."""
    high = x * 1.4426950216293335
    low = tl.fma(x, 1.4426950216293335, -high) + x * 1.9259629911266175e-08
    power = tl.exp2(high)
    return tl.where(tl.abs(high) < 128.0, tl.fma(power, low * 0.6931471805599453, power), power)


@triton.jit
def trunc(x):
    return tl.where(x < 0.0, tl.ceil(x), tl.floor(x))


@triton.jit
def round_half_even(x, INTEGER: tl.constexpr, SIGN: tl.constexpr, WHOLE: tl.constexpr):
    """To the nearest whole number, halves to even. From WHOLE = 2^mantissa on, all numbers are whole; below, adding
    it rounds. The sign bit is put back last, so that −0.3 gives −0.0."""
    size = tl.abs(x)
    rounded = tl.where(size < WHOLE, (size + WHOLE) - WHOLE, size)
    sign = x.to(INTEGER, bitcast=True) & SIGN
    return (rounded.to(INTEGER, bitcast=True) | sign).to(x.dtype, bitcast=True)


@triton.jit
def shift_left(x, amount, UNSIGNED: tl.constexpr, BITS: tl.constexpr):
    """x << amount; the amount is unsigned, and nothing is left from the width on."""
    n = amount.to(UNSIGNED, bitcast=True)
    return tl.where(n < BITS, x << (amount & (BITS - 1)), tl.zeros_like(x))


@triton.jit
def shift_right(x, amount, UNSIGNED: tl.constexpr, BITS: tl.constexpr):
    """x >> amount for an unsigned x."""
    n = amount.to(UNSIGNED, bitcast=True)
    return tl.where(n < BITS, x >> (amount & (BITS - 1)), tl.zeros_like(x))


@triton.jit
def shift_right_signed(x, amount, UNSIGNED: tl.constexpr, BITS: tl.constexpr):
    """x >> amount for a signed x: from the width on, its sign."""
    n = amount.to(UNSIGNED, bitcast=True)
    return x >> tl.where(n < BITS, amount, tl.full((), BITS - 1, x.dtype))


@triton.jit
def umulhi_narrow(x, y, DOUBLE: tl.constexpr, BITS: tl.constexpr):
    """The upper half of the product of unsigned integers of 8 or 16 bits."""
    return ((x.to(DOUBLE) * y.to(DOUBLE)) >> BITS).to(x.dtype)


@triton.jit
def saturate(
    x, INTEGER: tl.constexpr, LOW: tl.constexpr, HIGH: tl.constexpr, FLOOR: tl.constexpr, CEIL: tl.constexpr
):
    """Float to integer: truncated, saturated at LOW and HIGH, NaN to 0. FLOOR = LOW and CEIL = HIGH + 1 are powers
    of two or 0, so exact as floats."""
    whole = tl.where((x > FLOOR) & (x < CEIL), x, tl.zeros_like(x)).to(INTEGER)
    low = tl.where(x <= FLOOR, tl.full((), LOW, INTEGER), whole)
    return tl.where(x >= CEIL, tl.full((), HIGH, INTEGER), low)


@triton.jit
def checked(index, size, where, status):
    """The index where 0 ≤ index < size, else 0. A bad one where `where` holds sets the status to 1."""
    inside = (index >= 0) & (index < size)
    bad = (inside == 0) & where
    tl.store(status + bad.to(tl.int32) * 0, 1, mask=bad)
    return tl.where(inside, index, 0)
