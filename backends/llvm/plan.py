"""A kernel's Plan: the choices of this backend for one kernel, which never change what it means.

In: a loop or reduction kernel and the machine. Out: the axis that vectors run along, how many stand side by side,
what a work unit is, and what all that is expected to cost. Emits no code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphc.index import Axis, Index, axes_size
from graphc.kernel import Apply, Kernel, Load, Reduce
from graphc.types import DType

from .sweeps import kept_values, ordered_axes
from .target import Target

SERIAL_NS = 8_000.0  # below this, sharing costs more than it gains
GRAIN_NS = 5_000.0  # the least work worth handing out: an atomic add and a fetched line cost 0.1 µs
GRAINS = 64  # into how many pieces large work is cut, so that a preempted thread delays little
UNITS = 256  # as many units as this need no finer ones
BYTE_NS = 0.1  # per byte moved, one thread
OPERATION_NS = 0.25  # per vector instruction
KEEP_COST = 8  # instructions an element must cost to be kept for a later pass over the row
KEEP_BYTES = 1 << 16  # the most a row buffer may take of a thread's stack


@dataclass(frozen=True)
class Plan:
    """How a kernel is carried out.

    A work unit is one point of the axes `outer`, times one block of `block` positions on the vector axis.
    `inner` axes are loops of a unit, outermost first; the row axes of a reduction are not among them.
    `tile` is an axis along which loads or stores are contiguous where they are not along the vector axis: blocks of
    lanes × lanes elements are transposed in registers. `kept` are values held in a row buffer for later sweeps, each
    with the level of the sweep that computes it.
    """

    axis: Axis | None
    lanes: int
    unroll: int
    outer: tuple[Axis, ...]
    inner: tuple[Axis, ...]
    block: int
    tile: Axis | None = None
    kept: tuple[tuple[int, int], ...] = ()
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
        if self.kept:
            text += ", kept per row: " + ", ".join(f"v{number}" for number, _ in self.kept)
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
    """Instructions for an access at all its points: one a vector where lanes are neighbours, about two a lane where
    they are not, one for all lanes where they are the same."""
    points = axes_size(index.axes)
    if axis not in index.axes:
        return points
    vectors = points / axis.size * -(-axis.size // lanes)
    if not index.is_linear_in(axis):
        return vectors * 4 * lanes
    return vectors * {1: 1, -1: 2}.get(index.coefficient(axis), 2 * lanes)


def axis_cost(kernel: Kernel, axis: Axis, lanes: int) -> float:
    """Instructions that a kernel takes with vectors along an axis."""
    total = 0.0
    for value, axes in zip(kernel.values, kernel.axes, strict=True):
        if isinstance(value, Load):
            total += access_cost(value.index, axis, lanes)
        elif isinstance(value, Apply):
            vectors = -(-axis.size // lanes) / axis.size if axis in axes else 1
            total += value.recipe.cost * axes_size(axes) * vectors
        elif isinstance(value, Reduce):
            vectors = -(-axis.size // lanes) / axis.size
            total += value.combine.cost * axes_size((*axes, *value.axes)) * vectors
            if (
                axis in value.axes
            ):  # combining the lanes: a shuffle and the recipe, halving, and waiting for each
                total += (value.combine.cost + 2) * (lanes.bit_length() - 1) * 2 * axes_size(axes)
    return total + sum(access_cost(s.index, axis, lanes) for s in kernel.stores)


def choose_axis(kernel: Kernel, target: Target) -> Axis | None:
    """The axis along which vectors cost least; the last of equals. None where no axis is longer than 1, or all that
    are have to be done point after point."""
    ordered = ordered_axes(kernel)
    candidates = [a for a in (*kernel.parallel, *kernel.row) if a.size > 1 and a not in ordered]
    return min(
        reversed(candidates),
        key=lambda a: axis_cost(kernel, a, kernel_lanes(kernel, target, a)),
        default=None,
    )


def side_by_side(kernel: Kernel) -> int:
    """How many vectors a loop's body holds: fewer of costly ones, whose code is long and hides latency by itself."""
    cost = sum(v.recipe.cost for v in kernel.values if isinstance(v, Apply))
    return 4 if cost < 16 else 2 if cost < 64 else 1


def plan_loop(kernel: Kernel, target: Target) -> Plan:
    """The plan of a kernel without reductions."""
    axis = choose_axis(kernel, target)
    lanes = 1 if axis is None else kernel_lanes(kernel, target, axis)
    unroll = 1 if axis is None else side_by_side(kernel)
    cost = Estimate(kernel, target).ns(lanes)
    outer, inner = split_units([a for a in kernel.parallel if a != axis], cost)
    block = 1 if axis is None else block_size(axis, lanes * unroll, axes_size(outer), cost)
    return Plan(axis, lanes, unroll, outer, inner, block, cost_ns=cost)


def plan_reduction(kernel: Kernel, target: Target) -> Plan:
    """The plan of a kernel with row axes or accumulating stores."""
    axis = choose_axis(kernel, target)
    lanes = 1 if axis is None else kernel_lanes(kernel, target, axis)
    cost = Estimate(kernel, target).ns(lanes)
    ordered = ordered_axes(kernel)
    free = [a for a in kernel.parallel if a != axis and a not in ordered]
    outer, inner = split_units(free, cost)
    inner = tuple(a for a in kernel.parallel if a != axis and a not in outer)
    if axis is None or axis in kernel.row:
        kept = kept_values(kernel, KEEP_COST) if axis is not None else {}
        bytes_ = sum(axes_size(kernel.row) * kernel.dtypes[n].itemsize for n in kept)
        unroll = 1 if axis is None else max(side_by_side(kernel), 4 if axis.size >= 8 * lanes else 1)
        block = 1 if axis is None else axis.size
        return Plan(
            axis,
            lanes,
            unroll,
            outer,
            inner,
            block,
            kept=tuple(kept.items()) if bytes_ <= KEEP_BYTES else (),
            cost_ns=cost,
        )
    states = max(1, sum(len(v.init) for v in kernel.values if isinstance(v, Reduce)))
    unroll = max(1, target.vector_registers // 2 // states)
    step = lanes * unroll
    block = (
        axis.size
        if len(outer) and axes_size(outer) >= UNITS
        else max(step, axis.size // step * step // max(1, axis.size // step))
    )
    return Plan(axis, lanes, unroll, outer, inner, block, cost_ns=cost)


def block_size(axis: Axis, step: int, units: int, cost: float) -> int:
    """Positions of the vector axis in a unit: whole steps, so that only the last block has a remainder."""
    if units >= UNITS or cost <= SERIAL_NS or axis.size <= step:
        return axis.size
    wanted = min(-(-UNITS // units), max(1, round(cost / units / GRAIN_NS)) * 4)
    return max(step, -(-axis.size // wanted) // step * step)


def split_units(axes: Sequence[Axis], cost: float) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """The outermost axes that make enough units, and those left as loops of a unit."""
    units, count = 1, 0
    while count < len(axes) and (count == 0 or units < UNITS) and cost > SERIAL_NS:
        units *= axes[count].size
        count += 1
    return tuple(axes[:count]), tuple(axes[count:])
