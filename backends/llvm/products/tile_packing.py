"""Packing rows for instructions that multiply matrices: word (i, k) of panel p, whose tile starts at s, lies at
p·depth·width + (k // 16)·16·width + (i − s)·16 + k % 16, so that 16 rows × 16 words are one block of memory.

In and out: as `packing.py`. Rows beyond a tile's end hold anything: their sums are never read.
"""

from __future__ import annotations

from contextlib import ExitStack

from graphc.index import Axis, Index
from graphc.kernel import Load

from ..emit.text import Code, register_type
from ..nests.places import Integer, Point
from ..nests.values import Values
from .microkernel import pad
from .packing import Packing, transpose
from .units import tile_place
from .words import TILE_SIDE


class TilePacking(Packing):
    """Writes the body of the task that packs the rows."""

    def _fill(self, frame: Point, base: str, panels: tuple[Integer, Integer]) -> None:
        if self._neighbours_along_k:
            self._along_k(frame, base, panels)
        else:
            self._squares(frame, base, panels)

    @property
    def _k(self) -> Axis:
        return self.blocking.contracted[-1]

    @property
    def _neighbours_along_k(self) -> bool:
        """Whether what the rows are made of lies side by side along k: then a block's row is read as it is."""
        loads = [v for i in self.needed for v in (self.kernel.values[i],) if isinstance(v, Load)]
        indices: list[Index] = [v.index for v in loads if self._k in v.index.axes]
        return bool(indices) and all(i.is_linear_in(self._k) and i.coefficient(self._k) == 1 for i in indices)

    def _block(self, base: str, panel: Integer, block: Integer, row: Integer) -> str:
        """The address of a row of a block of 16 words."""
        code, width = self.code, self.operand.width
        place = code.add(code.multiply(panel, width * self.blocking.depth), code.multiply(block, width * TILE_SIDE))
        return code.element(base, self.scalar, code.add(place, code.multiply(row, TILE_SIDE)))

    def _outer_depths(self, stack: ExitStack, frame: Point) -> tuple[Point, Integer]:
        """Loops over all contracted axes but the last, which end with the stack; the blocks before that one's first."""
        code, place = self.code, 0
        for axis in self.blocking.contracted[:-1]:
            self._values(1).prepare(frame, self.needed)
            loop = stack.enter_context(code.loop(0, axis.size))
            place = code.add(code.multiply(place, axis.size), loop.index)  # type: ignore[assignment]
            frame = Point(frame, {axis: loop.index})
        return frame, code.multiply(place, self.blocking.steps // TILE_SIDE)

    # ---- rows as they lie ------------------------------------------------------------------------------------

    def _along_k(self, frame: Point, base: str, panels: tuple[Integer, Integer]) -> None:
        code, operand = self.code, self.operand
        together = TILE_SIDE * self.blocking.word
        whole, rest = divmod(self._k.size, together)
        with code.loop(*panels) as panel, ExitStack() as stack:
            start, length = tile_place(code, operand.cut, panel.index)
            outer, first = self._outer_depths(stack, Point(frame))
            with code.loop(0, length) as row:
                inner = Point(outer, {operand.free: code.add(start, row.index)})
                if whole:
                    values = self._values_along_k(together)
                    values.prepare(inner, self.needed)
                    with code.loop(0, whole) as block:
                        x = self._words(values, Point(inner), code.multiply(block.index, together), together)
                        to = self._block(base, panel.index, code.add(first, block.index), row.index)
                        self._put(x, to)
                if rest:
                    values = self._values_along_k(rest)
                    values.prepare(inner, self.needed)
                    x = self._words(values, Point(inner), whole * together, rest)
                    self._put(x, self._block(base, panel.index, code.add(first, whole), row.index))

    def _values_along_k(self, count: int) -> Values:
        key = -count  # those by lanes of the free axis have positive keys
        if key not in self.by_lanes:
            self.by_lanes[key] = Values(self.kernel, self._k if count > 1 else None, count, self.code, self.target)
        return self.by_lanes[key]

    def _words(self, values: Values, frame: Point, start: Integer, count: int) -> str:
        """A block's row of 16 words from `count` elements; those beyond are 0."""
        code, number, element = self.code, self.operand.value, self.operand.element
        here = Point(frame, {self._k: start}) if count == 1 else frame
        x = values.vector(values.chunk(here, start, 0, count), number)
        x = values.vectors.cast(x, self.kernel.dtypes[number], element)
        together = TILE_SIDE * self.blocking.word
        x = pad(code, element, x, count, together)
        whole = register_type(element, together)
        return code.let(f"bitcast {whole} {x} to {register_type(self.dtype, TILE_SIDE)}")

    # ---- squares that are transposed -------------------------------------------------------------------------

    def _squares(self, frame: Point, base: str, panels: tuple[Integer, Integer]) -> None:
        """Words are made side by side along the rows, 16 steps of k one after the other, and turned in registers."""
        code, operand = self.code, self.operand
        square = code.alloca(self.scalar, TILE_SIDE * TILE_SIDE)
        cut = operand.cut
        ranges = [(0, cut.firsts, cut.first)] + ([(cut.firsts, cut.count, cut.second)] if cut.seconds else [])
        for first, last, length in ranges:
            low, high = code.maximum(panels[0], first), code.minimum(panels[1], last)
            enter = code.when(code.let(f"icmp slt i64 {low}, {high}"))
            with enter, code.loop(low, high) as panel, ExitStack() as stack:
                start, _ = tile_place(code, cut, panel.index)
                outer, before = self._outer_depths(stack, Point(frame))
                with code.loop(0, self.blocking.steps // TILE_SIDE) as block:
                    for at in range(0, length, TILE_SIDE):
                        self._gather(outer, square, block.index, (start, at, min(TILE_SIDE, length - at)))
                        to = self._block(base, panel.index, code.add(before, block.index), at)
                        self._turn(code, square, to)

    def _gather(self, frame: Point, square: str, block: Integer, rows: tuple[Integer, int, int]) -> None:
        """The words of `count` rows from start + at on, at 16 steps of k."""
        code, (start, at, count) = self.code, rows
        with code.loop(0, TILE_SIDE) as step:
            k = code.add(code.multiply(block, TILE_SIDE), step.index)
            neighbours = [self._neighbour(Point(frame), self._k, k, n) for n in range(self.blocking.word)]
            to = code.element(square, self.scalar, code.multiply(step.index, TILE_SIDE))
            self._copy_vector(neighbours, start, at, count, to)

    def _turn(self, code: Code, square: str, to: str) -> None:
        type_, places = register_type(self.dtype, TILE_SIDE), range(0, TILE_SIDE * TILE_SIDE, TILE_SIDE)
        columns = [code.let(f"load {type_}, ptr {code.element(square, self.scalar, n)}, align 64") for n in places]
        for n, x in enumerate(transpose(code, self.dtype, columns)):
            self._put(x, code.element(to, self.scalar, n * TILE_SIDE))
