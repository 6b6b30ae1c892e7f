"""Reductions with the vector axis in the row: each lane has a part of the row, and the lanes are combined at its end.

In: a kernel's values and its plan. Out: the sweeps over one row. Values that are costly and needed again are kept
in a row buffer on the stack.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphc.cached import cached_property
from graphc.index import Axis, Index
from graphc.kernel import Kernel, Load

from ...kernels.sweeps import Sweep
from ..emit.text import register_type
from .loops import Span, along, carrying_loops
from .modes import Mode
from .places import Chunk, Point
from .states import States

LINE = 64  # bytes that memory moves at a time


class Rows(Mode):
    """The vector axis runs in the row. Other row axes are loops around it; values outside the row are scalars."""

    @cached_property
    def around(self) -> tuple[Axis, ...]:
        return tuple(a for a in self.kernel.row if a != self.plan.axis)

    @cached_property
    def buffers(self) -> dict[int, str]:
        """A row's worth of stack memory for each kept value."""
        count = row_vectors(self.kernel, self.plan.axis, self.values.lanes)
        return {n: self.values.code.alloca(self._type(n), count) for n, _ in self.plan.kept}

    def _type(self, number: int) -> str:
        return self.values.vectors.type(self.kernel.dtypes[number])

    def emit(self, frame: Point, span: Span | None) -> None:
        for sweep in self.sweeps:
            numbers = self.numbers(sweep)
            if sweep.level:
                self.values.prepare(frame, numbers, sweep.stores)
            self.values.store_scalars(frame, sweep.outer_stores)
            if sweep.passes:
                self._pass(frame, sweep, numbers)

    def _pass(self, frame: Point, sweep: Sweep, numbers: Sequence[int]) -> None:
        """One pass over the row; the reductions of the sweep are known in `frame` afterwards."""
        values = self.values
        states = States(self.values, sweep.reduces, self.plan.unroll, self.runs(sweep, 1))
        carried = states.initial()
        types = [t for t, _ in carried]
        last = [s for s in self.sweeps if s.passes][-1]
        recalled = [n for n in self.kept_before(sweep.level) if n in numbers]
        keeping = [n for n, first in self.plan.kept if first == sweep.level]

        def body(here: Point, parts: list[Chunk], state: list[str]) -> list[str]:
            state = list(state)
            for copy, chunk in enumerate(parts):
                for number in recalled:
                    chunk.known[number] = self._recall(chunk, number)
                states.run(state, chunk, 0)
                states.combine(state, chunk, copy)
                values.store_all(chunk, sweep.row_stores)
                for number in keeping:
                    self._keep(chunk, number)
                if sweep is last:
                    self._fetch_next(chunk)
            return state

        counts = [*(a.size for a in self.around), self.plan.length // self.plan.step]
        blocks = states.blocks(counts)

        def inner(here: Point, state: list[str]) -> list[str]:
            return along(values, self.plan, here, None, body, list(zip(types, state, strict=True)), blocks)

        result = carrying_loops(values, frame, self.around, self.ahead(sweep), carried, inner, blocks)
        ends = [states.across(g, s) for g, s in zip(states.groups, states.merged(result), strict=True)]
        for number, x in states.finished(ends, values.scalars).items():
            frame.known[number] = x

    def _fetch_next(self, chunk: Chunk) -> None:
        """Ask for the same part of the next row, so that memory is not idle while this one is swept again."""
        for slot, index, distance in self._next_rows:
            size = self.values.lanes * self.kernel.slots[slot].dtype.itemsize
            if chunk.offset * self.kernel.slots[slot].dtype.itemsize % max(size, LINE) == 0:
                at, fixed = self.values.first(chunk, index)
                pointer = self.values.address(slot, at, fixed + distance)
                self.values.code.call(
                    "void", "llvm.prefetch.p0", ("ptr", pointer), ("i32", "0"), ("i32", "3"), ("i32", "1")
                )

    @cached_property
    def _next_rows(self) -> list[tuple[int, Index, int]]:
        """The slot and index of each load that walks along the row, and how far on its next row is."""
        loops = [a for a in (*self.plan.outer, *self.plan.inner) if a.size > 1]
        if self.plan.axis is None or sum(s.passes for s in self.sweeps) < 2 or not loops:
            return []
        found: dict[tuple[int, Index], int] = {}
        for value in self.kernel.values:
            if isinstance(value, Load) and not value.bounds and not any(True for _ in value.index.gathered()):
                distance = value.index.coefficient(loops[-1])
                if self.values.stride(value.index) == 1 and distance:
                    found[value.slot, value.index] = distance
        return [(slot, index, distance) for (slot, index), distance in found.items()]

    def _place(self, chunk: Chunk, number: int) -> str:
        """Where a row buffer keeps a chunk."""
        axis, values = self.plan.axis, self.values
        assert axis is not None
        index, stride = Index.of(axis), -(-axis.size // values.lanes) * values.lanes
        for a in reversed(self.around):
            index, stride = index + Index.of(a) * stride, stride * a.size
        at, fixed = values.first(chunk, index)
        element = register_type(self.kernel.dtypes[number], 1)
        return values.code.element(values.code.element(self.buffers[number], element, at), element, fixed)

    def _recall(self, chunk: Chunk, number: int) -> str:
        return self.values.code.let(f"load {self._type(number)}, ptr {self._place(chunk, number)}")

    def _keep(self, chunk: Chunk, number: int) -> None:
        x, place = self.values.vector(chunk, number), self._place(chunk, number)
        self.values.code.do(f"store {self._type(number)} {x}, ptr {place}")


def row_vectors(kernel: Kernel, axis: Axis | None, lanes: int) -> int:
    """Vectors that hold one value of every point of the row, each line of the vector axis padded to whole ones."""
    return math.prod(-(-a.size // lanes) if a == axis else a.size for a in kernel.row)
