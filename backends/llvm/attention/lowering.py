"""Attention kernels: scores by blocks, each made, used and forgotten in a unit's memory.

In: a `Plan`. Out: one task, whose units walk along the keys (or queries) that masks leave them. For each block: inner
products by register tiles, passes over the scores (`scores.py`), outer products by register tiles; results in the end
(`results.py`). The order of every sum follows from the shape alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

from graphc.dataclass import dataclass
from graphc.index import Axis
from graphc.kernel import Load

from ..emit.kernel_code import Lowered, NativeTask, finish_function
from ..emit.text import Code, register_type
from ..nests.places import Integer, Point
from ..nests.values import Values
from ..products.blocking import Tiling
from ..products.microkernel import Strides, TileWriter, sums_in_blocks
from ..products.units import tile_place, unit_place
from .panels import Panel, panel_of, reserve, write_panel
from .parts import Part, Parts
from .plan import Inner, Outer, Plan
from .results import write_results
from .scores import Scores, sums_size


def lower_attention(plan: Plan, name: str) -> Lowered:
    """Generate the code of an attention kernel; its symbols begin with `name`."""
    parts = Parts(plan, name)
    unit = _Unit(parts)
    code = unit.write()
    slots = tuple(parts.slots)
    text = finish_function(name, code, slots)
    parts.add(text, code, unit.values.reports)
    task = NativeTask(name, slots, plan.units, plan.grain, plan.serial, cost_ns=plan.cost_ns)
    return Lowered(
        tuple(parts.functions), (task,), frozenset(parts.declarations), frozenset(parts.notes), str(plan), parts.reports
    )


@dataclass(frozen=True)
class _Source:
    """Where tiles find an operand along the walk: in place, or in a panel that `fill` fills for each block."""

    number: int
    strides: Strides
    free: Axis
    fill: Part | None = None
    key: tuple[object, ...] = ()


# Operands of inner products and of outer ones, panels of what else scores are made of, and passes.
_Made: TypeAlias = tuple[Sequence[_Source], Sequence[_Source], Sequence[tuple[Panel, Part]], Sequence[Part]]


class _Unit:
    """Writes the loops over units, blocks and tiles."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.plan: Plan = parts.plan
        self.code = Code()
        self.values = Values(parts.plan.kernel, None, 1, self.code, parts.plan.target)
        self.scalar = register_type(self.plan.dtype, 1)
        self.scores = Scores(parts)
        self.tiles: dict[tuple[object, ...], str] = {}
        self.sources: dict[tuple[int, Axis], _Source] = {}
        self.reach: Integer = 0  # beyond masks

    def write(self) -> Code:
        plan, code = self.plan, self.code
        self._reserve_sums()
        held = [self._held(inner) for inner in plan.inners]
        walked = [self._source(i.walked, i.depth, False) for i in plan.inners]
        others = [self._source(o.other, o.columns, True) for o in plan.outers]
        leaves = [(p, write_panel(self.parts, p, f"scores{n}")) for n, p in self.scores.panels.items()]
        begin, passes, clear = self.scores.write_begin(), self.scores.write_passes(), self.scores.write_clear()
        look = self.scores.write_look() if plan.known_first else None
        freeze = self.scores.write_settle() if plan.reductions else None
        results = write_results(self.parts)
        code.do(f"%memory = getelementptr i8, ptr {code.alloca('i8', self.parts.layout.size)}, i64 0")
        with code.loop("%low", "%high") as unit:
            block, frame, _ = unit_place(code, unit.index, plan.blocks, plan.outer)
            if plan.descends:
                block = code.subtract(str(plan.blocks - 1), block)
            start = code.multiply(block, plan.width)
            begin.call(code, frame, start)
            with self._walks() as reach:
                clear.call(code, frame, reach)
                self._walk(frame, start, look, held, (walked, others, leaves, passes))
                if freeze:
                    freeze.call(code, frame, start)
            for part in results:
                part.call(code, frame, start)
        return code

    @contextmanager
    def _walks(self) -> Iterator[Integer]:
        """A walk as far as masks reach, and then, where it turns out that this was not all, another one: how far beyond
        masks it goes."""
        code = self.code
        if not self.plan.known_last:
            yield 0
            return
        with code.cycle(("i64", "0")) as cycle:
            (reach,) = cycle.carried
            yield reach
            cycle.next = [self._reach()]
            code.leave(cycle, code.let(f"icmp eq i64 {cycle.next[0]}, {reach}"))

    def _reach(self) -> str:
        return self.code.let(f"load i64, ptr {self._address(('reach',))}")

    def _walk(self, frame: Point, start: Integer, look: Part | None, held: Sequence[Part], made: _Made) -> None:
        code, plan = self.code, self.plan
        with ExitStack() as stack:
            frame = Point(frame)
            for axis in plan.around:
                frame = Point(frame, {axis: stack.enter_context(code.loop(0, axis.size)).index})
            for inner, part in zip(plan.inners, held, strict=True):
                part.call(code, frame, self._address(self._held_panel(inner).key), start, 0, inner.depth.size)
            if look:
                look.call(code, frame, start)
            self.reach = self._reach() if plan.known_last or plan.known_first else 0
            low, high = self._range(frame, start, plan.width, (0, plan.walk.size))
            stack.enter_context(code.when(code.let(f"icmp slt i64 {low}, {high}")))
            tiles = self._tile(low), code.add(self._tile(code.add(high, -1)), 1)
            with code.loop(*tiles, plan.block_tiles) as at:
                rows = at.index, code.minimum(code.add(at.index, plan.block_tiles), tiles[1])
                self._block(frame, start, rows, made)

    def _reserve_sums(self) -> None:
        plan = self.plan
        for outer in plan.outers:
            self.parts.layout.reserve(("sums", outer.number), sums_size(plan, outer.number), plan.dtype)

    # ---- operands --------------------------------------------------------------------------------------------

    def _held_panel(self, inner: Inner) -> Panel:
        return panel_of(self.plan, inner.held, self.plan.block, inner.depth)

    def _held(self, inner: Inner) -> Part:
        panel = self._held_panel(inner)
        reserve(self.parts, panel)
        return write_panel(self.parts, panel, f"held{inner.number}")

    def _source(self, number: int, axis: Axis, vectors: bool) -> _Source:
        """An operand whose rows are walked: `vectors`, if tiles read it by vectors along its other axis."""
        if (number, axis) in self.sources:
            return self.sources[number, axis]
        plan, value = self.plan, self.plan.kernel.values[number]
        source = None
        if isinstance(value, Load) and not value.bounds and value.dtype is plan.dtype:
            index = value.index
            if index.is_linear_in(plan.walk) and index.is_linear_in(axis):
                strides = Strides(index.coefficient(plan.walk), index.coefficient(axis))
                if not vectors or strides.depth == 1:
                    source = _Source(number, strides, axis)
        if source is None:
            panel = panel_of(plan, number, axis, plan.walk)
            reserve(self.parts, panel)
            fill = write_panel(self.parts, panel, f"walked{number}_{len(self.sources)}")
            source = _Source(number, Strides(panel.width, 1), axis, fill, panel.key)
        self.sources[number, axis] = source
        return source

    def _place(self, source: _Source, frame: Point, row: Integer, first: Integer) -> str:
        """The address of an operand's row. Panels begin with row `first`."""
        code = self.code
        if source.fill:
            base, at = self._address(source.key), code.subtract(row, first)
        else:
            load = self.plan.kernel.values[source.number]
            assert isinstance(load, Load)
            origin = load.index.without(source.free).without(self.plan.walk)
            base, at = self.values.address(load.slot, self.values.index(frame, origin)), row
        return code.element(base, self.scalar, code.multiply(at, source.strides.free))

    # ---- a block ---------------------------------------------------------------------------------------------

    def _block(
        self,
        frame: Point,
        start: Integer,
        tiles: tuple[Integer, Integer],
        made: _Made,
    ) -> None:
        """Rows of tiles `tiles` of the walk."""
        code, plan = self.code, self.plan
        frame = Point(frame)
        walked, others, leaves, passes = made
        low, high = (self._start_of(t) for t in tiles)
        for source in dict.fromkeys((*walked, *others)):
            if source.fill:
                source.fill.call(code, frame, self._address(source.key), 0, low, high)
        for panel, part in leaves:
            part.call(code, frame, self._address(panel.key), start, low, high)
        for inner, source in zip(plan.inners, walked, strict=True):
            self._inner(inner, source, frame, tiles, low)
        for part in passes:
            part.call(code, frame, start, low, high)
        for outer, source in zip(plan.outers, others, strict=True):
            self._outer(outer, source, frame, start, (low, high))

    def _inner(
        self, inner: Inner, source: _Source, frame: Point, tiles: tuple[Integer, Integer], first: Integer
    ) -> None:
        code, plan = self.code, self.plan
        held = self._address(self._held_panel(inner).key)
        scores = self._address(("scores", self.scores.buffers[inner.number]))
        names = [self._inner_tile(rows, source.strides, inner.depth.size) for rows in plan.rows.lengths]
        with code.loop(*tiles) as tile:
            row, _ = tile_place(code, plan.rows, tile.index)
            a = self._place(source, Point(frame), row, first)
            to = code.element(scores, self.scalar, code.multiply(code.subtract(row, first), plan.width))
            name = self._choose(plan.rows, tile.index, names)
            code.do(f"call void {name}(ptr {a}, ptr {held}, ptr {to}, i64 {inner.depth.size}, i1 true)")

    def _outer(
        self, outer: Outer, source: _Source, frame: Point, start: Integer, walk: tuple[Integer, Integer]
    ) -> None:
        """Each row of tiles takes in as much of the block as masks leave it."""
        code, plan = self.code, self.plan
        scores = self._address(("scores", self.scores.buffers[outer.scores]))
        sums, cut, columns = self._address(("sums", outer.number)), plan.held_rows, plan.columns(outer)
        names = {(r, c): self._outer_tile(r, c, source.strides) for r in cut.lengths for c in columns.lengths}
        size = plan.sum_tile.columns
        with code.loop(0, cut.count) as tile:
            row, length = tile_place(code, cut, tile.index)
            place = code.add(start, row)
            is_there = code.let(f"icmp slt i64 {place}, {plan.block.size}")
            with code.when(is_there):
                here = Point(frame)
                low, high = self._range(here, place, length, walk) if plan.conditions else walk
                with code.when(code.let(f"icmp slt i64 {low}, {high}")):
                    line = code.add(code.multiply(code.subtract(low, walk[0]), plan.width), row)
                    a = code.element(scores, self.scalar, line)
                    b = self._place(source, Point(here), low, walk[0])
                    depth = code.subtract(high, low)
                    with code.loop(0, columns.count) as panel:
                        x = code.element(b, self.scalar, code.multiply(panel.index, columns.first))
                        at = code.add(code.multiply(panel.index, plan.width * size), code.multiply(row, size))
                        to = code.element(sums, self.scalar, at)
                        by_width = [[names[r, c] for r in cut.lengths] for c in columns.lengths]
                        fitting = [self._choose(cut, tile.index, found) for found in by_width]
                        name = self._choose(columns, panel.index, fitting)
                        code.do(f"call void {name}(ptr {a}, ptr {x}, ptr {to}, i64 {depth}, i1 false)")

    def _choose(self, cut: Tiling, tile: Integer, names: Sequence[str]) -> str:
        if len(names) == 1 or names[0] == names[-1]:
            return names[0]
        is_first = self.code.let(f"icmp slt i64 {tile}, {cut.firsts}")
        return self.code.let(f"select i1 {is_first}, ptr {names[0]}, ptr {names[1]}")

    # ---- register tiles --------------------------------------------------------------------------------------

    def _inner_tile(self, rows: int, strides: Strides, depth: int) -> str:
        plan = self.plan
        writer = TileWriter(plan.target, plan.dtype, plan.tile, False, sums_in_blocks(plan.dtype, depth))
        return self._tile_function(writer, rows, plan.width, strides, Strides(1, plan.width))

    def _outer_tile(self, rows: int, columns: int, strides: Strides) -> str:
        plan = self.plan
        in_blocks = sums_in_blocks(plan.dtype, plan.block_rows)
        writer = TileWriter(plan.target, plan.dtype, plan.sum_tile, True, in_blocks)
        return self._tile_function(writer, rows, columns, Strides(1, plan.width), Strides(1, strides.free))

    def _tile_function(self, writer: TileWriter, rows: int, columns: int, a: Strides, b: Strides) -> str:
        key = writer.tile, writer.adds, writer.in_blocks, rows, columns, a, b
        if key not in self.tiles:
            code, name = Code(), f"{self.parts.name}_tile{len(self.tiles)}"
            self.parts.add(writer.write(code, name, rows, columns, a, b), code)
            self.tiles[key] = f"@{name}"
        return self.tiles[key]

    # ---- places along the walk -------------------------------------------------------------------------------

    def _range(
        self, frame: Point, start: Integer, length: Integer, walk: tuple[Integer, Integer]
    ) -> tuple[Integer, Integer]:
        """What masks leave of positions `walk` for held elements from `start` on."""
        code, plan = self.code, self.plan
        low, high = walk
        last = code.minimum(code.add(code.add(start, length), -1), plan.block.size - 1)
        for condition in plan.conditions:
            along, across = condition.coefficient(plan.walk), condition.coefficient(plan.block)
            if abs(along) != 1:
                continue  # a division; what is masked is neutral anyway
            rest = self.values.index(frame, condition.without(plan.walk).without(plan.block))
            rest = code.add(code.add(rest, code.multiply(last if across > 0 else start, across)), self.reach)
            if along == 1:
                low = code.maximum(low, code.subtract("0", rest))
            else:
                high = code.minimum(high, code.add(rest, 1))
        return low, high

    def _tile(self, position: Integer) -> Integer:
        """The tile of scores that a position of the walk is in."""
        code, cut = self.code, self.plan.rows
        tile, _ = code.divide(position, cut.first)
        if not cut.seconds:
            return tile
        ends = cut.firsts * cut.first
        behind, _ = code.divide(code.maximum(code.add(position, -ends), 0), cut.second)
        is_first = code.let(f"icmp slt i64 {position}, {ends}")
        return code.let(f"select i1 {is_first}, i64 {tile}, i64 {code.add(behind, cut.firsts)}")

    def _start_of(self, tile: Integer) -> Integer:
        """Where a tile starts, or for the one behind the last the end of the walk."""
        start, _ = tile_place(self.code, self.plan.rows, tile)
        return self.code.minimum(start, self.plan.walk.size)

    def _address(self, key: tuple[object, ...]) -> str:
        return self.parts.layout.address(self.code, key)
