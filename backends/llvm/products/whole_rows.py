"""Products whose rows are reduced: softmax(x @ w + b), a norm of a projection, the largest of each row.

In: a kernel with one product, and reductions over all of its columns. Out: one task, whose units make whole rows of
the product in memory of their own, by register tiles, and then sweep over those rows as over any others: the product
is never written to a buffer and read again. What is accumulated over rows is so for each unit, and joined by further
kernels. The order of every sum follows from the shape alone.
"""

from __future__ import annotations

from typing import NamedTuple

from graphc.dataclass import dataclass, replace
from graphc.index import Index, axes_size, flatten
from graphc.kernel import Dot, Kernel, Load, Reduce, Scan, Slot

from ...kernels.rewrite import Rewrite
from ...kernels.spread import CutAxis as Parted
from ...kernels.spread import PartialSums, state_of
from ...kernels.sweeps import needed
from ..emit.kernel_code import PARAMETERS, Lowered, NativeTask, find_slots, finish_function
from ..emit.text import Code
from ..nests.places import Integer, Point
from ..nests.plan import Estimate, NestPlan, choose_axes, kept_in_rows, kernel_lanes, side_by_side
from ..nests.reductions import emit_reduction
from ..nests.values import Values
from ..target import Target
from .blocking import DOT_TERMS, UNIT_WORK, Blocking, Tiling, block
from .contraction import Parts, Place, Product, lowered, take_tiles, write_packing
from .microkernel import MOST_ROWS, register_tile

UNITS = 24  # as many units as this can be shared evenly
# Each unit reads all of the columns' operand again. Measured with AVX-512, 64 to 4096 rows: of up to so many terms, and
# where that operand stays in half of the second cache, it takes 0 to 43 % less than a product and then its rows with
# one thread, and 2 to 24 % less with two; of 512 terms it takes as long, and where the operand does not stay, up to
# 25 % more. Columns of one tile are read again by every tile of rows anyway.
MOST_TERMS = 384


@dataclass(frozen=True)
class RowPlan:
    """How such a kernel is carried out.

    `product` computes nothing but the product, at the points that `blocking` cuts. `sweeps` are what is done with the
    rows of a unit, for the equal parts that `parted` makes of the rows' axis and then for its rest: the product is
    loaded there, from slot `held`, whose row r starts at element r·pitch. `totals` are kernels that join what units
    have accumulated in `states`.
    """

    product: Kernel
    blocking: Blocking
    parted: Parted
    pitch: int
    held: int
    sweeps: tuple[Kernel, ...]
    totals: tuple[Kernel, ...]
    states: tuple[Slot, ...]
    target: Target

    @property
    def nests(self) -> tuple[NestPlan, ...]:
        return tuple(_plan_sweeps(k, self.blocking, self.target) for k in self.sweeps)

    @property
    def cost_ns(self) -> float:
        return self.blocking.cost_ns + sum(n.cost_ns for n in self.nests)

    def __str__(self) -> str:
        rows = f"{self.parted.length} whole rows at a time, then: {self.nests[0]}"
        return f"{self.blocking}, {rows}"


class Rows(NamedTuple):
    """The product alone, how it is cut, and elements from one row that a unit holds to the next."""

    product: Kernel
    blocking: Blocking
    pitch: int


def rows_of(kernel: Kernel, target: Target) -> Rows | str:
    """How whole rows are made, or why they are not."""
    dots = [n for n, v in enumerate(kernel.values) if isinstance(v, Dot)]
    if len(dots) != 1 or any(s.scatter for s in kernel.stores) or len(kernel.row) != 1:
        return "reductions of several products, or over several axes"
    (number,), (row,), dtype = dots, kernel.row, kernel.dtypes[dots[0]]
    if any(isinstance(v, Scan) for v in kernel.values):
        return "cumulative values of a product"
    if any(isinstance(kernel.values[i], Reduce) for i in needed(kernel, [number])):
        return "a product of what is reduced"
    held, terms = {*kernel.parallel, row}, axes_size(kernel.values[number].axes)  # type: ignore[union-attr]
    if kernel.axes[number] != held or any(a.size == 0 for a in held):
        return "reductions of a product that is the same along an axis"
    tile = register_tile(target, dtype, MOST_ROWS)
    if row.size > tile.columns and (terms > MOST_TERMS or terms * row.size * dtype.itemsize > target.l2 // 2):
        return "reductions of a product that takes less time apart, since all columns would be read again for some rows"
    if terms > 2 * DOT_TERMS:
        return "reductions of a product of very many terms, which are cut into parts"
    product = _product(kernel, number)
    blocking = block(product, target)
    if blocking is None or blocking.columns.free != row:
        return "reductions of a product without tiles"
    if blocking.words and blocking.words.tiles:
        return "reductions of a product by matrix tiles"
    rows, lanes, cut = blocking.rows.free, blocking.tile.lanes, blocking.columns.cut
    over = [kernel.accumulated(s) for s in kernel.stores if kernel.accumulated(s)]
    if any(set(o) != {rows} for o in over) or (over and blocking.outer):
        return "values that are accumulated over other axes than a product's rows"
    pitch = cut.start(cut.count - 1) + -(-cut.lengths[-1] // lanes) * lanes + lanes  # neighbours in other sets
    tiles = _row_tiles(blocking, pitch, target)
    if not tiles:
        return f"reductions of rows of {row.size} elements, which are too long to be kept"
    operand = replace(blocking.rows, cut=_cut(rows.size, blocking.rows.cut, tiles))
    blocking = replace(blocking, rows=operand, row_tiles=tiles, column_tiles=cut.count)
    return Rows(replace(product, stores=()), blocking, pitch)


def _product(kernel: Kernel, number: int) -> Kernel:
    """The product alone, as if it were stored row by row."""
    new, axes = Rewrite(kernel), (*kernel.parallel, *kernel.row)
    place = flatten([Index.of(a) for a in axes], [a.size for a in axes])
    new.store(len(kernel.slots), place, new.take(number))
    return new.kernel(axes, kernel.contracted, [Slot(kernel.dtypes[number], axes_size(axes), "rows")])


def _row_tiles(blocking: Blocking, pitch: int, target: Target) -> int:
    """Tiles, one below the other, of a unit: their rows fill a quarter of the second cache at most, and there are units
    to share."""
    cut = blocking.rows.cut
    most = target.l2 // 4 // (cut.first * pitch * blocking.dtype.itemsize)
    wanted = max(1, min(UNITS, blocking.work // UNIT_WORK) // axes_size(blocking.outer))
    return min(most, -(-cut.count // wanted))


def _cut(size: int, cut: Tiling, tiles: int) -> Tiling:
    """Rows as tiles of which all units but the last have as many of full length."""
    left = cut.count - (cut.count - 1) // tiles * tiles
    return cut if cut.seconds <= left or cut.count <= tiles else Tiling.with_rest(size, cut.first)


def plan_rows(kernel: Kernel, made: Rows, target: Target) -> RowPlan:
    """The whole plan."""
    product, blocking, pitch = made
    rows, length = blocking.rows.free, min(blocking.rows.free.size, blocking.row_tiles * blocking.rows.cut.first)
    parted = Parted(rows, rows.size // length, length)
    states = {state[:2] + state[3:] for s in kernel.stores if (state := state_of(kernel, s))}
    held = len(kernel.slots) + sum(len(inputs) for _, inputs, _ in states)
    new, dtype = Rewrite(kernel), blocking.dtype
    for number, value in enumerate(kernel.values):
        if isinstance(value, Dot):
            place = Index.of(rows) * pitch + Index.of(kernel.row[0])
            new.numbers[number] = new.append(Load(held, place, (), dtype))
    for store in kernel.stores:
        new.keep(store)
    cut = PartialSums(new.kernel(kernel.parallel, kernel.row), parted, [])
    parts, totals = cut.parts(), tuple(cut.totals())
    slots = (*kernel.slots, *cut.scratch)
    whole = (*slots, Slot(dtype, rows.size * pitch, "rows"))
    return RowPlan(
        replace(product, slots=slots), blocking, parted, pitch, held,
        tuple(replace(p, slots=whole) for p in parts), totals, tuple(cut.scratch), target,
    )  # fmt: skip


def _plan_sweeps(kernel: Kernel, blocking: Blocking, target: Target) -> NestPlan:
    """How the rows of a unit are swept: vectors go along a row, or across short ones."""
    part, *_, within = kernel.parallel
    outer, row = (*blocking.outer, part), kernel.row[0]
    axis, tile = choose_axes(kernel, target, (within, row))
    if axis is None:
        return NestPlan(None, 1, 1, outer, (within,), 1, cost_ns=Estimate(kernel, target).ns(1))
    lanes = kernel_lanes(kernel, target, axis)
    cost = Estimate(kernel, target).ns(lanes)
    if axis == row:
        unroll = max(side_by_side(kernel), 4 if axis.size >= 8 * lanes else 1)
        return NestPlan(axis, lanes, unroll, outer, (within,), axis.size, kept=kept_in_rows(kernel), cost_ns=cost)
    return NestPlan(axis, lanes, 1, outer, (), axis.size, tile, tile.size if tile else 1, cost_ns=cost)


def lower_rows(plan: RowPlan, name: str) -> Lowered:
    """Generate the code of the units; symbols begin with `name`. What they accumulate is left to `plan.totals`."""
    parts = Parts(plan.product, plan.blocking, plan.target, name)
    for operand in plan.blocking.operands:
        if operand.packed:
            write_packing(parts, operand)
    take_tiles(parts, plan.pitch)
    slots = (*range(len(plan.product.slots)), *parts.panels.values())
    names = [_write_sweeps(parts, plan, n) for n in range(len(plan.sweeps))]
    code = Code()
    product = _Rows(parts, code, plan, names)
    product.write()
    parts.add(finish_function(name, code, slots), code, product.values.reports)
    blocking = plan.blocking
    parts.tasks.append(
        NativeTask(name, slots, blocking.units, blocking.grain, blocking.serial, cost_ns=plan.cost_ns)
    )
    return lowered(parts, str(plan))


def _write_sweeps(parts: Parts, plan: RowPlan, number: int) -> str:
    """The function that does the units [%low, %high) of some rows, of which the products are there."""
    kernel, nest, code = plan.sweeps[number], plan.nests[number], Code()
    values = Values(kernel, nest.axis, nest.lanes, code, plan.target)
    emit_reduction(values, nest)
    find_slots(code, range(plan.held))  # panels come behind these
    code.do("ret void")
    name = f"{parts.name}_rows{number}"
    text = code.function(f"internal void @{name}({PARAMETERS}, ptr %s{plan.held})")
    parts.add(text, code, values.reports)
    return name


class _Rows(Product):
    """The loops over units and tiles, with sums row by row in a unit's memory."""

    def __init__(self, parts: Parts, code: Code, plan: RowPlan, names: list[str]) -> None:
        super().__init__(parts, code)
        self.plan = plan
        self.names = names

    @property
    def sums_size(self) -> int:
        return self.plan.parted.length * self.plan.pitch

    def sums(self, memory: str, row: tuple[Integer, Integer, Place], column: tuple[Integer, Integer, Place]) -> str:
        code, (_, first, left), (*_, right) = self.code, row, column
        down = code.subtract(left.start, code.multiply(first, self.blocking.rows.cut.first))
        return code.element(memory, self.parts.scalar, code.add(code.multiply(down, self.plan.pitch), right.start))

    def finish_tile(self, frame: Point, left: Place, right: Place, sums: str) -> None:
        """Nothing: rows are not complete yet."""

    def finish_unit(self, frame: Point, unit: Integer, row_block: Integer, memory: str) -> None:
        code, parted = self.code, self.plan.parted
        first = code.multiply(row_block, -parted.length * self.plan.pitch)
        rows = code.element(memory, self.parts.scalar, first)  # where row 0 would be
        if len(self.names) == 1:
            return self._sweep(self.names[0], unit, rows)
        place, _ = code.divide(unit, parted.total)
        with code.when(code.let(f"icmp slt i64 {row_block}, {parted.parts}")):
            self._sweep(self.names[0], code.subtract(unit, place), rows)
        with code.when(code.let(f"icmp eq i64 {row_block}, {parted.parts}")):
            self._sweep(self.names[1], place, rows)

    def _sweep(self, name: str, unit: Integer, rows: str) -> None:
        end = self.code.add(unit, 1)
        self.code.do(
            f"call void @{name}(ptr %buffers, ptr %slots, i64 {unit}, i64 {end}, i64 %task, ptr %context, ptr {rows})"
        )

