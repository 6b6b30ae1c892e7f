"""LLVM IR as text: instructions, blocks and loops of one function.

Knows the grammar of LLVM and the names of types, nothing of kernels. Text is emitted rather than built through
llvmlite's builder, which costs twenty times more.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeAlias

from graphc.dataclass import dataclass, field
from graphc.scalar import from_bits
from graphc.types import DType


def memory_type(dtype: DType) -> str:
    """The LLVM type of one element in memory; a bool is a byte."""
    return "i8" if dtype.is_bool else register_type(dtype, 1)


def register_type(dtype: DType, lanes: int) -> str:
    """The LLVM type of a value in registers: a scalar, or a vector of `lanes`. A bool is a bit of a mask, and a 16-bit
    float is its bits: nothing computes with it, and LLVM would call libraries to move it about."""
    scalar = {"float32": "float", "float64": "double"}.get(dtype.name, f"i{dtype.bits}")
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def vector_of(scalar: str, lanes: int) -> str:
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def constant(bits: int, dtype: DType, lanes: int) -> str:
    """A constant operand. LLVM writes floats as the hexadecimal bits of the equal double."""
    if dtype.is_float and dtype.bits >= 32:
        double = struct.unpack("<Q", struct.pack("<d", float(from_bits(bits, dtype))))[0]
        text = f"0x{double:016X}"
    elif dtype.is_bool:
        text = "true" if bits else "false"
    else:
        text = str(bits if dtype.is_float else from_bits(bits, dtype))
    return text if lanes == 1 else f"splat ({register_type(dtype, 1)} {text})"


def is_constant(operand: str) -> bool:
    return not operand.startswith("%")


def suffix(type_: str) -> str:
    """How a type is written in the name of an overloaded intrinsic: <8 x float> is v8f32."""
    if type_.startswith("<"):
        count, _, element = type_[1:-1].partition(" x ")
        return f"v{count}{suffix(element)}"
    return {"half": "f16", "bfloat": "bf16", "float": "f32", "double": "f64", "ptr": "p0"}.get(type_, type_)


Number: TypeAlias = str | int  # an i64 operand: its name, or a number that is known


@dataclass
class Loop:
    """A loop that is being written. Inside, read `index` and `carried` and set `next`; after it, read `results`."""

    index: Number
    carried: list[str]
    next: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)


@dataclass
class Cycle:
    """A loop without an end of its own that is being written. Inside, read `carried`, set `next`, and leave it. After
    it, `carried` is what it was in the round that was left."""

    carried: list[str]
    end: str
    next: list[str] = field(default_factory=list)


class Code:
    """The body of one function, and the declarations it needs."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.allocas: list[str] = []
        self.declarations: set[str] = set()  # of what it calls; functions of our own are defined there
        self.notes: set[str] = set()  # slow paths taken, for the report
        self._values = 0
        self._labels = 0
        self.block = "entry"

    def name(self, stem: str = "v") -> str:
        self._values += 1
        return f"%{stem}{self._values}"

    def label(self, stem: str = "block") -> str:
        self._labels += 1
        return f"{stem}{self._labels}"

    def let(self, text: str) -> str:
        """An instruction with a result; its name."""
        name = self.name()
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        self.lines.append("  " + text)

    def start(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def alloca(self, type_: str, count: int, align: int = 64) -> str:
        """Stack memory, reserved once on entry."""
        name = self.name("stack")
        self.allocas.append(f"  {name} = alloca {type_}, i64 {count}, align {align}")
        return name

    def call(self, result: str, function: str, *arguments: tuple[str, str], flags: str = "") -> str:
        """Call a function by its name, declaring it. `arguments` are (type, operand). Returns '' for void."""
        types = ", ".join(t for t, _ in arguments)
        self.declarations.add(f"declare {result} @{function}({types})")
        listed = ", ".join(f"{t} {v}" for t, v in arguments)
        text = f"call {flags + ' ' if flags else ''}{result} @{function}({listed})"
        if result == "void":
            self.do(text)
            return ""
        return self.let(text)

    def define(self, signature: str, body: Code) -> None:
        """A function of our own, apart from the loops that call it. It goes into the same module, once."""
        self.declarations |= body.declarations
        self.declarations.add(body.function(signature, "noinline cold #0"))

    def intrinsic(self, name: str, result: str, *arguments: tuple[str, str], flags: str = "") -> str:
        """Call an intrinsic that is overloaded on its result type."""
        return self.call(result, f"llvm.{name}.{suffix(result)}", *arguments, flags=flags)

    def add(self, a: str | int, b: str | int) -> str | int:
        """Sum of i64 operands; folded where both are known."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0:
            return b
        if b == 0:
            return a
        return self.let(f"add nsw i64 {a}, {b}")

    def subtract(self, a: str | int, b: str | int) -> str | int:
        """Difference of i64 operands."""
        if isinstance(b, int):
            return self.add(a, -b)
        return self.let(f"sub nsw i64 {a}, {b}")

    def multiply(self, a: str | int, b: int) -> str | int:
        """Product of an i64 operand and a number."""
        if isinstance(a, int):
            return a * b
        return a if b == 1 else 0 if b == 0 else self.let(f"mul nsw i64 {a}, {b}")

    def minimum(self, a: str | int, b: str | int) -> str | int:
        """The smaller of two i64 operands, signed."""
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return self.call("i64", "llvm.smin.i64", ("i64", str(a)), ("i64", str(b)))

    def maximum(self, a: str | int, b: str | int) -> str | int:
        """The larger of two i64 operands, signed."""
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        return self.call("i64", "llvm.smax.i64", ("i64", str(a)), ("i64", str(b)))

    def divide(self, x: str | int, by: int) -> tuple[str | int, str | int]:
        """Quotient and remainder of an i64 operand that is not negative."""
        if isinstance(x, int):
            return divmod(x, by)
        if by == 1:
            return x, 0
        quotient = self.let(f"udiv i64 {x}, {by}")
        return quotient, self.let(f"sub nuw nsw i64 {x}, {self.multiply(quotient, by)}")

    def element(self, pointer: str, type_: str, index: str | int) -> str:
        """The address of an element."""
        return pointer if index == 0 else self.let(f"getelementptr {type_}, ptr {pointer}, i64 {index}")

    @contextmanager
    def loop(
        self, start: str | int, stop: str | int, step: str | int = 1, carried: Sequence[tuple[str, str]] = ()
    ) -> Iterator[Loop]:
        """A counted loop that runs at least once (the caller sees to it); where it is known to run once, none is made.
        `carried` are (type, first value)."""
        if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int) and stop - start <= step:
            once = Loop(start, [first for _, first in carried])
            yield once
            once.results = list(once.next)
            return
        before, head = self.block, self.label("loop")
        self.do(f"br label %{head}")
        self.start(head)
        loop = Loop(self.name("i"), [self.name("c") for _ in carried])
        place = len(self.lines)
        self.lines.extend([""] * (1 + len(carried)))
        yield loop
        following = self.let(f"add nuw nsw i64 {loop.index}, {step}")
        again = self.let(f"icmp slt i64 {following}, {stop}")
        last, end = self.block, self.label("end")
        self.do(f"br i1 {again}, label %{head}, label %{end}")
        self.lines[place] = f"  {loop.index} = phi i64 [ {start}, %{before} ], [ {following}, %{last} ]"
        for k, ((type_, first), name) in enumerate(zip(carried, loop.carried, strict=True)):
            self.lines[place + 1 + k] = (
                f"  {name} = phi {type_} [ {first}, %{before} ], [ {loop.next[k]}, %{last} ]"
            )
        self.start(end)
        loop.results = list(loop.next)

    @contextmanager
    def cycle(self, *carried: tuple[str, str]) -> Iterator[Cycle]:
        """A loop that ends where `leave` says so, or when the function returns. `carried` are (type, first value)."""
        before, head, end = self.block, self.label("cycle"), self.label("end")
        self.do(f"br label %{head}")
        self.start(head)
        cycle = Cycle([self.name("c") for _ in carried], end)
        place = len(self.lines)
        self.lines.extend([""] * len(carried))
        yield cycle
        last = self.block
        self.do(f"br label %{head}")
        for k, ((type_, first), name) in enumerate(zip(carried, cycle.carried, strict=True)):
            self.lines[place + k] = f"  {name} = phi {type_} [ {first}, %{before} ], [ {cycle.next[k]}, %{last} ]"
        self.start(end)

    def leave(self, cycle: Cycle, condition: str) -> None:
        """End the loop here if `condition` (i1) holds."""
        go_on = self.label("go")
        self.do(f"br i1 {condition}, label %{cycle.end}, label %{go_on}")
        self.start(go_on)

    @contextmanager
    def each(self, first: str | int, last: str | int) -> Iterator[str]:
        """The code for each number, an i64, from `first` on and below `last`; there may be none."""
        with self.cycle(("i64", str(first))) as cycle:
            (number,) = cycle.carried
            self.leave(cycle, self.let(f"icmp uge i64 {number}, {last}"))
            yield number
            cycle.next = [self.let(f"add i64 {number}, 1")]

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """A block that is entered where `condition` (i1) holds; no values leave it."""
        then, end = self.label("then"), self.label("end")
        self.do(f"br i1 {condition}, label %{then}, label %{end}")
        self.start(then)
        yield
        if self.block:
            self.do(f"br label %{end}")
        self.start(end)

    def give_back(self, what: str) -> None:
        """Return from the function here, as the last that `when` does: "void", or a type and a value."""
        self.do(f"ret {what}")
        self.block = ""

    def give_back_unless(self, condition: str, what: str) -> None:
        """Return from the function here unless `condition` (i1) holds."""
        go_on, back = self.label("go"), self.label("back")
        self.do(f"br i1 {condition}, label %{go_on}, label %{back}")
        self.start(back)
        self.do(f"ret {what}")
        self.start(go_on)

    def choose(self, condition: str, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
        """One of two blocks; no values leave them."""
        first, second, end = self.label("then"), self.label("else"), self.label("end")
        self.do(f"br i1 {condition}, label %{first}, label %{second}")
        for label, emit in ((first, then), (second, otherwise)):
            self.start(label)
            emit()
            self.do(f"br label %{end}")
        self.start(end)

    def either(
        self, condition: str, type_: str, then: Callable[[], str], otherwise: Callable[[], str]
    ) -> str:
        """A value from one of two blocks; what they emit is not known after them."""
        first, second, end = self.label("then"), self.label("else"), self.label("end")
        self.do(f"br i1 {condition}, label %{first}, label %{second}")
        results = []
        for label, emit in ((first, then), (second, otherwise)):
            self.start(label)
            x = emit()
            results.append(f"[ {x}, %{self.block} ]")
            self.do(f"br label %{end}")
        self.start(end)
        return self.let(f"phi {type_} {', '.join(results)}")

    # Records: ctypes structures that native code and Python share

    def field(self, record: type[ctypes.Structure], pointer: str, name: str) -> str:
        """The address of a record's field."""
        return self.element(pointer, "i8", _field(record, name)[1])

    def get(self, record: type[ctypes.Structure], pointer: str, name: str) -> str:
        """The value of a record's field."""
        type_, offset = _field(record, name)
        return self.let(f"load {type_}, ptr {self.element(pointer, 'i8', offset)}")

    def put(self, record: type[ctypes.Structure], pointer: str, name: str, value: str | int) -> None:
        type_, offset = _field(record, name)
        self.do(f"store {type_} {value}, ptr {self.element(pointer, 'i8', offset)}")

    def row(self, record: type[ctypes.Structure], table: str, number: str) -> str:
        """The address of a record in a table of such."""
        return self.let(f"getelementptr [{ctypes.sizeof(record)} x i8], ptr {table}, i64 {number}")

    def load_atomic(self, type_: str, pointer: str, order: str) -> str:
        return self.let(f"load atomic {type_}, ptr {pointer} {order}, align {_ATOMIC[type_]}")

    def store_atomic(self, type_: str, value: str | int, pointer: str, order: str) -> None:
        self.do(f"store atomic {type_} {value}, ptr {pointer} {order}, align {_ATOMIC[type_]}")

    def change_atomic(self, operation: str, type_: str, pointer: str, by: str | int, order: str) -> str:
        """Add to a word in memory, or whatever operation; what it was before."""
        return self.let(f"atomicrmw {operation} ptr {pointer}, {type_} {by} {order}")

    def exchange_atomic(self, type_: str, pointer: str, old: str | int, new: str | int) -> tuple[str, str]:
        """Put `new` in the place of `old`, if that is there: what was there, and whether it was `old` (i1)."""
        pair = self.let(f"cmpxchg ptr {pointer}, {type_} {old}, {type_} {new} monotonic monotonic")
        found, done = (self.let(f"extractvalue {{ {type_}, i1 }} {pair}, {place}") for place in range(2))
        return found, done

    def function(self, signature: str, attributes: str = "#0") -> str:
        """The finished function; `signature` is everything between `define` and the attributes."""
        body = "\n".join([*self.allocas, *self.lines])
        return f"define {signature} {attributes} {{\nentry:\n{body}\n}}\n"


_ATOMIC = {"i32": 4, "i64": 8, "ptr": 8}  # natural alignment
_FIELDS = {ctypes.c_int32: "i32", ctypes.c_int64: "i64", ctypes.c_void_p: "ptr"}


@lru_cache(maxsize=256)
def _field(record: type[ctypes.Structure], name: str) -> tuple[str, int]:
    """The LLVM type of a record's field, and where it is."""
    kind = next(kind for field_, kind, *_ in record._fields_ if field_ == name)
    return _FIELDS[kind], getattr(record, name).offset


def module(functions: Sequence[str], declarations: set[str], *more: str) -> str:
    """A module of finished functions, and more text that they rely on."""
    attributes = 'attributes #0 = { nounwind "no-trapping-math"="true" }\n'
    return "\n".join([*sorted(declarations), "", *functions, *more, attributes])
