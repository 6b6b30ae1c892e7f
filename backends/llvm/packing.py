"""Packing: an operand of a contraction copied into panels, in the order in which register tiles read it.

In: a kernel, its `Blocking`, one operand. Out: the body of a task whose units are groups of panels. A panel is one tile
of the operand's cut: the one that starts at s holds element (i, k) at s·depth + k·width + (i − s). The operand may be
any value, so converting, guarding and gathering happen here, once for each element, and never in the tiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from graphc.index import axes_size
from graphc.kernel import Kernel, Load
from graphc.types import DType

from .blocking import Blocking, Operand
from .memory import Memory
from .microkernel import pad
from .places import Frame
from .sweeps import needed
from .target import Target
from .text import Code, register_type
from .units import unit_place
from .values import Values

GROUP = 4  # panels of a unit: runs of memory long enough to read, and few enough to write to side by side

Number = str | int


def packing_units(operand: Operand) -> int:
    return axes_size(operand.outer) * -(-operand.cut.count // GROUP)


class Packing:
    """Writes the body of the task that packs one operand into the memory at `scratch`."""

    def __init__(
        self, kernel: Kernel, target: Target, blocking: Blocking, operand: Operand, code: Code
    ) -> None:
        self.kernel = kernel
        self.target = target
        self.operand = operand
        self.code = code
        self.blocking = blocking
        self.dtype = blocking.dtype
        self.scalar = register_type(self.dtype, 1)
        self.lanes = target.lanes(self.dtype)
        self.values: dict[int, Values] = {}  # by lanes

    @property
    def needed(self) -> tuple[int, ...]:
        """The values that the operand is computed from."""
        return needed(self.kernel, [self.operand.value])

    @property
    def reports(self) -> bool:
        return any(v.reports for v in self.values.values())

    def write(self, scratch: str) -> None:
        code, cut, depth = self.code, self.operand.cut, self.blocking.depth
        with code.loop("%low", "%high") as unit:
            group, frame, place = unit_place(code, unit.index, -(-cut.count // GROUP), self.operand.outer)
            low = code.multiply(group, GROUP)
            high = code.minimum(code.add(low, GROUP), cut.count)
            base = code.element(scratch, self.scalar, code.multiply(place, self.operand.packed_size(depth)))
            for part, length in enumerate(cut.lengths):
                first, last = (0, cut.firsts) if part == 0 else (cut.firsts, cut.count)
                panels = code.maximum(low, first), code.minimum(high, last)
                writer = _Panels(
                    self, Frame(frame), base, length, part * cut.firsts * (cut.first - length), panels
                )
                with code.when(code.let(f"icmp slt i64 {panels[0]}, {panels[1]}")):
                    writer.write()

    def values_of(self, lanes: int) -> Values:
        if lanes not in self.values:
            axis = self.operand.free if lanes > 1 else None
            self.values[lanes] = Values(self.kernel, axis, lanes, self.code, self.target)
        return self.values[lanes]


class _Panels:
    """Writes a range of panels of one length; panel p starts at p·length + shift."""

    def __init__(
        self,
        packing: Packing,
        frame: Frame,
        base: str,
        length: int,
        shift: int,
        panels: tuple[Number, Number],
    ) -> None:
        self.packing = packing
        self.code = packing.code
        self.scalar = packing.scalar
        self.frame = frame
        self.base = base
        self.length = length
        self.shift = shift
        self.panels = panels
        self.width = packing.operand.width(length)

    def write(self) -> None:
        strides, depth, lanes = self.packing.operand.strides, self.packing.blocking.depth, self.packing.lanes
        done = 0
        if strides is not None and strides.depth == 1 and strides.free != 1:
            done = depth // lanes * lanes
            if done:
                self._transpose(strides.free, done)
        if done < depth:
            self._copy(done)

    def _start(self, panel: Number) -> Number:
        return self.code.add(self.code.multiply(panel, self.length), self.shift)

    # Copying: panels inside k, so that what lies side by side is read together

    def _copy(self, done: int) -> None:
        code, packing, lanes = self.code, self.packing, self.packing.lanes
        parts = [(at, min(lanes, self.length - at)) for at in range(0, self.length, lanes)]
        number = packing.operand.value
        for _, count in parts:
            values = packing.values_of(count)
            values.prepare(self.frame, packing.needed)
        with self._depths(done) as (inner, k), code.loop(*self.panels) as panel:
            start = self._start(panel.index)
            row = code.add(code.multiply(start, packing.blocking.depth), code.multiply(k, self.width))
            to = code.element(self.base, self.scalar, row)
            for at, count in parts:
                values = packing.values_of(count)
                here = Frame(inner, {packing.operand.free: code.add(start, at)} if count == 1 else None)
                x = values.vector(values.chunk(here, start, at, count), number)
                x = values.vectors.cast(x, packing.kernel.dtypes[number], packing.dtype)
                self._store(x, count, code.element(to, self.scalar, at))

    @contextmanager
    def _depths(self, done: int) -> Iterator[tuple[Frame, Number]]:
        """Loops over the contracted axes, from `done` on if there is only one: the frame inside, and k."""
        frame = self.frame
        k: Number = 0
        with ExitStack() as stack:
            for number, axis in enumerate(self.packing.blocking.contracted):
                loop = stack.enter_context(self.code.loop(done if number == 0 else 0, axis.size))
                frame = Frame(frame, {axis: loop.index})
                k = self.code.add(self.code.multiply(k, axis.size), loop.index)
            yield frame, k

    def _store(self, x: str, count: int, to: str) -> None:
        """Store a vector, padded by zeros where panels are."""
        if self.width % self.packing.lanes == 0 and self.packing.operand.lanes:
            x, count = pad(self.code, self.packing.dtype, x, count, self.packing.lanes), self.packing.lanes
        self._put(x, count, to)

    def _put(self, x: str, count: int, to: str) -> None:
        dtype = self.packing.dtype
        self.code.do(f"store {register_type(dtype, count)} {x}, ptr {to}, align {dtype.itemsize}")

    # Transposing: squares of lanes × lanes go through registers

    def _transpose(self, stride: int, done: int) -> None:
        code, packing, lanes = self.code, self.packing, self.packing.lanes
        load = packing.kernel.values[packing.operand.value]
        assert isinstance(load, Load)
        (k_axis,) = packing.blocking.contracted
        origin = load.index.without(packing.operand.free).without(k_axis)
        source = packing.values_of(1).address(load.slot, packing.values_of(1).index(self.frame, origin))
        with code.loop(*self.panels) as panel:
            start = self._start(panel.index)
            read = code.element(source, self.scalar, code.multiply(start, stride))
            to = code.element(self.base, self.scalar, code.multiply(start, packing.blocking.depth))
            with code.loop(0, done, lanes) as k:
                here = code.element(read, self.scalar, k.index)
                there = code.element(to, self.scalar, code.multiply(k.index, self.width))
                for at in range(0, self.length, lanes):
                    self._square(here, there, at, min(lanes, self.length - at), stride)

    def _square(self, here: str, there: str, at: int, count: int, stride: int) -> None:
        code, dtype, lanes = self.code, self.packing.dtype, self.packing.lanes
        memory, type_ = Memory(code, lanes), register_type(dtype, lanes)
        rows = [memory.load(code.element(here, self.scalar, (at + i) * stride), dtype) for i in range(count)]
        columns = transpose(code, dtype, rows + ["zeroinitializer"] * (lanes - count))
        for i, x in enumerate(columns):
            to = code.element(there, self.scalar, i * self.width + at)
            if count < lanes and not self.packing.operand.lanes:
                self._put(memory.shuffle(x, "poison", type_, range(count)), count, to)
            else:
                self._put(x, lanes, to)


def transpose(code: Code, dtype: DType, rows: Sequence[str]) -> list[str]:
    """A square of lanes transposed in registers: for s = …, 4, 2, 1 the off-diagonal s × s squares swap."""
    lanes = len(rows)
    type_, memory, result = register_type(dtype, lanes), Memory(code, lanes), list(rows)
    s = lanes // 2
    while s:
        for i in range(lanes):
            if not i & s:
                a, b = result[i], result[i + s]
                result[i] = memory.shuffle(a, b, type_, [lanes + l - s if l & s else l for l in range(lanes)])
                result[i + s] = memory.shuffle(
                    a, b, type_, [lanes + l if l & s else l + s for l in range(lanes)]
                )
        s //= 2
    return result
