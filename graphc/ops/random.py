"""Random bits as an elementwise op on counters, so that randomness fuses, and is the same on every backend.

Philox4x32-10: J. Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import numpy as np

from ..op import same_types
from ..scalar import Builder, Scalar
from ..types import TensorType, uint32
from .declare import elementwise
from .rules import Family, require

_ROUNDS = 10
_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)  # added to the two key words before each further round

_WORD32 = Family("uint32", lambda d: d is uint32)


def _philox_type(
    key_low: TensorType, key_high: TensorType, counter: TensorType, word: TensorType
) -> TensorType:
    common = same_types(philox.name, (key_low, key_high, counter, word))
    require(philox.name, _WORD32, common)
    return common


def _keys(key: tuple[int, int]) -> list[tuple[int, int]]:
    """The key words of each round."""
    return [((key[0] + i * _WEYL[0]) & _MASK, (key[1] + i * _WEYL[1]) & _MASK) for i in range(_ROUNDS)]


def philox_block(key: tuple[int, int], counter: int) -> tuple[int, int, int, int]:
    """The four words of one block."""
    block = (counter, 0, 0, 0)
    for low, high in _keys(key):
        first, second = block[0] * _MULTIPLIERS[0], block[2] * _MULTIPLIERS[1]
        block = (
            (second >> 32) ^ block[1] ^ low,
            second & _MASK,
            (first >> 32) ^ block[3] ^ high,
            first & _MASK,
        )
    return block


def philox_blocks(key: tuple[int, int], start: int, count: int) -> np.ndarray:
    """The words of blocks start, start + 1, …: uint32 of shape (count, 4).

    In place on 64-bit numbers, whose upper halves need to be 0 only in words that are multiplied. Quick where about
    eight such vectors stay in the processor's cache.
    """
    if count <= 8:  # a hundred calls of NumPy cost more
        return np.array([philox_block(key, start + i) for i in range(count)], np.uint32).reshape(count, 4)
    multiply, shift, xor, mask = np.multiply, np.right_shift, np.bitwise_xor, np.bitwise_and
    width, low_half = np.array(32, np.uint64), np.array(_MASK, np.uint64)
    multipliers = np.array(_MULTIPLIERS, np.uint64)
    keys = np.array(_keys(key), np.uint64)
    # Of the first two rounds only this is left, since three words of the counter are 0.
    product = np.arange(start, start + count, dtype=np.uint64) * multipliers[0]
    b = (product >> width ^ keys[0, 1]) * multipliers[1]
    a = b >> width ^ keys[1, 0]
    constant = keys[0, 0] * multipliers[0]
    c = (product ^ (constant >> width) ^ keys[1, 1]) & low_half
    d = np.full(count, constant)
    first, second = np.empty((2, count), np.uint64)
    for key_low, key_high in keys[2:]:
        multiply(a, multipliers[0], first)
        multiply(c, multipliers[1], second)
        for word, product, other, key_word in ((a, second, b, key_low), (c, first, d, key_high)):
            shift(product, width, word)
            xor(word, other, word)
            xor(word, key_word, word)
            mask(word, low_half, word)
        b, d, first, second = second, first, d, b
    words = np.empty((count, 4), np.uint32)
    for i, word in enumerate((a, b, c, d)):
        np.copyto(words[:, i], word, casting="unsafe")
    return words


def _philox_reference(
    key_low: np.ndarray, key_high: np.ndarray, counter: np.ndarray, word: np.ndarray
) -> np.ndarray:
    zero = np.zeros_like(counter)
    block = (counter, zero, zero, zero)
    for i in range(_ROUNDS):
        keys = (key_low + np.uint32(i * _WEYL[0] & _MASK), key_high + np.uint32(i * _WEYL[1] & _MASK))
        products = [block[2 * j].astype(np.uint64) * np.uint64(_MULTIPLIERS[j]) for j in range(2)]
        (high0, low0), (high1, low1) = (
            ((p >> np.uint64(32)).astype(np.uint32), p.astype(np.uint32)) for p in products
        )
        block = (high1 ^ block[1] ^ keys[0], low1, high0 ^ block[3] ^ keys[1], low0)
    return np.select([word == i for i in range(3)], block[:3], block[3])


# Word 0 to 3 (others count as 3) of the block that the counter (counter, 0, 0, 0) gives under the key.
@elementwise(_philox_type, _philox_reference)
def philox(s: Builder, key_low: Scalar, key_high: Scalar, counter: Scalar, word: Scalar) -> Scalar:
    zero = s.const(0, uint32)
    block = (counter, zero, zero, zero)
    for i in range(_ROUNDS):
        keys = (key_low + (i * _WEYL[0] & _MASK), key_high + (i * _WEYL[1] & _MASK))
        (high0, low0), (high1, low1) = (
            (s.umulhi(block[2 * j], _MULTIPLIERS[j]), block[2 * j] * _MULTIPLIERS[j]) for j in range(2)
        )
        block = (high1 ^ block[1] ^ keys[0], low1, high0 ^ block[3] ^ keys[1], low0)
    result = block[3]
    for i in (2, 1, 0):
        result = s.select(s.eq(word, i), block[i], result)
    return result
