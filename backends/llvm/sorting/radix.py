"""Radix sort: rows by the digits of their keys, the lowest digit first, each pass keeping the order of equal digits.

Pairs of key and position move between two scratch places; the last pass writes the results. Many rows: each thread
sorts rows of its own. Few long ones: a row is cut into chunks, for each of which digits are counted, so that it is
known where the elements of each chunk go; what goes where does not depend on threads.
"""

from __future__ import annotations

from enum import Enum
from itertools import pairwise

from graphc.dataclass import dataclass
from graphc.kernel import Slot
from graphc.sort import Sort
from graphc.types import DType, int32, int64, uint8, uint16, uint32, uint64

from ..emit.kernel_code import NativeKernel, NativeTask, finish_function
from ..emit.text import Code, module
from .keys import Keys
from .restore import restore

WORKERS = 16  # parts of many rows; each has scratch memory of its own
CHUNK = 1 << 15  # elements of a long row that are worth a thread
CHUNKS = 16
PASS_NS = 2.0  # for an element
LOOK_NS = 0.2
WORDS: dict[int, DType] = {8: uint8, 16: uint16, 32: uint32, 64: uint64}


class Phase(Enum):
    """A task of a pass, where rows are cut into chunks: count digits, find where each digit goes, move elements;
    and in the end, see `restore.py`."""

    COUNT = "count"
    PLACE = "place"
    MOVE = "move"
    RESTORE = "restore"


PASS = (Phase.COUNT, Phase.PLACE, Phase.MOVE)


@dataclass(frozen=True)
class Digit:
    """Bits of a key: `width` from `shift` on."""

    shift: int
    width: int


def digits_of(bits: int, size: int) -> tuple[Digit, ...]:
    """Few wide digits for long rows, whose elements outweigh the counters."""
    width = 8 if bits <= 16 or size < 1 << 12 else 11
    count = -(-bits // width)
    ends = [bits * i // count for i in range(count + 1)]
    return tuple(Digit(a, b - a) for a, b in pairwise(ends))


def lower_radix(sort: Sort, keys: Keys, name: str) -> NativeKernel:
    """Generate the code; its symbols begin with `name`."""
    chunks = min(CHUNKS, sort.size // CHUNK)
    if sort.rows < WORKERS and chunks > 1:
        return _Radix(sort, keys, name, chunks, sort.rows).in_chunks()
    return _Radix(sort, keys, name, 1, min(WORKERS, sort.rows)).in_rows()


class _Radix:
    """`places`: rows that have scratch memory at a time."""

    def __init__(self, sort: Sort, keys: Keys, name: str, chunks: int, places: int) -> None:
        self.sort, self.keys, self.name = sort, keys, name
        self.chunks, self.places = chunks, places
        self.has_positions = sort.indices
        self.digits = digits_of(keys.bits, sort.size)
        self.counters = max(1 << d.width for d in self.digits)
        self.index = int32 if sort.size < 1 << 31 else int64
        word, whole = WORDS[keys.bits], places * sort.size
        first = len(sort.slots)
        self.pairs = ((first, first + 1), (first + 2, first + 3))
        self.counts = first + 4
        self.scratch = (
            Slot(word, whole, "keys"),
            Slot(self.index, whole if self.has_positions else 1, "positions"),
            Slot(word, whole, "other keys"),
            Slot(self.index, whole if self.has_positions else 1, "other positions"),
            Slot(int64, places * chunks * self.counters, "counts of digits"),
        )
        self.used = tuple(range(first + len(self.scratch)))

    @property
    def _index_type(self) -> str:
        return f"i{self.index.bits}"

    # The three steps of a pass. `row`: of the sort; `place`: of the scratch memory; `counts`: address of the counters.

    def _key(self, code: Code, number: int, row: str, place: str, at: str) -> str:
        """The key of an element in the pass's order."""
        type_ = self.keys.type
        if number == 0:
            return self.keys.load(code, self._source(code, row, at))
        slot = self.pairs[(number - 1) % 2][0]
        return code.let(f"load {type_}, ptr {self._scratch_at(code, slot, place, at, type_)}")

    def _source(self, code: Code, row: str, at: str) -> str:
        return code.element("%s0", self.keys.type, code.add(code.multiply(row, self.sort.size), at))

    def _scratch_at(self, code: Code, slot: int, place: str, at: str, type_: str) -> str:
        return code.element(f"%s{slot}", type_, code.add(code.multiply(place, self.sort.size), at))

    def _counter(self, code: Code, key: str, digit: Digit, counts: str) -> str:
        """The address of a key's counter."""
        type_ = self.keys.type
        shifted = code.let(f"lshr {type_} {key}, {digit.shift}") if digit.shift else key
        wide = shifted if self.keys.bits == 64 else code.let(f"zext {type_} {shifted} to i64")
        return code.element(counts, "i64", code.let(f"and i64 {wide}, {(1 << digit.width) - 1}"))

    def _count(self, code: Code, number: int, row: str, place: str, counts: str, start: str, stop: str) -> None:
        digit = self.digits[number]
        size = 8 << digit.width
        code.call("void", "llvm.memset.p0.i64", ("ptr", counts), ("i8", "0"), ("i64", str(size)), ("i1", "false"))
        with code.loop(start, stop) as loop:
            counter = self._counter(code, self._key(code, number, row, place, str(loop.index)), digit, counts)
            known = code.let(f"load i64, ptr {counter}")
            code.do(f"store i64 {code.let(f'add i64 {known}, 1')}, ptr {counter}")

    def _sum(self, code: Code, number: int, counts: str) -> None:
        """Counts to where the first of each digit goes, in the chunks' order."""
        with code.loop(0, 1 << self.digits[number].width, 1, [("i64", "0")]) as loop:
            (total,) = loop.carried
            for chunk in range(self.chunks):
                at = code.element(counts, "i64", code.add(loop.index, chunk * self.counters))
                count = code.let(f"load i64, ptr {at}")
                code.do(f"store i64 {total}, ptr {at}")
                total = code.let(f"add i64 {total}, {count}")
            loop.next = [total]

    def _move(self, code: Code, number: int, row: str, place: str, counts: str, start: str, stop: str) -> None:
        """Each element to its place after this pass."""
        with code.loop(start, stop) as loop:
            key = self._key(code, number, row, place, str(loop.index))
            position = self._position(code, number, place, str(loop.index))
            counter = self._counter(code, key, self.digits[number], counts)
            to = code.let(f"load i64, ptr {counter}")
            code.do(f"store i64 {code.let(f'add i64 {to}, 1')}, ptr {counter}")
            if number < len(self.digits) - 1:
                keys, positions = self.pairs[number % 2]
                to_keys = self._scratch_at(code, keys, place, to, self.keys.type)
                code.do(f"store {self.keys.type} {key}, ptr {to_keys}")
                if self.has_positions:
                    at = self._scratch_at(code, positions, place, to, self._index_type)
                    code.do(f"store {self._index_type} {position}, ptr {at}")
            elif self.sort.count == self.sort.size:
                self._store(code, row, to, key, position)
            else:
                with code.when(code.let(f"icmp ult i64 {to}, {self.sort.count}")):
                    self._store(code, row, to, key, position)

    def _position(self, code: Code, number: int, place: str, at: str) -> str:
        type_ = self._index_type
        if number == 0 or not self.has_positions:  # then nobody asks
            return at if self.index is int64 else code.let(f"trunc i64 {at} to {type_}")
        slot = self.pairs[(number - 1) % 2][1]
        return code.let(f"load {type_}, ptr {self._scratch_at(code, slot, place, at, type_)}")

    def _store(self, code: Code, row: str, to: str, key: str, position: str) -> None:
        sort, type_ = self.sort, self.keys.type
        wide = position if self.index is int64 else code.let(f"zext {self._index_type} {position} to i64")
        at = code.add(code.multiply(row, sort.count), to)
        if sort.values:

            def found() -> str:
                return code.let(f"load {type_}, ptr {self._source(code, row, wide)}")

            value = self.keys.value(code, key, found if self.has_positions else None)
            code.do(f"store {type_} {value}, ptr {code.element('%s1', type_, at)}")
        if sort.indices:
            code.do(f"store i64 {wide}, ptr {code.element(f'%s{len(sort.slots) - 1}', 'i64', at)}")

    # Tasks

    def in_rows(self) -> NativeKernel:
        """Unit w sorts rows w, w + places, …"""
        code, size = Code(), str(self.sort.size)
        with code.loop("%low", "%high") as unit, code.loop(str(unit.index), self.sort.rows, self.places) as loop:
            place = str(unit.index)
            counts = code.element(f"%s{self.counts}", "i64", code.multiply(place, self.counters))
            for number in range(len(self.digits)):
                self._count(code, number, str(loop.index), place, counts, "0", size)
                self._sum(code, number, counts)
                self._move(code, number, str(loop.index), place, counts, "0", size)
            self._restore(code, str(loop.index))
        cost = 2 * PASS_NS * len(self.digits) * self.sort.rows * self.sort.size
        task = NativeTask(self.name, self.used, self.places, cost_ns=cost)
        text = finish_function(self.name, code, self.used)
        return self._kernel([text], [task], code.declarations, "")

    def in_chunks(self) -> NativeKernel:
        """Counting, summing and moving are tasks of their own; units are the chunks of all rows, or rows."""
        texts, tasks, declarations = [], [], set()
        for number in range(len(self.digits)):
            last = number == len(self.digits) - 1 and self._restores
            for stage in (*PASS, *((Phase.RESTORE,) if last else ())):
                code, symbol = Code(), f"{self.name}_{stage.value}{number}"
                with code.loop("%low", "%high") as loop:
                    self._stage(code, stage, number, str(loop.index))
                units = self.places * (1 if stage in (Phase.PLACE, Phase.RESTORE) else self.chunks)
                cost = self._cost(stage)
                used = self._slots(stage, number)
                texts.append(finish_function(symbol, code, used))
                tasks.append(NativeTask(symbol, used, units, cost_ns=cost))
                declarations |= code.declarations
        return self._kernel(texts, tasks, declarations, f", rows in {self.chunks} chunks")

    def _cost(self, stage: Phase) -> float:
        elements = self.sort.rows * self.sort.size
        if stage is Phase.PLACE:
            return 2.0 * self.places * self.chunks * self.counters
        return LOOK_NS * elements if stage is Phase.RESTORE else PASS_NS * elements

    @property
    def _restores(self) -> bool:
        """Whether keys alone don't say what the values are."""
        return self.sort.dtype.is_float and not self.has_positions

    def _restore(self, code: Code, row: str) -> None:
        if self._restores:
            to = code.element("%s1", self.keys.type, code.multiply(row, self.sort.count))
            restore(code, self.keys, self._source(code, row, "0"), to, self.sort.size, self.sort.count)

    def _slots(self, stage: Phase, number: int) -> tuple[int, ...]:
        """What a stage touches."""
        if stage is Phase.PLACE:
            return (self.counts,)
        if stage is Phase.RESTORE:
            return 0, 1
        last = number == len(self.digits) - 1
        read = self.pairs[(number - 1) % 2] if number else ()
        results = tuple(range(1, len(self.sort.slots)))
        written = () if stage is Phase.COUNT else results if last else self.pairs[number % 2]
        source = (0,) if number == 0 or (last and stage is Phase.MOVE) else ()
        return (*source, *sorted({*read, *written, self.counts}))

    def _stage(self, code: Code, stage: Phase, number: int, unit: str) -> None:
        whole = self.chunks * self.counters
        if stage is Phase.PLACE:
            self._sum(code, number, code.element(f"%s{self.counts}", "i64", code.multiply(unit, whole)))
            return
        if stage is Phase.RESTORE:
            self._restore(code, unit)
            return
        row, chunk = code.divide(unit, self.chunks)
        counts = code.element(f"%s{self.counts}", "i64", code.multiply(unit, self.counters))
        start, stop = (
            str(code.divide(code.multiply(c, self.sort.size), self.chunks)[0]) for c in (chunk, code.add(chunk, 1))
        )
        make = self._count if stage is Phase.COUNT else self._move
        make(code, number, str(row), str(row), counts, start, stop)

    def _kernel(
        self, texts: list[str], tasks: list[NativeTask], declarations: set[str], how: str
    ) -> NativeKernel:
        plan = f"sort by {len(self.digits)} digits{how}"
        return NativeKernel(module(texts, declarations), tuple(tasks), self.scratch, (plan,))
