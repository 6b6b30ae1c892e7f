"""Elements of memory as lanes of vectors: contiguous, reversed, masked, or picked up one by one.

In: addresses, element types, how many lanes are valid. Out: loads and stores in a `Code`. A bool is a byte in
memory and a bit of a mask in registers; here is where one becomes the other. Knows nothing of kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.types import DType

from .text import Code, memory_type, register_type, suffix, vector_of


class Memory:
    """Loads and stores of `lanes` elements; with one lane, of scalars. Accesses are as aligned as their elements."""

    def __init__(self, code: Code, lanes: int) -> None:
        self.code = code
        self.lanes = lanes

    def load(self, pointer: str, dtype: DType, count: int | None = None, mask: str | None = None) -> str:
        """Neighbouring elements; those from `count` on and those outside `mask` are not touched, and are 0.

        A mask that is no constant wants elements of 4 bytes or more: machines mask no smaller ones.
        """
        type_ = vector_of(memory_type(dtype), self.lanes)
        mask = self._valid(count, mask)
        if mask is None:
            loaded = self.code.let(f"load {type_}, ptr {pointer}, align {dtype.itemsize}")
        else:
            loaded = self.code.call(
                type_, f"llvm.masked.load.{suffix(type_)}.p0",
                ("ptr", f"align {dtype.itemsize} {pointer}"), (self.mask_type, mask), (type_, "zeroinitializer"),
            )  # fmt: skip
        return self._to_register(loaded, dtype)

    def load_each(self, pointers: Sequence[str], dtype: DType) -> str:
        """Elements anywhere, in the first lanes."""
        element = memory_type(dtype)
        result, type_ = "poison", vector_of(element, self.lanes)
        for lane, pointer in enumerate(pointers):
            x = self.code.let(f"load {element}, ptr {pointer}, align {dtype.itemsize}")
            result = self.code.let(f"insertelement {type_} {result}, {element} {x}, i64 {lane}")
        return self._to_register(result, dtype)

    def store(self, pointer: str, x: str, dtype: DType, count: int | None = None) -> None:
        """Store the first `count` lanes to neighbouring elements."""
        if count == 1:  # LLVM 22 makes a wider store of x86's masked one of a truncated vector
            return self.store_each([pointer], x, dtype)
        x = self._to_memory(x, dtype)
        type_ = vector_of(memory_type(dtype), self.lanes)
        mask = self._valid(count, None)
        if mask is None:
            self.code.do(f"store {type_} {x}, ptr {pointer}, align {dtype.itemsize}")
        else:
            self.code.call(
                "void", f"llvm.masked.store.{suffix(type_)}.p0",
                (type_, x), ("ptr", f"align {dtype.itemsize} {pointer}"), (self.mask_type, mask),
            )  # fmt: skip

    def store_each(self, pointers: Sequence[str], x: str, dtype: DType) -> None:
        """Store the first lanes to elements anywhere."""
        x = self._to_memory(x, dtype)
        element = memory_type(dtype)
        for lane, pointer in enumerate(pointers):
            one = self.code.let(f"extractelement {vector_of(element, self.lanes)} {x}, i64 {lane}")
            self.code.do(f"store {element} {one}, ptr {pointer}, align {dtype.itemsize}")

    def reverse(self, x: str, dtype: DType, count: int) -> str:
        """The first `count` lanes in reverse order."""
        type_ = register_type(dtype, self.lanes)
        return self.shuffle(x, x, type_, [count - 1 - i if i < count else i for i in range(self.lanes)])

    def shuffle(self, a: str, b: str, type_: str, order: Sequence[int]) -> str:
        """Lanes picked from two vectors of a type; those of `b` are numbered behind those of `a`."""
        lanes = ", ".join(f"i32 {i}" for i in order)
        return self.code.let(f"shufflevector {type_} {a}, {type_} {b}, <{len(order)} x i32> <{lanes}>")

    @property
    def mask_type(self) -> str:
        return vector_of("i1", self.lanes)

    def both(self, a: str | None, b: str | None) -> str | None:
        """The intersection of two masks, of which None is the full one."""
        if a is None or b is None:
            return b if a is None else a
        return self.code.let(f"and {self.mask_type} {a}, {b}")

    def _valid(self, count: int | None, mask: str | None) -> str | None:
        return (
            mask if count is None or count == self.lanes else self.both(mask, first_lanes(count, self.lanes))
        )

    def _to_register(self, x: str, dtype: DType) -> str:
        if not dtype.is_bool:
            return x
        zero = "0" if self.lanes == 1 else "zeroinitializer"
        return self.code.let(f"icmp ne {vector_of('i8', self.lanes)} {x}, {zero}")

    def _to_memory(self, x: str, dtype: DType) -> str:
        if not dtype.is_bool:
            return x
        return self.code.let(f"zext {register_type(dtype, self.lanes)} {x} to {vector_of('i8', self.lanes)}")


def first_lanes(count: int, lanes: int) -> str:
    """The constant mask of the first `count` lanes."""
    return f"<{', '.join('i1 true' if lane < count else 'i1 false' for lane in range(lanes))}>"
