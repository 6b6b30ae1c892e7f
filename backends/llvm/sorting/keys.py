"""Elements as keys: unsigned integers in the order that elements are to be in. −0 and 0 have one key, and all NaN.

A float's bits are in order once those of negative ones are turned around and the sign is.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.dataclass import dataclass
from graphc.types import DType

from ..emit.text import Code, vector_of


@dataclass(frozen=True)
class Keys:
    """How keys are made and undone, with `lanes` at a time."""

    dtype: DType
    descending: bool

    @property
    def bits(self) -> int:
        return 8 * self.dtype.itemsize

    @property
    def type(self) -> str:
        return f"i{self.bits}"

    @property
    def _top(self) -> int:
        """The sign bit, as the signed number that it is."""
        return -(1 << (self.bits - 1))

    @property
    def nan(self) -> int:
        """What stands for NaN before it becomes a key."""
        return (1 << (self.bits - 1)) - 1

    @property
    def infinity(self) -> int:
        """The bits of the float."""
        exponent = {"float16": 5, "bfloat16": 8, "float32": 8, "float64": 11}[self.dtype.name]
        return ((1 << exponent) - 1) << (self.bits - 1 - exponent)

    def load(self, code: Code, pointer: str, lanes: int = 1) -> str:
        """The keys of elements in memory."""
        bits = code.let(f"load {vector_of(self.type, lanes)}, ptr {pointer}, align {self.bits // 8}")
        return self.of(code, bits, lanes)

    def of(self, code: Code, bits: str, lanes: int = 1) -> str:
        """Bits of elements to keys."""
        type_ = vector_of(self.type, lanes)

        def number(n: int) -> str:
            return str(n) if lanes == 1 else f"splat ({self.type} {n})"

        if self.dtype.is_float:
            zero = code.let(f"icmp eq {type_} {bits}, {number(self._top)}")
            bits = code.let(f"select {_mask(lanes)} {zero}, {type_} {number(0)}, {type_} {bits}")
            size = code.let(f"and {type_} {bits}, {number(self.nan)}")
            is_nan = code.let(f"icmp ugt {type_} {size}, {number(self.infinity)}")
            bits = code.let(f"select {_mask(lanes)} {is_nan}, {type_} {number(self.nan)}, {type_} {bits}")
            sign = code.let(f"ashr {type_} {bits}, {number(self.bits - 1)}")
            turned = code.let(f"or {type_} {sign}, {number(self._top)}")
            bits = code.let(f"xor {type_} {bits}, {turned}")
        elif self.dtype.is_integer and not self.dtype.is_unsigned:
            bits = code.let(f"xor {type_} {bits}, {number(self._top)}")
        return code.let(f"xor {type_} {bits}, {number(-1)}") if self.descending else bits

    @property
    def zero_key(self) -> int:
        """The key of both zeros."""
        return self.nan if self.descending else self._top

    @property
    def nan_key(self) -> int:
        """The key of all NaN."""
        return 0 if self.descending else -1

    def is_special(self, code: Code, bits: str, lanes: int) -> str:
        """Whether these are the bits of −0 or NaN, which are not those that their keys say."""
        type_ = vector_of(self.type, lanes)

        def number(n: int) -> str:
            return str(n) if lanes == 1 else f"splat ({self.type} {n})"

        zero = code.let(f"icmp eq {type_} {bits}, {number(self._top)}")
        size = code.let(f"and {type_} {bits}, {number(self.nan)}")
        is_nan = code.let(f"icmp ugt {type_} {size}, {number(self.infinity)}")
        return code.let(f"or {_mask(lanes)} {zero}, {is_nan}")

    def value(self, code: Code, key: str, load: Callable[[], str] | None) -> str:
        """The bits of the element that has this key. Where several have it, as both zeros do, `load` finds them;
        without it they are those of 0, and of one NaN."""
        type_ = self.type
        key = code.let(f"xor {type_} {key}, -1") if self.descending else key
        if not self.dtype.is_float:
            signed = self.dtype.is_integer and not self.dtype.is_unsigned
            return code.let(f"xor {type_} {key}, {self._top}") if signed else key

        def undone() -> str:
            negative = code.let(f"xor {type_} {code.let(f'ashr {type_} {key}, {self.bits - 1}')}, -1")
            return code.let(f"xor {type_} {key}, {code.let(f'or {type_} {negative}, {self._top}')}")

        if load is None:
            return undone()
        is_zero = code.let(f"icmp eq {type_} {key}, {self._top}")
        is_nan = code.let(f"icmp eq {type_} {key}, -1")
        return code.either(code.let(f"or i1 {is_zero}, {is_nan}"), type_, load, undone)


def _mask(lanes: int) -> str:
    return vector_of("i1", lanes)
