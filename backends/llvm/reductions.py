"""The lowering of reductions: sweeps over a row, one for each level of values.

In: a kernel's values and its plan. Out: the body of a function. The vector axis decides the mode: inside the row
(each lane has a part of it, combined at the end) or outside (each lane has a row of its own).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from graphc.index import Axis, Index
from graphc.kernel import Kernel, Store

from .loops import Span, along, axis_loops, carrying_loops, stepping, unit_loop
from .places import Chunk, Frame, Operand
from .plan import Plan, is_unrolled
from .states import States
from .sweeps import Sweep, needed_in, sweeps_of
from .text import register_type
from .tiles import Tiles
from .values import Values


def emit_reduction(values: Values, plan: Plan) -> None:
    """The whole function."""
    mode = (
        Rows(values, plan) if plan.axis in values.kernel.row or plan.axis is None else Columns(values, plan)
    )
    first = mode.numbers(mode.sweeps[0])
    with unit_loop(values, plan) as unit:
        for store in values.kernel.stores:
            if store.accumulate:
                clear(values, plan, unit.frame, unit.span, store)
        stores = [s for s in values.kernel.stores if not s.accumulate]
        with axis_loops(values, unit.frame, plan.inner, first, stores) as frame:
            mode.emit(frame, unit.span)


def clear(values: Values, plan: Plan, frame: Frame, span: Span, store: Store) -> None:
    """Store zeros wherever this unit will add up an accumulating store."""
    axes = [a for a in (*plan.inner, *values.kernel.row) if a in store.index.axes and a != plan.axis]

    def body(here: Frame, parts: list[Chunk], carried: list[str]) -> list[str]:
        for chunk in parts:
            values.clear(chunk, store)
        return carried

    with axis_loops(values, frame, axes, (), (store,)) as here:
        if plan.axis in store.index.axes:
            along(values, plan, here, span, body)
        else:
            values.clear(Chunk(here, 0, 0, 1), store)


@dataclass
class Mode:
    """What both modes share."""

    values: Values
    plan: Plan

    @property
    def kernel(self) -> Kernel:
        return self.values.kernel

    @cached_property
    def sweeps(self) -> tuple[Sweep, ...]:
        return sweeps_of(self.kernel)

    def kept_before(self, level: int) -> list[int]:
        """The values that row buffers hold when the sweep of a level begins."""
        return [n for n, first in self.plan.kept if first < level]

    def numbers(self, sweep: Sweep) -> tuple[int, ...]:
        """The values that a sweep needs, those known from earlier ones among them."""
        return needed_in(self.kernel, sweep, self.kept_before(sweep.level))

    def emit(self, frame: Frame, span: Span) -> None:
        raise NotImplementedError


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

    def emit(self, frame: Frame, span: Span) -> None:
        for sweep in self.sweeps:
            numbers = self.numbers(sweep)
            if sweep.level:
                self.values.prepare(frame, numbers, sweep.stores)
            for store in sweep.outer_stores:
                self.values.store_scalar(frame, store)
            if sweep.passes:
                self._pass(frame, sweep, numbers)

    def _pass(self, frame: Frame, sweep: Sweep, numbers: Sequence[int]) -> None:
        """One pass over the row; the reductions of the sweep are known in `frame` afterwards."""
        values, states = self.values, States(self.values, sweep.reduces, self.plan.unroll)
        carried = states.initial()
        types = [t for t, _ in carried]
        recalled = [n for n in self.kept_before(sweep.level) if n in numbers]
        keeping = [n for n, first in self.plan.kept if first == sweep.level]

        def body(here: Frame, parts: list[Chunk], state: list[str]) -> list[str]:
            state = list(state)
            for copy, chunk in enumerate(parts):
                for number in recalled:
                    chunk.known[number] = self._recall(chunk, number)
                states.combine(state, chunk, copy)
                values.store_all(chunk, sweep.row_stores)
                for number in keeping:
                    self._keep(chunk, number)
            return state

        def inner(here: Frame, state: list[str]) -> list[str]:
            return along(values, self.plan, here, Span(), body, list(zip(types, state, strict=True)))

        result = carrying_loops(values, frame, self.around, numbers, carried, inner)
        ends = [states.across(g, s) for g, s in zip(states.groups, states.merged(result), strict=True)]
        for number, x in states.finished(ends, values.scalars).items():
            frame.known[number] = x

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


class Columns(Mode):
    """The vector axis runs outside the row: every lane reduces its own row, and nothing goes across lanes."""

    def emit(self, frame: Frame, span: Span) -> None:
        along(self.values, self.plan, frame, span, self._body)

    @cached_property
    def tiles(self) -> Tiles | None:
        """Blocks of the innermost row axis. A kernel may have no row, and accumulating stores only."""
        return Tiles(self.values, self.plan.tile or self.kernel.row[-1]) if self.kernel.row else None

    def _body(self, frame: Frame, parts: list[Chunk], carried: list[str]) -> list[str]:
        """All sweeps over the rows of a few vectors side by side."""
        values, rows = self.values, [self._short_row(frame, chunk) for chunk in parts]
        for sweep in self.sweeps:
            numbers = self.numbers(sweep)
            values.prepare(frame, numbers, sweep.stores)
            for chunk in parts:
                values.prepare_chunk(chunk, numbers)
                values.store_all(chunk, sweep.outer_stores)
            if sweep.passes:
                self._pass(frame, parts, rows, sweep, numbers)
        return carried

    def _short_row(self, frame: Frame, chunk: Chunk) -> list[list[Chunk]]:
        """The points of a short row, in blocks of lanes: they last for all sweeps. None of a long one."""
        if self.tiles is None or not is_unrolled(self.kernel):
            return []
        size, lanes = self.tiles.axis.size, self.values.lanes
        every = range(len(self.kernel.values))
        frames = [self.tiles.frames(frame, k, min(lanes, size - k)) for k in range(0, size, lanes)]
        return [self.tiles.points(chunk, block, every) for block in frames]

    def _pass(
        self,
        frame: Frame,
        parts: list[Chunk],
        rows: list[list[list[Chunk]]],
        sweep: Sweep,
        numbers: Sequence[int],
    ) -> None:
        """One pass over the rows; the reductions of the sweep are known in the chunks afterwards."""
        values, tiles, states = self.values, self.tiles, States(self.values, sweep.reduces, len(parts))
        assert tiles is not None
        carried = states.initial()

        def visit(points: list[Chunk], state: list[str], copy: int) -> None:
            for point in points:
                states.combine(state, point, copy, masked=False)
            tiles.store_all(points, sweep.row_stores)

        def inner(here: Frame, state: list[str]) -> list[str]:
            def step(start: Operand, count: int, state: list[str]) -> list[str]:
                state, block = list(state), Frame(here)
                frames = tiles.frames(block, start, count)
                for each in frames:
                    values.prepare(each, numbers, sweep.row_stores)
                for copy, chunk in enumerate(parts):
                    visit(tiles.points(chunk.inside(block), frames, numbers), state, copy)
                return state

            now = [(t, x) for (t, _), x in zip(carried, state, strict=True)]
            return stepping(values, tiles.axis.size, values.lanes if self.plan.tile else 1, Span(), step, now)

        if rows[0]:
            result = [first for _, first in carried]
            for copy, row in enumerate(rows):
                for points in row:
                    visit(points, result, copy)
        else:
            around = [a for a in self.kernel.row if a != tiles.axis]
            result = carrying_loops(values, frame, around, numbers, carried, inner)
        for copy, chunk in enumerate(parts):
            for number, x in states.finished(states.copy_of(result, copy), values.vectors).items():
                self._learn(chunk, number, x)

    def _learn(self, chunk: Chunk, number: int, x: str) -> None:
        """Note a finished reduction, which may be the same in all lanes."""
        if self.values.varies(number):
            chunk.known[number] = x
        else:
            chunk.frame.known["splat", number] = x
            chunk.frame.known[number] = self.values.extract(x, self.kernel.dtypes[number], 0)


def row_vectors(kernel: Kernel, axis: Axis | None, lanes: int) -> int:
    """Vectors that hold one value of every point of the row, each line of the vector axis padded to whole ones."""
    return math.prod(-(-a.size // lanes) if a == axis else a.size for a in kernel.row)
