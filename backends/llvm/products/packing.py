"""Packing: an operand of a contraction copied into panels, in the order in which register tiles read it.

In: a kernel, its `Blocking`, one operand. Out: the body of a task whose units are groups of panels. A panel is one
tile of the operand's cut: panel p, whose tile starts at s, holds element (i, k) at (p·depth + k)·width + (i − s). Where
k goes by words, these are words, and what is missing of the last one is 0. The operand may be any value, so converting,
guarding and gathering happen here, and never in the tiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from graphc.dataclass import dataclass
from graphc.index import Axis, axes_size
from graphc.kernel import Kernel, Load
from graphc.types import DType

from ...kernels.sweeps import needed
from ..emit.memory import Memory
from ..emit.text import Code, register_type
from ..nests.places import Integer, Point
from ..nests.values import Values
from ..target import Target
from .blocking import Blocking, Factor
from .microkernel import pad
from .units import tile_place, unit_loop, unit_place
from .words import as_words

GROUP = 64  # elements of a unit along the free axis: runs long enough to read, and few panels to write side by side
GRAIN = 1 << 14  # elements, about 5 µs


def packing_units(operand: Factor) -> int:
    return axes_size(operand.outer) * -(-operand.cut.count // _group(operand))


def packing_grain(operand: Factor, depth: int) -> int:
    """Units to hand out at a time."""
    return max(1, GRAIN // (_group(operand) * operand.width * depth))


def _group(operand: Factor) -> int:
    """Panels of a unit."""
    return max(1, GROUP // operand.cut.first)


@dataclass(frozen=True)
class _Neighbour:
    """An element of a word, or a single one: the frame at its k, and whether there is one (empty: there is)."""

    frame: Point
    is_there: str = ""


class Packing:
    """Writes the body of the task that packs one operand into the memory at `scratch`."""

    def __init__(
        self, kernel: Kernel, target: Target, blocking: Blocking, operand: Factor, code: Code
    ) -> None:
        self.kernel = kernel
        self.target = target
        self.blocking = blocking
        self.operand = operand
        self.code = code
        self.dtype = blocking.dtype
        self.scalar = register_type(self.dtype, 1)
        self.by_lanes: dict[int, Values] = {}

    @property
    def needed(self) -> tuple[int, ...]:
        """The values that the operand is computed from."""
        return needed(self.kernel, [self.operand.value])

    @property
    def reports(self) -> bool:
        return any(v.reports for v in self.by_lanes.values())

    def write(self, scratch: str) -> None:
        code, operand, depth = self.code, self.operand, self.blocking.depth
        with unit_loop(code, packing_units(operand)) as unit:
            size = _group(operand)
            groups = -(-operand.cut.count // size)
            group, frame, place = unit_place(code, unit.index, groups, operand.outer)
            low = code.multiply(group, size)
            panels = low, code.minimum(code.add(low, size), operand.cut.count)
            base = code.element(scratch, self.scalar, code.multiply(place, operand.packed_size(depth)))
            self._fill(frame, base, panels)

    def _fill(self, frame: Point, base: str, panels: tuple[Integer, Integer]) -> None:
        """Write these panels, at one point of the outer axes."""
        if self._lies_along_k:
            self._transpose(frame, base, panels)
        else:
            self._copy(frame, base, panels)

    @property
    def _lies_along_k(self) -> bool:
        """Whether whole squares can be transposed. Elements of less than 4 bytes would make squares too large."""
        strides, lanes = self.operand.strides, self.operand.lanes
        if strides is None or strides.depth != 1 or strides.free == 1:
            return False
        return self.blocking.depth >= lanes and self.dtype.itemsize >= 4

    def _values(self, lanes: int) -> Values:
        if lanes not in self.by_lanes:
            axis = self.operand.free if lanes > 1 else None
            self.by_lanes[lanes] = Values(self.kernel, axis, lanes, self.code, self.target)
        return self.by_lanes[lanes]

    def _row(self, base: str, panel: Integer, k: Integer) -> str:
        """The address of a panel's row."""
        code, width = self.code, self.operand.width
        row = code.add(code.multiply(panel, width * self.blocking.depth), code.multiply(k, width))
        return code.element(base, self.scalar, row)

    def _put(self, x: str, to: str) -> None:
        type_ = register_type(self.dtype, self.operand.lanes)
        self.code.do(f"store {type_} {x}, ptr {to}, align {self.dtype.itemsize}")

    # ---- copying: panels inside k, so that what lies side by side is read together ---------------------------

    def _copy(self, frame: Point, base: str, panels: tuple[Integer, Integer]) -> None:
        """Whole vectors as far as there are that many elements. What is left of one is a vector of odd length."""
        code, operand = self.code, self.operand
        cut, size = operand.cut, operand.free.size
        whole = next(
            p for p in range(cut.count, -1, -1) if p == 0 or cut.start(p - 1) + operand.width <= size
        )
        ranges = [(0, whole, operand.width)]
        ranges += [(whole, cut.firsts, cut.first), (max(whole, cut.firsts), cut.count, cut.second)]
        for first, last, length in ranges:
            if first < last:
                low, high = code.maximum(panels[0], first), code.minimum(panels[1], last)
                enter = code.when(code.let(f"icmp slt i64 {low}, {high}"))
                with enter, self._depths(Point(frame)) as (inner, k), code.loop(low, high) as panel:
                    start, _ = tile_place(code, cut, panel.index)
                    self._copy_row(inner, start, length, self._row(base, panel.index, k))

    def _copy_row(self, frames: Sequence[_Neighbour], start: Integer, length: int, to: str) -> None:
        """A row of elements, or of words of those at all `frames`. Where a vector is put together of single elements,
        which is much code, it is written once, in a loop over the row."""
        code, lanes, strides = self.code, self.operand.lanes, self.operand.strides
        looped = length // lanes * lanes if strides is not None and strides.free != 1 else 0
        if looped > lanes:
            with code.loop(0, looped, lanes) as part:
                to_part = code.element(to, self.scalar, part.index)
                self._copy_vector(frames, code.add(start, part.index), 0, lanes, to_part)
        for at in range(looped if looped > lanes else 0, length, lanes):
            self._copy_vector(frames, start, at, min(lanes, length - at), code.element(to, self.scalar, at))

    def _copy_vector(self, frames: Sequence[_Neighbour], start: Integer, at: int, count: int, to: str) -> None:
        code = self.code
        parts = [self._element(frame, start, at, count) for frame in frames]
        x = parts[0] if len(parts) == 1 else as_words(code, parts, self.operand.element, self.dtype, count)
        self._put(pad(code, self.dtype, x, count, self.operand.lanes), to)

    def _element(self, neighbour: _Neighbour, start: Integer, at: int, count: int) -> str:
        """The operand at so many places from start + at on."""
        code, number, element, values = self.code, self.operand.value, self.operand.element, self._values(count)
        here = Point(neighbour.frame, {self.operand.free: code.add(start, at)} if count == 1 else None)
        x = values.vector(values.chunk(here, start, at, count), number)
        x = values.vectors.cast(x, self.kernel.dtypes[number], element)
        if not neighbour.is_there:
            return x
        type_, zero = register_type(element, count), "0" if count == 1 else "zeroinitializer"
        return code.let(f"select i1 {neighbour.is_there}, {type_} {x}, {type_} {zero}")

    @contextmanager
    def _depths(self, frame: Point) -> Iterator[tuple[list[_Neighbour], Integer]]:
        """Loops over the contracted axes: what lies side by side at a step of k, and the number of the step."""
        code, word = self.code, self.blocking.word
        place: Integer = 0
        with ExitStack() as stack:
            for axis in self.blocking.contracted:
                self._values(1).prepare(frame, self.needed)
                is_last = axis is self.blocking.contracted[-1]
                steps = self.blocking.steps if is_last else axis.size
                loop = stack.enter_context(code.loop(0, steps))
                place = code.add(code.multiply(place, steps), loop.index)
                if is_last and word > 1:
                    yield [self._neighbour(frame, axis, loop.index, n) for n in range(word)], place
                    return
                frame = Point(frame, {axis: loop.index})
            self._values(1).prepare(frame, self.needed)
            yield [_Neighbour(frame)], place

    def _neighbour(self, frame: Point, axis: Axis, step: Integer, number: int) -> _Neighbour:
        """Element `number` of a word. Beyond the axis' end it is the last one, which does not count."""
        code, word = self.code, self.blocking.word
        k = code.add(code.multiply(step, word), number)
        is_there = ""
        if axis.size < self.blocking.steps * word:
            is_there = code.let(f"icmp slt i64 {k}, {axis.size}")
            k = code.minimum(k, axis.size - 1)
        inner = Point(frame, {axis: k})
        self._values(1).prepare(inner, self.needed)
        return _Neighbour(inner, is_there)

    # ---- transposing: squares of lanes × lanes go through registers ------------------------------------------

    def _transpose(self, frame: Point, base: str, panels: tuple[Integer, Integer]) -> None:
        """Lanes beyond a tile's end repeat its last one; the last square of k overlaps the one before."""
        code, operand, depth, lanes = self.code, self.operand, self.blocking.depth, self.operand.lanes
        load, strides = self.kernel.values[operand.value], operand.strides
        assert isinstance(load, Load) and strides is not None
        (k_axis,) = self.blocking.contracted
        origin = load.index.without(operand.free).without(k_axis)
        source = self._values(1).address(load.slot, self._values(1).index(frame, origin))
        with code.loop(*panels) as panel, code.loop(0, operand.width, lanes) as part:
            start, length = tile_place(code, operand.cut, panel.index)
            lines = []
            for i in range(lanes):
                lane = code.minimum(code.add(part.index, i), code.add(length, -1))
                lines.append(
                    code.element(source, self.scalar, code.multiply(code.add(start, lane), strides.free))
                )
            to = code.element(self._row(base, panel.index, 0), self.scalar, part.index)
            with code.loop(0, depth, lanes) as square:
                k = square.index if depth % lanes == 0 else code.minimum(square.index, depth - lanes)
                there = code.element(to, self.scalar, code.multiply(k, operand.width))
                rows = [self._line(code.element(x, self.scalar, k), lanes) for x in lines]
                for i, x in enumerate(transpose(code, self.dtype, rows)):
                    self._put(x, code.element(there, self.scalar, i * operand.width))


    def _line(self, pointer: str, lanes: int) -> str:
        """Neighbours along k. Words are as aligned as their elements."""
        align = self.operand.element.itemsize
        return self.code.let(f"load {register_type(self.dtype, lanes)}, ptr {pointer}, align {align}")


def transpose(code: Code, dtype: DType, rows: Sequence[str]) -> list[str]:
    """A square of lanes transposed in registers: for s = …, 4, 2, 1 the off-diagonal s × s squares swap."""
    lanes = len(rows)
    type_, memory, result = register_type(dtype, lanes), Memory(code, lanes), list(rows)
    s = lanes // 2
    while s:
        for i in range(lanes):
            if not i & s:
                a, b = result[i], result[i + s]
                upper = [lanes + l - s if l & s else l for l in range(lanes)]
                lower = [lanes + l if l & s else l + s for l in range(lanes)]
                result[i], result[i + s] = (memory.shuffle(a, b, type_, order) for order in (upper, lower))
        s //= 2
    return result
