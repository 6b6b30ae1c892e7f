"""What a unit has summed up becomes the kernel's results: other values of its rows, and the stores.

In: in the unit's memory, the results of reductions, and what outer products have come to. Out: one function for stores
along the rows, and one for each axis of columns, row by row.
"""

from __future__ import annotations

from graphc.index import Axis
from graphc.kernel import Store

from ...kernels.sweeps import needed
from ..emit.memory import Memory
from ..emit.text import memory_type, register_type
from ..nests.places import Chunk, Integer, Point
from ..nests.values import Values
from .parts import Part, Parts
from .scores import held_strips


def write_results(parts: Parts) -> list[Part]:
    """The functions, to be called with the unit's start."""
    plan = parts.plan
    groups: dict[Axis | None, list[Store]] = {}
    for store in plan.kernel.stores:
        groups.setdefault(plan.columns_of(store), []).append(store)
    made = []
    for n, (columns, stores) in enumerate(groups.items()):
        part = Part(parts, f"results{n}", ("i64 %start",), around=False)
        _Results(part, stores).along_rows() if columns is None else _Results(part, stores).along_columns(columns)
        part.finish()
        made.append(part)
    return made


class _Results:
    def __init__(self, part: Part, stores: list[Store]) -> None:
        self.part = part
        self.plan = part.plan
        self.code = part.code
        self.stores = stores
        self.numbers = needed(part.plan.kernel, [s.value for s in stores], part.plan.summed)

    def along_rows(self) -> None:
        for values, chunk, at in held_strips(self.part, "%start"):
            for number in self.plan.reductions:
                dtype = self.plan.kernel.dtypes[number]
                chunk.known[number] = Memory(self.code, self.plan.lanes).load(self._result(number, at), dtype)
            values.prepare(chunk.frame, self.numbers, self.stores)
            values.store_all(chunk, self.stores)

    def _result(self, number: int, at: Integer) -> str:
        base = self.part.layout.address(self.code, ("result", number))
        return self.code.element(base, memory_type(self.plan.kernel.dtypes[number]), at)

    def along_columns(self, columns: Axis) -> None:
        """Row by row, as they lie in memory."""
        code, plan, lanes, size = self.code, self.plan, self.plan.lanes, columns.size
        values = self.part.values(columns, lanes)
        values.prepare(self.part.frame, self.numbers, self.stores)
        valid = code.minimum(code.subtract(str(plan.block.size), "%start"), plan.width)
        with code.loop(0, valid) as row:
            frame = Point(self.part.frame, {plan.block: code.add("%start", row.index)})
            for number in plan.reductions:
                if number in self.numbers:
                    dtype = plan.kernel.dtypes[number]
                    frame.known[number] = Memory(code, 1).load(self._result(number, row.index), dtype)
            values.prepare(frame, self.numbers, self.stores)
            whole = size // lanes * lanes
            if whole:
                with code.loop(0, whole, lanes) as strip:
                    self._store(values, values.chunk(Point(frame), strip.index, 0, lanes), row.index, strip.index)
            if size % lanes:
                self._store(values, values.chunk(Point(frame), whole, 0, size % lanes), row.index, whole)

    def _store(self, values: Values, chunk: Chunk, row: Integer, column: Integer) -> None:
        for outer in self.plan.outers:
            if outer.columns is values.axis:
                chunk.known[outer.number] = self._sums(outer.number, row, column)
        values.store_all(chunk, self.stores)

    def _sums(self, number: int, row: Integer, column: Integer) -> str:
        code, plan = self.code, self.plan
        panel, rest = code.divide(column, plan.sum_tile.columns)
        base = self.part.layout.address(code, ("sums", number))
        at = code.add(code.multiply(panel, plan.width * plan.sum_tile.columns), rest)
        at = code.add(at, code.multiply(row, plan.sum_tile.columns))
        return Memory(code, plan.lanes).load(code.element(base, register_type(plan.dtype, 1), at), plan.dtype)
