"""Where in a kernel's iteration space code is, and index arithmetic there: positions, bounds, gathered indices.

A `Point` knows positions on axes and remembers the scalars computed there; a `Chunk` is one vector's worth of the
vector axis inside a frame. Each value is computed in the outermost frame that knows its axes, so loop-invariant
code is hoisted by construction. Knows nothing of memory, loop orders, sweeps or tiles.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache, reduce
from typing import TypeAlias

from graphc.index import Axis, Bound, Floor, Gathered, Index, Mod, Term
from graphc.kernel import Kernel
from graphc.types import bool_, int32, int64

from ..emit.memory import Memory, first_lanes
from ..emit.primitives import Emitter
from ..emit.text import Code
from ..target import Target

Integer: TypeAlias = str | int  # of type i64; a number where it is known while generating
Terms: TypeAlias = tuple[tuple[Term, int], ...]
Key: TypeAlias = int | tuple[object, ...]


class Point:
    """A place in the code: positions on some axes, and what has been computed there.

    Whoever opens a block that does not dominate what follows it (a loop, a branch) makes a new frame for it.
    """

    __slots__ = ("axes", "known", "parent")

    def __init__(self, parent: Point | None = None, axes: Mapping[Axis, Integer] | None = None) -> None:
        self.parent = parent
        self.axes: dict[Axis, Integer] = {**(parent.axes if parent else {}), **(axes or {})}
        self.known: dict[Key, Integer] = {}

    def find(self, key: Key) -> Integer | None:
        """What was computed under `key` here or further out."""
        frame: Point | None = self
        while frame is not None:
            if key in frame.known:
                return frame.known[key]
            frame = frame.parent
        return None

    def knows(self, term: Term) -> bool:
        return axes_of(term) <= self.axes.keys()


class Chunk:
    """One vector along the vector axis: lane l is at position start + offset + l, for l < count.

    `frame` holds what does not vary along the axis. `parent` is a chunk of the same lanes further out.
    """

    __slots__ = ("count", "frame", "known", "offset", "parent", "start")

    def __init__(
        self, frame: Point, start: Integer, offset: int, count: int, parent: Chunk | None = None
    ) -> None:
        self.frame = frame
        self.start = start
        self.offset = offset
        self.count = count
        self.parent = parent
        self.known: dict[Key, str] = {}

    def inside(self, frame: Point) -> Chunk:
        """The same lanes, deeper in."""
        return Chunk(frame, self.start, self.offset, self.count, self)

    def find(self, key: Key) -> str | None:
        chunk: Chunk | None = self
        while chunk is not None:
            if key in chunk.known:
                return chunk.known[key]
            chunk = chunk.parent
        return None


class Places(ABC):
    """Index arithmetic of one kernel in one function.

    The function has the parameters %task and %context, which a bad index is reported with. With one lane there are
    no vectors: a chunk's frame then knows the position on the vector axis.
    """

    def __init__(self, kernel: Kernel, axis: Axis | None, lanes: int, code: Code, target: Target) -> None:
        self.kernel = kernel
        self.axis = axis
        self.lanes = lanes if axis is not None else 1
        self.code = code
        self.target = target
        self.scalars = Emitter(code, target, 1)
        self.vectors = Emitter(code, target, self.lanes)
        self.memory = Memory(code, self.lanes)
        self.reports = False  # whether the module must define @report

    @abstractmethod
    def scalar(self, frame: Point, number: int) -> str:
        """A value that does not differ between lanes."""

    @abstractmethod
    def vector(self, chunk: Chunk, number: int) -> str:
        """A value in all lanes."""

    def chunk(self, frame: Point, start: Integer, offset: int, count: int) -> Chunk:
        """The vector at start + offset, of which `count` lanes are valid."""
        if self.lanes == 1 and self.axis is not None:
            frame = Point(frame, {self.axis: self.code.add(start, offset)})
        return Chunk(frame, start, offset, count)

    # ---- the same in all lanes -------------------------------------------------------------------------------

    def index(self, frame: Point, index: Index, bounds: tuple[Bound, ...] = ()) -> Integer:
        """The value of an index. Gathered terms are checked where `bounds` hold."""
        total = self._sum(frame, frame, plain_terms(index))
        for term, factor in index.terms:
            if not _is_plain(term):
                total = self.code.add(total, self.code.multiply(self._term(frame, term, bounds), factor))
        return self.code.add(total, index.constant)

    def prepare_index(self, frame: Point, index: Index, bounds: tuple[Bound, ...] = ()) -> None:
        """Compute here what of an index is known here. Terms along the lanes are left out."""
        self._sum(frame, frame, tuple(t for t in plain_terms(index) if frame.knows(t[0])))
        for term in index.gathered():
            if (
                not self.runs_along(term)
                and frame.knows(term)
                and all(b.index.axes <= frame.axes.keys() for b in bounds)
            ):
                self._gathered(frame, term, bounds)

    def _sum(self, home: Point, level: Point, terms: Terms) -> Integer:
        """The sum of terms, computed at `home`. Each frame on the way out adds the terms that only it knows, so
        that inner ones find the sums of outer ones."""
        if not terms:
            return 0
        key = ("sum", terms)
        found = home.find(key)
        if found is not None:
            return found
        while level.parent is not None and all(level.parent.knows(t) for t, _ in terms):
            level = level.parent
        outer = level.parent
        rest = () if outer is None else tuple(t for t in terms if outer.knows(t[0]))
        total = self._sum(home, outer, rest) if outer is not None else 0
        for term, factor in terms:
            if (term, factor) not in rest:
                total = self.code.add(total, self.code.multiply(self._term(home, term, ()), factor))
        home.known[key] = total
        return total

    def _term(self, frame: Point, term: Term, bounds: tuple[Bound, ...]) -> Integer:
        if isinstance(term, Axis):
            return frame.axes[term]
        if isinstance(term, Gathered):
            return self._gathered(frame, term, bounds)
        key = ("term", term, bounds)
        found = frame.find(key)
        if found is None:
            found = frame.known[key] = self._divide(self.index(frame, term.index, bounds), term, 1, 64)
        return found

    def _divide(self, x: Integer, term: Floor | Mod, lanes: int, bits: int) -> Integer:
        """x // divisor or x % divisor, rounding down."""
        code, k, is_floor = self.code, term.divisor, isinstance(term, Floor)
        if isinstance(x, int):
            return x // k if is_floor else x % k
        t, mask = (f"i{bits}", "i1") if lanes == 1 else (f"<{lanes} x i{bits}>", f"<{lanes} x i1>")
        divisor, zero = integer(k, bits, lanes), integer(0, bits, lanes)
        if term.index.range()[0] >= 0:
            return code.let(f"{'udiv' if is_floor else 'urem'} {t} {x}, {divisor}")
        remainder = code.let(f"srem {t} {x}, {divisor}")
        negative = code.let(f"icmp slt {t} {remainder}, {zero}")
        modulus = code.let(
            f"add {t} {remainder}, {code.let(f'select {mask} {negative}, {t} {divisor}, {t} {zero}')}"
        )
        if not is_floor:
            return modulus
        return code.let(f"sdiv exact {t} {code.let(f'sub {t} {x}, {modulus}')}, {divisor}")

    def _gathered(self, frame: Point, term: Gathered, bounds: tuple[Bound, ...]) -> Integer:
        """A gathered index, checked: one outside is reported where `bounds` hold, and counts as 0."""
        key = ("gathered", term, bounds)
        found = frame.find(key)
        if found is None:
            value, bad, found = self._judged(frame, term)
            where = self.holds(frame, bounds)
            with self.code.when(bad if where is None else self.code.let(f"and i1 {bad}, {where}")):
                self._report(value)
            frame.known[key] = found
        return found

    def _judged(self, frame: Point, term: Gathered) -> tuple[str, str, str]:
        """A gathered index as it is, whether it is outside, and 0 in place of one that is."""
        value = self.scalars.cast(self.scalar(frame, term.value), self.kernel.dtypes[term.value], int64)
        bad = self.code.let(f"icmp uge i64 {value}, {term.size}")
        return value, bad, self.code.let(f"select i1 {bad}, i64 0, i64 {value}")

    def _check_in(self, chunk: Chunk, index: Index, bounds: tuple[Bound, ...]) -> None:
        """Check the gathered indices that are the same in all lanes, where `bounds` differ between lanes."""
        if not any(self.axis in b.index.axes for b in bounds):
            return
        for term in index.gathered():
            if not self.runs_along(term) and chunk.find(("checked", term, bounds)) is None:
                value, bad, safe = self._judged(chunk.frame, term)
                some = self._any(self._in_bounds(chunk, bounds))
                with self.code.when(self.code.let(f"and i1 {bad}, {some}")):
                    self._report(value)
                chunk.known["checked", term, bounds] = safe
                chunk.frame.known["gathered", term, bounds] = safe

    def _in_bounds(self, chunk: Chunk, bounds: tuple[Bound, ...]) -> str:
        """The valid lanes in which bounds hold."""
        mask = self.memory.both(self.mask(chunk, bounds), first_lanes(chunk.count, self.lanes))
        assert mask is not None
        return mask

    def _any(self, mask: str) -> str:
        word = f"i{self.lanes}"
        bits = self.code.let(f"bitcast {self.memory.mask_type} {mask} to {word}")
        return self.code.let(f"icmp ne {word} {bits}, 0")

    def _report(self, value: str) -> None:
        self.reports = True
        self.code.do(f"call void @report(ptr %context, i64 %task, i64 {value})")

    def holds(self, frame: Point, bounds: tuple[Bound, ...]) -> str | None:
        """Whether all bounds hold, as i1; None if they always do."""
        tests = []
        for bound in bounds:
            if bound.always:
                continue
            key = ("holds", bound)
            found = frame.find(key)
            if found is None:
                moved = self.code.add(self.index(frame, bound.index), -bound.low)
                found = frame.known[key] = self.code.let(
                    f"icmp ult i64 {moved}, {max(bound.high - bound.low, 0)}"
                )
            tests.append(str(found))
        return reduce(lambda a, b: self.code.let(f"and i1 {a}, {b}"), tests) if tests else None

    # ---- different in each lane ------------------------------------------------------------------------------

    def runs_along(self, term: Term) -> bool:
        """Whether a term differs between lanes."""
        return self.lanes > 1 and self.axis in axes_of(term)

    def stride(self, index: Index) -> int | None:
        """How far apart the positions of neighbouring lanes are, or None where that differs."""
        assert self.axis is not None
        return index.coefficient(self.axis) if index.is_linear_in(self.axis) else None

    def first(self, chunk: Chunk, index: Index, bounds: tuple[Bound, ...] = ()) -> tuple[Integer, int]:
        """The position of lane 0 for an index with a stride, in two parts: a register and a number."""
        assert self.axis is not None
        self._check_in(chunk, index, bounds)
        stride = index.coefficient(self.axis)
        rest = index.without(self.axis)
        key = ("first", rest.terms, stride, chunk.start, bounds)
        found = chunk.frame.find(key)
        if found is None:
            base = self.index(chunk.frame, Index(rest.terms), bounds)
            moved = 0 if isinstance(chunk.start, int) else self.code.multiply(chunk.start, stride)
            found = chunk.frame.known[key] = self.code.add(base, moved)
        fixed = chunk.offset + (chunk.start if isinstance(chunk.start, int) else 0)
        return found, stride * fixed + rest.constant

    def mask(self, chunk: Chunk, bounds: tuple[Bound, ...]) -> str | None:
        """In which lanes all bounds hold; None if in all of them, always."""
        varying = [b for b in bounds if not b.always and self.axis in b.index.axes]
        uniform = self.holds(chunk.frame, tuple(b for b in bounds if b not in varying))
        result = None if uniform is None else self.vectors.splat(uniform, bool_)
        for bound in varying:
            key = ("mask", bound)
            found = chunk.find(key)
            if found is None:
                moved = bound.index - bound.low
                width = _bits_for(moved, bound.high - bound.low)
                at = self.lane_indices(chunk, moved, width)
                size = integer(max(bound.high - bound.low, 0), width, self.lanes)
                found = chunk.known[key] = self.code.let(f"icmp ult <{self.lanes} x i{width}> {at}, {size}")
            result = self.memory.both(result, found)
        return result

    def lane_indices(self, chunk: Chunk, index: Index, bits: int, bounds: tuple[Bound, ...] = ()) -> str:
        """The value of an index in each lane, as integers of `bits`; computed in 32 bits where those suffice."""
        width = _bits_for(index)
        if width < bits:
            narrow = self.lane_indices(chunk, index, width, bounds)
            return self.code.let(f"sext <{self.lanes} x i{width}> {narrow} to <{self.lanes} x i{bits}>")
        self._check_in(chunk, index, bounds)
        t = f"<{self.lanes} x i{bits}>"
        along = [x for x in index.terms if self.runs_along(x[0])]
        rest = Index((x for x in index.terms if x not in along), index.constant)
        total = self._splat(self.index(chunk.frame, rest, bounds), bits)
        for term, factor in along:
            part = self._lane_term(chunk, term, bits, bounds)
            if factor != 1:
                part = self.code.let(f"mul {t} {part}, {integer(factor, bits, self.lanes)}")
            total = part if total is None else self.code.let(f"add {t} {total}, {part}")
        return integer(0, bits, self.lanes) if total is None else total

    def _splat(self, x: Integer, bits: int) -> str | None:
        """A position in all lanes; None for 0, which need not be added."""
        if isinstance(x, int):
            return integer(x, bits, self.lanes) if x else None
        if bits == 32:
            x = self.code.let(f"trunc i64 {x} to i32")
        return self.vectors.splat(x, int32 if bits == 32 else int64)

    def _lane_term(self, chunk: Chunk, term: Term, bits: int, bounds: tuple[Bound, ...]) -> str:
        t = f"<{self.lanes} x i{bits}>"
        match term:
            case Axis():
                iota = f"<{', '.join(f'i{bits} {lane + chunk.offset}' for lane in range(self.lanes))}>"
                start = self._splat(chunk.start, bits)
                return iota if start is None else self.code.let(f"add {t} {start}, {iota}")
            case Floor(index=inner) | Mod(index=inner):
                return str(
                    self._divide(self.lane_indices(chunk, inner, bits, bounds), term, self.lanes, bits)
                )
            case Gathered():
                wide = self._lane_gathered(chunk, term, bounds)
                return wide if bits == 64 else self.code.let(f"trunc <{self.lanes} x i64> {wide} to {t}")

    def _lane_gathered(self, chunk: Chunk, term: Gathered, bounds: tuple[Bound, ...]) -> str:
        """Gathered indices in the lanes, checked like `_gathered`."""
        key = ("gathered", term, bounds)
        found = chunk.find(key)
        if found is not None:
            return found
        code, t, m = self.code, f"<{self.lanes} x i64>", self.memory.mask_type
        value = self.vectors.cast(self.vector(chunk, term.value), self.kernel.dtypes[term.value], int64)
        bad = code.let(f"icmp uge {t} {value}, {integer(term.size, 64, self.lanes)}")
        wrong = code.let(f"and {m} {bad}, {self._in_bounds(chunk, bounds)}")
        with code.when(self._any(wrong)):
            word = f"i{self.lanes}"
            bits = code.let(f"bitcast {m} {wrong} to {word}")
            lane = code.call(word, f"llvm.cttz.{word}", (word, bits), ("i1", "true"))
            self._report(code.let(f"extractelement {t} {value}, {word} {lane}"))
        found = chunk.known[key] = code.let(f"select {m} {bad}, {t} zeroinitializer, {t} {value}")
        return found


def integer(value: int, bits: int, lanes: int) -> str:
    """A constant integer operand."""
    return str(value) if lanes == 1 else f"splat (i{bits} {value})"


def plain_terms(index: Index) -> Terms:
    """The terms that hold no gathered values: they can be computed anywhere, and nothing can be wrong with them."""
    return tuple(t for t in index.terms if _is_plain(t[0]))


def _is_plain(term: Term) -> bool:
    if isinstance(term, Floor | Mod):
        return not any(True for _ in term.index.gathered())
    return isinstance(term, Axis)


@lru_cache(maxsize=4096)
def axes_of(term: Term) -> frozenset[Axis]:
    """The axes that a term varies over."""
    return Index(((term, 1),)).axes


def _bits_for(index: Index, limit: int = 0) -> int:
    """32 where no step of computing `index`, and not `limit` either, leaves 32 bits; else 64."""
    return 32 if max(_magnitude(index), limit) < 1 << 31 else 64


def _magnitude(index: Index) -> int:
    """A bound of every intermediate result."""
    total = abs(index.constant)
    for term, factor in index.terms:
        inside = _magnitude(term.index) if isinstance(term, Floor | Mod) else 0
        total += max(inside, abs(factor) * max(map(abs, term.range())), abs(factor))
    return total
