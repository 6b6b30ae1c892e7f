"""Floats that share a key, both zeros and all NaN, as they were: in sorted rows they have lost signs and bits.

Who sorts values alone carries no positions to look them up by, which would double what is moved. Rarely is there a
−0 or a NaN at all; then the row is gone through once more, and they are written in the order that they are in.
"""

from __future__ import annotations

from ..emit.text import Code, Number, vector_of
from .keys import Keys

LANES = 16


def restore(code: Code, keys: Keys, source: str, to: str, size: int, count: int) -> None:
    """Code for one row: `source` and `to` are addresses of its elements, and of the first `count` of them, sorted."""
    if not keys.dtype.is_float:
        return
    whole = size // LANES * LANES
    found = "false"
    if whole:
        found = _has_special(code, keys, source, 0, whole, LANES)
    if size - whole:
        found = code.let(f"or i1 {found}, {_has_special(code, keys, source, whole, size, 1)}")
    with code.when(found):
        _write(code, keys, source, to, size, count)


def _has_special(code: Code, keys: Keys, source: str, start: int, stop: int, lanes: int) -> str:
    """Whether any of some elements is −0 or NaN."""
    type_, mask = vector_of(keys.type, lanes), vector_of("i1", lanes)
    none = "zeroinitializer" if lanes > 1 else "0"
    with code.loop(start, stop, lanes, [(type_, none)]) as loop:
        at = code.element(source, keys.type, loop.index)
        bits = code.let(f"load {type_}, ptr {at}, align {keys.bits // 8}")
        special = keys.is_special(code, bits, lanes)
        wide = code.let(f"sext {mask} {special} to {type_}")
        loop.next = [code.let(f"or {type_} {loop.carried[0]}, {wide}")]
    (any_of,) = loop.next
    if lanes > 1:
        any_of = code.call(keys.type, f"llvm.vector.reduce.or.v{lanes}{keys.type}", (type_, any_of))
    return code.let(f"icmp ne {keys.type} {any_of}, 0")


def _write(code: Code, keys: Keys, source: str, to: str, size: int, count: int) -> None:
    """Both zeros and all NaN where their keys come in the sorted row, in their order."""

    def element(index: Number) -> tuple[str, str]:
        bits = code.let(f"load {keys.type}, ptr {code.element(source, keys.type, index)}")
        return bits, keys.of(code, bits)

    def compared(how: str, key: str, other: int) -> str:
        return code.let(f"icmp {how} {keys.type} {key}, {other}")

    shared = (keys.zero_key, keys.nan_key)
    with code.loop(0, size, 1, [("i64", "0"), ("i64", "0")]) as counting:
        _, key = element(counting.index)
        less = [code.let(f"zext i1 {compared('ult', key, k)} to i64") for k in shared]
        counting.next = [code.let(f"add i64 {n}, {more}") for n, more in zip(counting.carried, less, strict=True)]
    with code.loop(0, size, 1, [("i64", n) for n in counting.next]) as writing:
        bits, key = element(writing.index)
        is_zero, is_nan = (compared("eq", key, k) for k in shared)
        zeros, nans = writing.carried
        at = code.let(f"select i1 {is_zero}, i64 {zeros}, i64 {nans}")
        is_shared = code.let(f"or i1 {is_zero}, {is_nan}")
        with code.when(code.let(f"and i1 {is_shared}, {code.let(f'icmp ult i64 {at}, {count}')}")):
            code.do(f"store {keys.type} {bits}, ptr {code.element(to, keys.type, at)}")
        steps = [code.let(f"zext i1 {flag} to i64") for flag in (is_zero, is_nan)]
        writing.next = [code.let(f"add i64 {n}, {more}") for n, more in zip(writing.carried, steps, strict=True)]
