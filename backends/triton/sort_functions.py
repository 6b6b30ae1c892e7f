"""Device functions of sources that sort: keys whose order is that of the elements, and a network that orders pairs.

A pair is a key, an unsigned integer, and a place in the row, which decides between equal keys; so any network keeps the
order of equals. Pairs that stand for nothing have the greatest key and a place behind the row. They hold in Triton's
compiler and in its interpreter.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Triton reads annotations of device functions as types of its own, so there are none.

import triton
import triton.language as tl


@triton.jit
def float_key(x, INTEGER: tl.constexpr, UNSIGNED: tl.constexpr, SIGN: tl.constexpr, BITS: tl.constexpr):
    """−0 and 0 have one key, and all NaN, the greatest. A float's bits are in order once those of negative ones are
    turned around and the sign is."""
    bits = tl.where(x == 0.0, tl.zeros_like(x), x).to(INTEGER, bitcast=True)
    bits = tl.where(x != x, tl.full((), -1 - SIGN, INTEGER), bits)
    return (bits ^ ((bits >> (BITS - 1)) | SIGN)).to(UNSIGNED, bitcast=True)


@triton.jit
def integer_key(x, INTEGER: tl.constexpr, UNSIGNED: tl.constexpr, SIGN: tl.constexpr):
    """Of a signed integer."""
    return (x.to(INTEGER) ^ SIGN).to(UNSIGNED, bitcast=True)


@triton.jit
def goes_after(key, place, other, there):
    return (key > other) | ((key == other) & (place > there))


@triton.jit
def in_order(key, place, FIRST: tl.constexpr, LAST: tl.constexpr):
    """Stages FIRST to LAST of a bitonic network: from runs of 2^(FIRST − 1) pairs that are in order, every other one
    backwards, it makes runs of 2^LAST. The loops stay loops: unrolled, the network takes Triton seconds."""
    lane = tl.arange(0, key.shape[0])
    for stage in range(FIRST, LAST + 1):
        backwards = (lane & (1 << stage) & ((1 << LAST) - 1)) != 0
        for step in range(stage):
            distance = 1 << (stage - 1 - step)
            other, there = tl.gather(key, lane ^ distance, 0), tl.gather(place, lane ^ distance, 0)
            is_second = (lane & distance) != 0
            swap = goes_after(key, place, other, there) != (is_second != backwards)
            key, place = tl.where(swap, other, key), tl.where(swap, there, place)
    return key, place


@triton.jit
def share_of_first(keys, places, first, second, SIZE: tl.constexpr, edges, STEPS: tl.constexpr):
    """Two runs of SIZE pairs in order start at `first` and `second`: how many of the first `edges` pairs of both
    together are in the first run."""
    low, high = tl.maximum(edges - SIZE, 0), tl.minimum(edges, SIZE)
    for _ in range(STEPS):
        middle = (low + high) // 2
        is_open = low < high
        here, there = first + middle, second + edges - 1 - middle
        key, place = tl.load(keys + here, mask=is_open, other=0), tl.load(places + here, mask=is_open, other=0)
        other = tl.load(keys + there, mask=is_open, other=0)
        beside = tl.load(places + there, mask=is_open, other=0)
        after = goes_after(key, place, other, beside)
        low = tl.where(is_open & (after == 0), middle + 1, low)
        high = tl.where(is_open & after, middle, high)
    return low
