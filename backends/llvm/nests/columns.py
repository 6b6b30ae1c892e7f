"""Reductions with the vector axis outside the row: every lane reduces its own row, and nothing goes across lanes.

In: a kernel's values and its plan. Out: the sweeps over the rows of a unit's vectors. States are held in registers
while a few vectors walk down the rows; or in memory, where many rows of many columns are better read line by line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.cached import cached_property
from graphc.dataclass import dataclass
from graphc.types import DType

from ...kernels.sweeps import Sweep, reductions
from ..emit.text import memory_type
from .blocks import Fold
from .loops import Span, along, carrying_loops, stepping
from .modes import Mode
from .places import Chunk, Integer, Point
from .plan import is_unrolled
from .states import States
from .tiles import Tiles


class Columns(Mode):
    """A few vectors side by side walk down the rows, with states in registers."""

    def emit(self, frame: Point, span: Span | None) -> None:
        along(self.values, self.plan, frame, span, self._body)

    @cached_property
    def tiles(self) -> Tiles | None:
        """Blocks of the innermost row axis. A kernel may have no row, and accumulating stores only."""
        return Tiles(self.values, self.plan.tile or self.kernel.row[-1]) if self.kernel.row else None

    def _body(self, frame: Point, parts: list[Chunk], carried: list[str]) -> list[str]:
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

    def _short_row(self, frame: Point, chunk: Chunk) -> list[list[Chunk]]:
        """The points of a short row, in blocks of lanes: they last for all sweeps. None of a long one."""
        if self.tiles is None or not is_unrolled(self.kernel):
            return []
        size, lanes = self.tiles.axis.size, self.values.lanes
        every = range(len(self.kernel.values))
        frames = [self.tiles.frames(frame, k, min(lanes, size - k)) for k in range(0, size, lanes)]
        return [self.tiles.points(chunk, block, every) for block in frames]

    def _pass(
        self,
        frame: Point,
        parts: list[Chunk],
        rows: list[list[list[Chunk]]],
        sweep: Sweep,
        numbers: Sequence[int],
    ) -> None:
        """One pass over the rows; the reductions of the sweep are known in the chunks afterwards."""
        values, tiles, ahead = self.values, self.tiles, self.ahead(sweep)
        states = States(self.values, sweep.reduces, len(parts), self.runs(sweep, len(parts)))
        assert tiles is not None
        carried, terms = states.initial(), values.lanes if self.plan.tile else 1
        around = [a for a in self.kernel.row if a != tiles.axis]
        blocks = states.blocks([*(a.size for a in around), tiles.axis.size // terms], terms)

        def visit(points: list[Chunk], state: list[str], copy: int) -> None:
            for point in points:
                states.run(state, point, copy)
                states.combine(state, point, copy, masked=False)
            tiles.store_all(points, sweep.row_stores)

        def inner(here: Point, state: list[str]) -> list[str]:
            def step(start: Integer, count: int, state: list[str]) -> list[str]:
                state, block = list(state), Point(here)
                frames = tiles.frames(block, start, count)
                for each in frames:
                    values.prepare(each, ahead, sweep.row_stores)
                for copy, chunk in enumerate(parts):
                    visit(tiles.points(chunk.inside(block), frames, numbers), state, copy)
                return state

            now = [(t, x) for (t, _), x in zip(carried, state, strict=True)]
            return stepping(values, tiles.axis.size, terms, None, step, now, blocks)

        if rows[0]:
            result = [first for _, first in carried]
            for copy, row in enumerate(rows):
                for points in row:
                    visit(points, result, copy)
        else:
            result = carrying_loops(values, frame, around, ahead, carried, inner, blocks)
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


class WideColumns(Mode):
    """The rows are read line by line, a few at a time; the states of a block of columns lie in memory, where the
    lines meet them again and again."""

    @cached_property
    def tiles(self) -> Tiles:
        return Tiles(self.values, self.kernel.row[-1])

    @cached_property
    def _buffers(self) -> dict[object, str]:
        return {}

    def place(self, chunk: Chunk, span: Span | None, key: object, dtype: DType) -> str:
        """Where a block's buffer has a chunk. Buffers are made when first asked for."""
        code, element = self.values.code, memory_type(dtype)
        if key not in self._buffers:
            length = min(self.plan.block, -(-self.plan.length // self.values.lanes) * self.values.lanes)
            self._buffers[key] = code.alloca(element, length)
        at: Integer = chunk.start if span is None else code.subtract(chunk.start, span.start)
        return code.element(self._buffers[key], element, code.add(at, chunk.offset))

    def emit(self, frame: Point, span: Span | None) -> None:
        for sweep in self.sweeps:
            numbers = self.numbers(sweep)
            self.values.prepare(frame, numbers, sweep.stores)
            if sweep.outer_stores:
                self._outside(frame, span, sweep, numbers)
            if sweep.passes:
                self._pass(frame, span, sweep, numbers)

    def _outside(self, frame: Point, span: Span | None, sweep: Sweep, numbers: Sequence[int]) -> None:
        def body(here: Point, parts: list[Chunk], carried: list[str]) -> list[str]:
            for chunk in parts:
                self._recall(chunk, span, numbers)
                self.values.store_all(chunk, sweep.outer_stores)
            return carried

        along(self.values, self.plan, frame, span, body)

    def _recall(self, chunk: Chunk, span: Span | None, numbers: Sequence[int]) -> None:
        """Load the finished reductions that a sweep needs."""
        for number in reductions(self.kernel):
            if number in numbers:
                dtype = self.kernel.dtypes[number]
                chunk.known[number] = self.values.memory.load(self.place(chunk, span, number, dtype), dtype)

    def _pass(self, frame: Point, span: Span | None, sweep: Sweep, numbers: Sequence[int]) -> None:
        values, states = self.values, States(self.values, sweep.reduces, 1)
        around = [a for a in self.kernel.row if a != self.tiles.axis]
        counts = [*(a.size for a in around), self.tiles.axis.size // self.plan.rows_at_once]
        memory = _Lines(self, frame, span, sweep, states)
        blocks = states.blocks(counts, fold=memory)
        rest = blocks.cuts[-1].top if blocks else 0  # the level of lines that come after all blocks

        def lines(outer: Point, carried: list[str]) -> list[str]:
            def step(start: Integer, count: int, carried: list[str]) -> list[str]:
                block, level = Point(outer), 0 if count == self.plan.rows_at_once else rest
                frames = self.tiles.frames(block, start, count)
                for each in frames:
                    values.prepare(each, numbers, sweep.row_stores)

                def body(here: Point, parts: list[Chunk], carried: list[str]) -> list[str]:
                    for chunk in parts:
                        self._recall(chunk, span, numbers)
                        self._visit(chunk, frames, memory, level)
                    return carried

                return along(values, self.plan, block, span, body)

            return stepping(values, self.tiles.axis.size, self.plan.rows_at_once, None, step, (), blocks)

        memory.begin(top := blocks.cuts[0].top if blocks else 0)
        carrying_loops(values, frame, around, numbers, (), lines, blocks)
        memory.finish(top)

    def _visit(self, chunk: Chunk, frames: Sequence[Point], memory: _Lines, level: int) -> None:
        """Take the lines at `frames` into a chunk's states of a level: first with one another, then with those."""
        state: list[str] = []
        for point in self.tiles.points(chunk, frames, ()):
            if state:
                memory.states.combine(state, point, 0, masked=False)
            else:
                state = memory.states.lifted(point)
            self.values.store_all(point, memory.sweep.row_stores)
        if state:
            memory.put(chunk, level, memory.states.joined(memory.get(chunk, level), state))


@dataclass(frozen=True)
class _Lines(Fold):
    """The states of a block of columns, in memory, for each level of blocks of lines."""

    mode: WideColumns
    frame: Point
    span: Span | None
    sweep: Sweep
    states: States

    @property
    def _dtypes(self) -> list[DType]:
        return [c.dtype for g in self.states.groups for c in g.init]

    def _places(self, chunk: Chunk, level: int) -> list[str]:
        keys = [(self.sweep.level, level, k) for k in range(len(self._dtypes))]
        return [self.mode.place(chunk, self.span, k, d) for k, d in zip(keys, self._dtypes, strict=True)]

    def put(self, chunk: Chunk, level: int, state: Sequence[str]) -> None:
        for place, x, dtype in zip(self._places(chunk, level), state, self._dtypes, strict=True):
            self.mode.values.memory.store(place, x, dtype)

    def get(self, chunk: Chunk, level: int) -> list[str]:
        memory = self.mode.values.memory
        return [memory.load(p, d) for p, d in zip(self._places(chunk, level), self._dtypes, strict=True)]

    def _each(self, visit: Callable[[Chunk], None]) -> list[str]:
        """Visit every chunk of the block, if there are states."""

        def body(here: Point, parts: list[Chunk], carried: list[str]) -> list[str]:
            for chunk in parts:
                visit(chunk)
            return carried

        if self.sweep.reduces:
            along(self.mode.values, self.mode.plan, self.frame, self.span, body)
        return []

    def begin(self, level: int, outer: Sequence[str] = ()) -> list[str]:
        neutral = [x for _, x in self.states.initial()]
        return self._each(lambda chunk: self.put(chunk, level, neutral))

    def join(self, level: int, outer: Sequence[str], inner: Sequence[str]) -> list[str]:
        def visit(chunk: Chunk) -> None:
            joined = self.states.joined(self.get(chunk, level + 1), self.get(chunk, level))
            self.put(chunk, level + 1, joined)

        return self._each(visit)

    def finish(self, level: int) -> None:
        """Put down the reductions' values."""
        mode, states = self.mode, self.states

        def visit(chunk: Chunk) -> None:
            state = states.copy_of(self.get(chunk, level), 0)
            for number, x in states.finished(state, mode.values.vectors).items():
                dtype = mode.kernel.dtypes[number]
                mode.values.memory.store(mode.place(chunk, self.span, number, dtype), x, dtype)

        self._each(visit)
