"""A kernel's Plan: the choices of this backend for one kernel, which never change what it means.

In: a loop or reduction kernel and the machine. Out: the axis that vectors run along, how many stand side by side,
what a work unit is, and what all that is expected to cost. Emits no code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from graphc.index import Axis, Index
from graphc.kernel import Apply, Kernel, Load, Reduce
from graphc.types import DType

from .target import Target

SERIAL_NS = 8_000.0  # below this, sharing costs more than it gains
GRAIN_NS = 5_000.0  # the least work worth handing out: an atomic add and a fetched line cost 0.1 µs
GRAINS = 64  # into how many pieces large work is cut, so that a preempted thread delays little
UNITS = 256  # as many units as this need no finer ones
BYTE_NS = 0.1  # per byte moved, one thread
OPERATION_NS = 0.25  # per vector instruction
STASH_COST = 8  # instructions an element must cost to be kept for a later pass over the row
STASH_BYTES = 1 << 16  # the most a row buffer may take of a thread's stack


@dataclass(frozen=True)
class Plan:
    """How a kernel is carried out.

    A work unit is one point of the axes `outer`, times one block of `block` positions on the vector axis.
    `inner` axes are loops of a unit, outermost first; the row axes of a reduction are not among them.
    `tile` is an axis along which loads or stores are contiguous where they are not along the vector axis: blocks of
    lanes × lanes elements are transposed in registers.
    """

    axis: Axis | None
    lanes: int
    unroll: int
    outer: tuple[Axis, ...]
    inner: tuple[Axis, ...]
    block: int
    tile: Axis | None = None
    stash: frozenset[int] = frozenset()
    cost_ns: float = 0.0

    @property
    def length(self) -> int:
        """Positions on the vector axis."""
        return 1 if self.axis is None else self.axis.size

    @property
    def blocks(self) -> int:
        return -(-self.length // self.block)

    @property
    def units(self) -> int:
        return math.prod(a.size for a in self.outer) * self.blocks

    @property
    def serial(self) -> bool:
        return self.units == 1 or self.cost_ns < SERIAL_NS

    @property
    def grain(self) -> int:
        """Units to hand out at a time. It follows from the shape alone."""
        piece = max(GRAIN_NS, self.cost_ns / GRAINS)
        return max(1, min(self.units, round(piece * self.units / max(self.cost_ns, 1.0))))

    def __str__(self) -> str:
        where = f"{self.lanes} lanes along {self.axis.name}" if self.axis and self.lanes > 1 else "scalars"
        text = f"{where}, {self.unroll} side by side, {self.units} units by {self.grain}"
        if self.tile:
            text += f", transposed along {self.tile.name}"
        if self.stash:
            text += ", kept per row: " + ", ".join(f"v{i}" for i in sorted(self.stash))
        return text


class Estimate:
    """What a kernel costs, for planning: bytes and instructions. No measurement, only proportions."""

    def __init__(self, kernel: Kernel, target: Target) -> None:
        self.kernel = kernel
        self.target = target

    @cached_property
    def points(self) -> int:
        return math.prod(a.size for a in (*self.kernel.parallel, *self.kernel.row))

    @cached_property
    def bytes(self) -> int:
        """Bytes that must move at least: each slot once."""
        used = self.kernel.loaded | self.kernel.written
        return sum(self.kernel.slots[s].size * self.kernel.slots[s].dtype.itemsize for s in used)

    def operations(self, lanes: int) -> float:
        """Vector instructions, of one pass over everything."""
        total = 0.0
        for value, axes in zip(self.kernel.values, self.kernel.axes, strict=True):
            if isinstance(value, Apply):
                total += value.recipe.cost * math.prod(a.size for a in axes)
            elif isinstance(value, Reduce):
                total += value.combine.cost * self.points
            elif isinstance(value, Load):
                total += math.prod(a.size for a in axes)
        return total / lanes

    def ns(self, lanes: int) -> float:
        return max(self.bytes * BYTE_NS, self.operations(lanes) * OPERATION_NS)


def kernel_lanes(kernel: Kernel, target: Target, axis: Axis) -> int:
    """Lanes that suit the element types that vary along an axis: a register of the narrowest computed with, where
    those of 1 and 2 bytes, which are often only loaded or stored, count where there are no others."""
    sizes = {d.itemsize for d in _varying_dtypes(kernel, axis) if not d.is_bool}
    wide = {s for s in sizes if s >= 4}
    return target.vector_bytes // (min(wide) if wide else max(sizes, default=1))


def _varying_dtypes(kernel: Kernel, axis: Axis) -> Iterable[DType]:
    for value, axes in zip(kernel.values, kernel.axes, strict=True):
        if axis in axes:
            if isinstance(value, Load):
                yield value.dtype
            elif isinstance(value, Apply):
                yield from value.recipe.params
                yield from (s.dtype for s in value.recipe.steps)
    for store in kernel.stores:
        if axis in store.index.axes:
            yield kernel.slots[store.slot].dtype


def access_cost(index: Index, axis: Axis, lanes: int) -> float:
    """Instructions to access one vector: one where lanes are neighbours or all the same, else about two a lane."""
    if not index.is_linear_in(axis):
        return 3.0 * lanes
    return {0: 1.0, 1: 1.0, -1: 2.0}.get(index.coefficient(axis), 2.0 * lanes)


def choose_axis(kernel: Kernel, target: Target, candidates: Iterable[Axis]) -> Axis | None:
    """The axis along which the accesses cost least for an element; None where no candidate is longer than 1."""
    accumulated = {a for s in kernel.stores for a in s.accumulate}
    best, least = None, math.inf
    for axis in candidates:
        if axis.size < 2 or axis in accumulated:
            continue
        lanes = kernel_lanes(kernel, target, axis)
        accesses = [v.index for v in kernel.values if isinstance(v, Load)] + [s.index for s in kernel.stores]
        vectors = -(-axis.size // lanes)
        cost = sum(access_cost(i, axis, lanes) for i in accesses) * vectors / axis.size
        if cost <= least:
            best, least = axis, cost
    return best


def side_by_side(kernel: Kernel) -> int:
    """How many vectors a loop's body holds: fewer of costly ones, whose code is long and hides latency by itself."""
    cost = sum(v.recipe.cost for v in kernel.values if isinstance(v, Apply))
    return 4 if cost < 16 else 2 if cost < 64 else 1


def plan_loop(kernel: Kernel, target: Target) -> Plan:
    """The plan of a kernel without reductions."""
    axis = choose_axis(kernel, target, kernel.parallel)
    lanes = 1 if axis is None else kernel_lanes(kernel, target, axis)
    unroll = side_by_side(kernel)
    rest = tuple(a for a in kernel.parallel if a != axis)
    cost = Estimate(kernel, target).ns(lanes)
    outer, inner = split_units(rest, cost)
    block = 1 if axis is None else axis.size
    units = math.prod(a.size for a in outer)
    step = lanes * unroll
    if axis is not None and units < UNITS and cost > SERIAL_NS and axis.size > step:
        # Blocks are whole steps, so that only the last has a remainder.
        wanted = min(-(-UNITS // units), max(1, round(cost / units / GRAIN_NS)) * 4)
        block = max(step, -(-axis.size // wanted) // step * step)
    return Plan(axis, lanes, unroll, outer, inner, block, cost_ns=cost)


def split_units(axes: tuple[Axis, ...], cost: float) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """The outermost axes that make enough units, and those left as loops of a unit."""
    units, count = 1, 0
    while count < len(axes) and (count == 0 or units < UNITS) and cost > SERIAL_NS:
        units *= axes[count].size
        count += 1
    return axes[:count], axes[count:]
