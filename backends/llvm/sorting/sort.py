"""How rows are sorted: three ways, chosen by shape.

    rank     short rows: each element goes to the place that says how many come before it
    select   the first few of long rows: a scan that compares vectors with the last of the few, and seldom inserts
    radix    else: by digits of their keys, the lowest first; long rows that are few are cut into chunks for threads

In: a `Sort`, the machine, a name. Out: a `NativeKernel`. What keys are is told in `sort_keys`.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.sort import Sort

from ..emit.kernel_code import NativeKernel, NativeTask, finish_function
from ..emit.text import Code, module
from ..target import Target
from .keys import Keys
from .radix import lower_radix

RANKED_BYTES = 512  # of a row's keys, up to which all are compared with all …
RANKED = 128  # … if there are no more, whose numbers fit all keys
FEW = 64  # of the first in order that are kept while a row is scanned


def lower_sort(sort: Sort, target: Target, name: str) -> NativeKernel:
    """Generate the code of a sort; its symbols begin with `name`."""
    keys = Keys(sort.dtype, sort.descending)
    if sort.size <= RANKED and sort.size * keys.bits // 8 <= RANKED_BYTES:
        return _by_rows(sort, name, _Ranked(sort, keys, target).row, f"ranks of {sort.size}", sort.size * 8.0)
    if sort.count <= FEW:
        return _by_rows(sort, name, _Selected(sort, keys, target).row, f"selection of {sort.count}", sort.size * 0.5)
    return lower_radix(sort, keys, name)


def _by_rows(sort: Sort, name: str, row: Callable[[Code, str], None], plan: str, row_ns: float) -> NativeKernel:
    """One function whose work units are rows."""
    code = Code()
    with code.loop("%low", "%high") as loop:
        row(code, str(loop.index))
    used = tuple(range(len(sort.slots)))
    grain = max(1, min(int(20_000 / max(row_ns, 1)), sort.rows // 16))
    task = NativeTask(name, used, sort.rows, grain, cost_ns=row_ns * sort.rows)
    return NativeKernel(
        module([finish_function(name, code, used)], code.declarations), (task,), (), (f"sort by {plan}",)
    )


class Results:
    """Where a sort's results go."""

    def __init__(self, sort: Sort, keys: Keys) -> None:
        self.sort = sort
        self.keys = keys

    def row_of(self, code: Code, row: str) -> str:
        """The address of a row of the input."""
        return code.element("%s0", self.keys.type, code.multiply(row, self.sort.size))

    def store(self, code: Code, row: str, place: str, source: str, index: str) -> None:
        """Element `index` of the row at `source` is the one at `place` in order."""
        sort, type_ = self.sort, self.keys.type
        at = code.add(code.multiply(row, sort.count), place)
        if sort.values:
            value = code.let(f"load {type_}, ptr {code.element(source, type_, index)}")
            code.do(f"store {type_} {value}, ptr {code.element('%s1', type_, at)}")
        if sort.indices:
            slot = f"%s{len(sort.slots) - 1}"
            code.do(f"store i64 {index}, ptr {code.element(slot, 'i64', at)}")


class _Ranked:
    """Rank = how many keys are less, or equal and further in front."""

    def __init__(self, sort: Sort, keys: Keys, target: Target) -> None:
        self.sort, self.keys, self.results = sort, keys, Results(sort, keys)
        self.lanes = max(2, target.vector_bytes * 8 // keys.bits)
        self.chunks = -(-sort.size // self.lanes)

    def row(self, code: Code, row: str) -> None:
        type_, lanes, size = self.keys.type, self.lanes, self.sort.size
        vector = f"<{lanes} x {type_}>"
        source = self.results.row_of(code, row)
        kept = code.alloca(type_, self.chunks * lanes)
        for padding in range(size, self.chunks * lanes):
            code.do(f"store {type_} -1, ptr {code.element(kept, type_, padding)}")
        with code.loop(0, size) as loop:
            key = self.keys.load(code, code.element(source, type_, loop.index))
            code.do(f"store {type_} {key}, ptr {code.element(kept, type_, loop.index)}")
        with code.loop(0, size) as loop:
            key = code.let(f"load {type_}, ptr {code.element(kept, type_, loop.index)}")
            mine, own = self._splat(code, key), str(loop.index)
            if self.keys.bits < 64:
                own = code.let(f"trunc i64 {own} to {type_}")
            index = self._splat(code, own)
            rank: str | int = 0
            for chunk in range(self.chunks):
                at = code.element(kept, type_, chunk * lanes)
                others = code.let(f"load {vector}, ptr {at}, align 16")
                numbers = ", ".join(f"{type_} {chunk * lanes + i}" for i in range(lanes))
                less = code.let(f"icmp ult {vector} {others}, {mine}")
                same = code.let(f"icmp eq {vector} {others}, {mine}")
                front = code.let(f"icmp ult {vector} <{numbers}>, {index}")
                first = code.let(f"and <{lanes} x i1> {same}, {front}")
                counted = code.let(f"or <{lanes} x i1> {less}, {first}")
                bits = code.let(f"bitcast <{lanes} x i1> {counted} to i{lanes}")
                count = code.call(f"i{lanes}", f"llvm.ctpop.i{lanes}", (f"i{lanes}", bits))
                rank = code.add(rank, code.let(f"zext i{lanes} {count} to i64") if lanes < 64 else count)
            place = str(rank)
            if self.sort.count == size:
                self.results.store(code, row, place, source, str(loop.index))
            else:
                with code.when(code.let(f"icmp ult i64 {place}, {self.sort.count}")):
                    self.results.store(code, row, place, source, str(loop.index))

    def _splat(self, code: Code, x: str) -> str:
        return splat(code, x, self.keys.type, self.lanes)


def splat(code: Code, x: str, type_: str, lanes: int) -> str:
    vector = f"<{lanes} x {type_}>"
    one = code.let(f"insertelement {vector} poison, {type_} {x}, i64 0")
    return code.let(f"shufflevector {vector} {one}, {vector} poison, <{lanes} x i32> zeroinitializer")


class _Selected:
    """The first in order so far lie sorted on the stack."""

    def __init__(self, sort: Sort, keys: Keys, target: Target) -> None:
        self.sort, self.keys, self.results = sort, keys, Results(sort, keys)
        self.lanes = max(2, target.vector_bytes * 8 // keys.bits)
        self.at_once = max(1, min(8, 64 // self.lanes))

    def row(self, code: Code, row: str) -> None:
        type_, count, size = self.keys.type, self.sort.count, self.sort.size
        source = self.results.row_of(code, row)
        best, where = code.alloca(type_, count), code.alloca("i64", count)
        kept = code.alloca(type_, self.lanes * self.at_once)

        def consider(index: str, key: str) -> None:
            last = code.let(f"load {type_}, ptr {code.element(best, type_, count - 1)}")
            with code.when(code.let(f"icmp ult {type_} {key}, {last}")):
                self._insert(code, best, where, key, index, str(count - 1))

        with code.loop(0, count) as loop:
            key = self.keys.load(code, code.element(source, type_, loop.index))
            self._insert(code, best, where, key, str(loop.index), str(loop.index))
        step = self.lanes * self.at_once
        whole = count + (size - count) // step * step
        if whole > count:
            with code.loop(count, whole, step) as loop:
                self._block(code, source, str(loop.index), best, kept, consider)
        if whole < size:
            with code.loop(whole, size) as loop:
                consider(str(loop.index), self.keys.load(code, code.element(source, type_, loop.index)))
        with code.loop(0, count) as loop:
            index = code.let(f"load i64, ptr {code.element(where, 'i64', loop.index)}")
            self.results.store(code, row, str(loop.index), source, index)

    def _block(
        self, code: Code, source: str, start: str, best: str, kept: str, consider: Callable[[str, str], None]
    ) -> None:
        """Several vectors, of which one element in many comes before the last of the few."""
        type_, lanes = self.keys.type, self.lanes
        last = code.let(f"load {type_}, ptr {code.element(best, type_, self.sort.count - 1)}")
        limit = splat(code, last, type_, lanes)
        found, vectors = "0", []
        for number in range(self.at_once):
            at = code.element(source, type_, code.add(start, number * lanes))
            vectors.append(self.keys.load(code, at, lanes))
            before = code.let(f"icmp ult <{lanes} x {type_}> {vectors[-1]}, {limit}")
            bits = code.let(f"bitcast <{lanes} x i1> {before} to i{lanes}")
            wide = code.let(f"zext i{lanes} {bits} to i64") if lanes < 64 else bits
            found = code.let(f"or i64 {found}, {code.let(f'shl i64 {wide}, {number * lanes}')}")
        with code.when(code.let(f"icmp ne i64 {found}, 0")):
            for number, vector in enumerate(vectors):
                at = code.element(kept, type_, number * lanes)
                code.do(f"store <{lanes} x {type_}> {vector}, ptr {at}, align {self.keys.bits // 8}")
            with code.cycle(("i64", found)) as cycle:
                (left,) = cycle.carried
                code.leave(cycle, code.let(f"icmp eq i64 {left}, 0"))
                lane = code.call("i64", "llvm.cttz.i64", ("i64", left), ("i1", "true"))
                key = code.let(f"load {type_}, ptr {code.element(kept, type_, lane)}")
                consider(code.let(f"add i64 {start}, {lane}"), key)
                cycle.next = [code.let(f"and i64 {left}, {code.let(f'sub i64 {left}, 1')}")]

    def _insert(self, code: Code, best: str, where: str, key: str, index: str, end: str) -> None:
        """Behind all that are not greater; those behind move on, and the one at `end` is lost."""
        type_ = self.keys.type
        place = code.alloca("i64", 1, 8)
        code.do(f"store i64 {end}, ptr {place}")
        with code.cycle(("i64", end)) as cycle:
            (at,) = cycle.carried
            code.do(f"store i64 {at}, ptr {place}")
            code.leave(cycle, code.let(f"icmp eq i64 {at}, 0"))
            before = code.let(f"sub i64 {at}, 1")
            other = code.let(f"load {type_}, ptr {code.element(best, type_, before)}")
            code.leave(cycle, code.let(f"icmp ule {type_} {other}, {key}"))
            position = code.let(f"load i64, ptr {code.element(where, 'i64', before)}")
            code.do(f"store {type_} {other}, ptr {code.element(best, type_, at)}")
            code.do(f"store i64 {position}, ptr {code.element(where, 'i64', at)}")
            cycle.next = [before]
        here = code.let(f"load i64, ptr {place}")
        code.do(f"store {type_} {key}, ptr {code.element(best, type_, here)}")
        code.do(f"store i64 {index}, ptr {code.element(where, 'i64', here)}")
