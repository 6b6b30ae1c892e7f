"""A kernel's Plan: the choices of this backend for one kernel, which never change what it means.

In: a loop or reduction kernel and the machine. Out: the axis that vectors run along, how many stand side by side,
what a work unit is, and what all that is expected to cost. Emits no code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from graphc.cached import cached_property
from graphc.dataclass import dataclass
from graphc.index import Axis, Index, axes_size
from graphc.kernel import Accumulate, Apply, Kernel, Load, Reduce, Scan
from graphc.types import DType

from ...kernels.sweeps import kept_values, ordered_axes, reductions
from ..target import Target

SERIAL_NS = 8_000.0  # below this, sharing costs more than it gains
GRAIN_NS = 5_000.0  # the least work worth handing out: an atomic add and a fetched line cost 0.1 µs
GRAINS = 64  # into how many pieces large work is cut, so that a preempted thread delays little
UNITS = 256  # as many units as this need no finer ones
BYTE_NS = 0.1  # per byte moved, one thread
OPERATION_NS = 0.25  # per vector instruction
KEEP_COST = 8  # instructions an element must cost to be kept for a later pass over the row
UNROLLED_ROW = 16  # the longest row across the lanes that is kept in registers
UNROLLED_COST = 512  # instructions of all its points at most
WIDE_ROWS = 8  # lines that meet the states in memory at once
WIDE_LINE = 512  # columns that make reading line by line worth while
WIDE_COST = 32  # beyond this many instructions for a point, memory is not what columns wait for
TILE_BLOCK = 128  # positions of both axes in a unit of transposed tiles
KEEP_BYTES = 1 << 16  # the most a row buffer may take of a thread's stack


@dataclass(frozen=True)
class NestPlan:
    """How a kernel is carried out.

    A work unit is one point of the axes `outer`, times one block of `block` positions on the vector axis and one of
    `tile_block` on the tile axis.
    `inner` axes are loops of a unit, outermost first; the row axes of a reduction are not among them.
    `tile` is an axis along which loads or stores are contiguous where they are not along the vector axis: blocks of
    lanes × lanes elements are transposed in registers. `kept` are values held in a row buffer for later sweeps, each
    with the level of the sweep that computes it. With `rows_at_once`, rows across the lanes are read line by line, so
    many together, and states lie in memory.
    """

    axis: Axis | None
    lanes: int
    unroll: int
    outer: tuple[Axis, ...]
    inner: tuple[Axis, ...]
    block: int
    tile: Axis | None = None
    tile_block: int = 1
    rows_at_once: int = 0
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
    def step(self) -> int:
        """Positions on the vector axis that a body does."""
        return self.lanes * self.unroll

    @property
    def tile_blocks(self) -> int:
        return 1 if self.tile is None else -(-self.tile.size // self.tile_block)

    @property
    def units(self) -> int:
        return axes_size(self.outer) * self.tile_blocks * self.blocks

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
        if self.rows_at_once:
            text += f", {self.rows_at_once} rows at once line by line"
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
            elif isinstance(value, Reduce | Scan | Accumulate):
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


def is_tiled(index: Index, lanes: Axis, tile: Axis) -> bool:
    """Whether elements are neighbours along `tile` and a fixed distance apart along `lanes`."""
    if not (index.is_linear_in(lanes) and index.is_linear_in(tile)):
        return False
    return index.coefficient(tile) == 1 and index.coefficient(lanes) not in (0, 1, -1)


def access_cost(index: Index, axis: Axis, lanes: int, tile: Axis | None) -> float:
    """Instructions for an access at all its points: one a vector where lanes are neighbours, about two a lane where
    they are not, one for all lanes where they are the same; log₂ lanes more where a tile is transposed."""
    points = axes_size(index.axes)
    if axis not in index.axes:
        return points
    vectors = points / axis.size * -(-axis.size // lanes)
    if not index.is_linear_in(axis):
        return vectors * 4 * lanes
    if tile is not None and is_tiled(index, axis, tile):
        return vectors / tile.size * -(-tile.size // lanes) * lanes * lanes.bit_length()
    return vectors * {1: 1, -1: 2}.get(index.coefficient(axis), 2 * lanes)


def axis_cost(kernel: Kernel, axis: Axis, lanes: int, tile: Axis | None) -> float:
    """Instructions that a kernel takes with vectors along an axis."""
    total = 0.0
    for value, axes in zip(kernel.values, kernel.axes, strict=True):
        if isinstance(value, Load):
            total += access_cost(value.index, axis, lanes, tile)
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
        elif isinstance(value, Scan):
            vectors = -(-axis.size // lanes) / axis.size if axis in axes else 1
            steps = lanes.bit_length() if axis in value.axes else 1   # lanes are combined in so many steps
            total += (value.combine.cost + 2 * (steps > 1)) * steps * axes_size(axes) * vectors
    for s in kernel.stores:
        if over := kernel.accumulated(s):  # loaded and stored at every point, and never as a tile
            total += 2 * axes_size(over) * access_cost(s.index, axis, lanes, None)
        else:
            total += access_cost(s.index, axis, lanes, tile)
    return total


def choose_axes(
    kernel: Kernel, target: Target, among: Iterable[Axis] | None = None
) -> tuple[Axis | None, Axis | None]:
    """The axis along which vectors cost least, the last of equals, and the tile axis that goes with it.

    None where no axis is longer than 1, or all that are have to be done point after point. Tiles lie across the row
    or, where there is none, across parallel axes: along the row there is nothing to put the tile's lines to.
    """
    ordered = ordered_axes(kernel)
    best: tuple[Axis | None, Axis | None] = None, None
    least = math.inf
    for axis in (*kernel.parallel, *kernel.row) if among is None else among:
        if axis.size == 1 or axis in ordered or (kernel.in_order and axis in kernel.row[:-1]):
            continue
        lanes = kernel_lanes(kernel, target, axis)
        across = () if axis in kernel.row else kernel.row or kernel.parallel
        across = across[-1:] if kernel.in_order else across
        for tile in (None, *(t for t in across if t != axis and t not in ordered and t.size > 2)):
            cost = axis_cost(kernel, axis, lanes, tile)
            if cost < least or (cost == least and tile is None):
                best, least = (axis, tile), cost
    return best


def point_cost(kernel: Kernel) -> int:
    """Instructions of all recipes together."""
    return sum(v.recipe.cost for v in kernel.values if isinstance(v, Apply))


def side_by_side(kernel: Kernel) -> int:
    """How many vectors a loop's body holds: fewer of costly ones, whose code is long and hides latency by itself."""
    cost = point_cost(kernel)
    return 4 if cost < 16 else 2 if cost < 64 else 1


def plan_loop(kernel: Kernel, target: Target) -> NestPlan:
    """The plan of a kernel without reductions."""
    axis, tile = choose_axes(kernel, target)
    if axis is None:
        return plan_scalars(kernel, target)
    lanes = kernel_lanes(kernel, target, axis)
    cost = Estimate(kernel, target).ns(lanes)
    outer, inner = split_units([a for a in kernel.parallel if a not in (axis, tile)], cost)
    if tile is None:
        unroll = side_by_side(kernel)
        block = block_size(axis, lanes * unroll, axes_size(outer), cost)
        return NestPlan(axis, lanes, unroll, outer, inner, block, cost_ns=cost)
    # Whole cache lines along the tile axis, and few pages at a time along the other.
    block, tile_block = (TILE_BLOCK // lanes * lanes if cost > SERIAL_NS else a.size for a in (axis, tile))
    return NestPlan(axis, lanes, 1, outer, inner, block, tile, tile_block, cost_ns=cost)


def plan_scalars(kernel: Kernel, target: Target) -> NestPlan:
    """The plan of a kernel that no vectors suit."""
    cost = Estimate(kernel, target).ns(1)
    ordered = ordered_axes(kernel)
    outer, _ = split_units([a for a in kernel.parallel if a not in ordered], cost)
    return NestPlan(None, 1, 1, outer, tuple(a for a in kernel.parallel if a not in outer), 1, cost_ns=cost)


def plan_reduction(kernel: Kernel, target: Target) -> NestPlan:
    """The plan of a kernel with row axes, that accumulates or scatters."""
    axis, tile = choose_axes(kernel, target)
    if axis is None:
        return plan_scalars(kernel, target)
    lanes = kernel_lanes(kernel, target, axis)
    cost = Estimate(kernel, target).ns(lanes)
    ordered = ordered_axes(kernel)
    outer, _ = split_units([a for a in kernel.parallel if a != axis and a not in ordered], cost)
    inner = tuple(a for a in kernel.parallel if a != axis and a not in outer)
    if axis in kernel.row:
        unroll = max(side_by_side(kernel), 4 if axis.size >= 8 * lanes else 1)
        return NestPlan(axis, lanes, unroll, outer, inner, axis.size, kept=kept_in_rows(kernel), cost_ns=cost)
    states = max(1, sum(len(v.init) for v in kernel.values if isinstance(v, Reduce | Scan)))
    unroll = max(1, target.vector_registers // 2 // states)
    if tile is not None:
        unroll = 1
    elif is_unrolled(kernel):
        unroll = max(1, min(unroll, target.vector_registers // 2 // axes_size(kernel.row)))
    if tile is None and is_wide(kernel, axis, lanes * unroll):
        block = wide_block(kernel, target, axis, 2 * lanes)
        return NestPlan(axis, lanes, 2, outer, inner, block, rows_at_once=WIDE_ROWS, cost_ns=cost)
    block = block_size(axis, lanes * unroll, axes_size(outer), cost)
    return NestPlan(axis, lanes, unroll, outer, inner, block, tile, tile.size if tile else 1, cost_ns=cost)


def is_wide(kernel: Kernel, axis: Axis, step: int) -> bool:
    """Whether columns that vectors walk down are better read line by line: there are more than fit into registers,
    and only one sweep reduces, so that no line is read twice for it."""
    return (
        bool(kernel.row)
        and not kernel.in_order
        and axis.size > 2 * step
        and kernel.row[-1].size >= 4 * WIDE_ROWS
        and max(kernel.levels) == 1
        and point_cost(kernel) < WIDE_COST
        and all(kernel.axes[n] >= {axis} for n in reductions(kernel))
    )


def wide_block(kernel: Kernel, target: Target, axis: Axis, step: int) -> int:
    """Columns of a unit: enough for long lines, enough units, and states that take half of the first cache at most."""
    state = sum(c.dtype.itemsize for v in kernel.values if isinstance(v, Reduce) for c in v.init)
    width = min(target.l1 // 2 // state, max(WIDE_LINE, axis.size // 8))
    return -(-axis.size // -(-axis.size // width) // step) * step


def is_unrolled(kernel: Kernel) -> bool:
    """Whether rows across the lanes are so short that each point has registers of its own."""
    return len(kernel.row) == 1 and kernel.row[0].size <= min(
        UNROLLED_ROW, UNROLLED_COST // (1 + point_cost(kernel))
    )


def kept_in_rows(kernel: Kernel) -> tuple[tuple[int, int], ...]:
    """The values that a row buffer keeps, where they fit."""
    kept = kept_values(kernel, KEEP_COST)
    size = sum(axes_size(kernel.row) * kernel.dtypes[n].itemsize for n in kept)
    return tuple(kept.items()) if size <= KEEP_BYTES else ()


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
