"""Contractions: matrix products as register tiles in cache blocks, with whatever follows fused into each tile.

In: a kernel with a `Dot`, and its `Blocking`. Out: the tasks: operands packed into panels where that pays, then the
product. A tile's sums are left in tile memory; the epilogue reads them back row by row, computes the kernel's other
values at those places and stores. The order of every sum follows from the shape alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from graphc.dataclass import dataclass, field
from graphc.index import axes_size
from graphc.kernel import Kernel, Load, Slot

from ..emit.kernel_code import Lowered, NativeTask, finish_function
from ..emit.shared import Shared
from ..emit.text import Code, register_type
from ..nests.places import Integer, Point
from ..nests.plan import BYTE_NS
from ..nests.values import Values
from ..target import Target
from .blocking import Blocking, Factor, Tiling
from .epilogue import Epilogue
from .matrix_tile import configure, release, shared_matrix_tiles
from .microkernel import SIGNATURE, shared_tiles, sums_in_blocks
from .packing import Packing, packing_grain, packing_units
from .units import tile_place, unit_loop, unit_place

if TYPE_CHECKING:
    from .tile_packing import TilePacking


def lower_contraction(kernel: Kernel, blocking: Blocking, target: Target, name: str) -> Lowered:
    """Generate the code of a contraction; its symbols begin with `name`."""
    parts = Parts(kernel, blocking, target, name)
    for operand in blocking.operands:
        if operand.packed:
            write_packing(parts, operand)
    _write_product(parts)
    return lowered(parts, str(blocking))


def lowered(parts: Parts, plan: str) -> Lowered:
    """What was put together."""
    return Lowered(
        tuple(parts.functions),
        tuple(parts.tasks),
        frozenset(parts.declarations),
        frozenset(parts.notes),
        plan,
        parts.reports,
        tuple(parts.scratch),
        tuple(parts.tiles.values()),
    )


@dataclass
class Parts:
    """What is being put together. `panels`: the slot that holds an operand's panels, by the operand's value. `tiles`:
    by their columns."""

    kernel: Kernel
    blocking: Blocking
    target: Target
    name: str
    functions: list[str] = field(default_factory=list)
    tasks: list[NativeTask] = field(default_factory=list)
    scratch: list[Slot] = field(default_factory=list)
    panels: dict[int, int] = field(default_factory=dict)
    tiles: dict[int, Shared] = field(default_factory=dict)
    declarations: set[str] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)
    reports: bool = False

    @property
    def scalar(self) -> str:
        return register_type(self.blocking.dtype, 1)

    def add(self, text: str, code: Code, reports: bool = False) -> None:
        """A finished function."""
        self.functions.append(text)
        self.declarations |= code.declarations
        self.notes |= code.notes
        self.reports |= reports


def write_packing(parts: Parts, operand: Factor) -> None:
    """The task that packs an operand, and the memory for its panels."""
    kernel, blocking = parts.kernel, parts.blocking
    slot = len(kernel.slots) + len(parts.scratch)
    code = Code()
    packing = _packing(operand, blocking)(kernel, parts.target, blocking, operand, code)
    reads = sorted({v.slot for i in packing.needed for v in (kernel.values[i],) if isinstance(v, Load)})
    packing.write(f"%s{slot}")
    symbol = f"{parts.name}_pack{len(parts.scratch)}"
    parts.add(finish_function(symbol, code, [*reads, slot]), code, packing.reports)
    size = axes_size(operand.outer) * operand.packed_size(blocking.depth)
    parts.scratch.append(Slot(blocking.dtype, size, f"panels of v{operand.value}"))
    parts.panels[operand.value] = slot
    prepares = len(reads) == 1 and not packing.reports
    units, grain = packing_units(operand), packing_grain(operand, blocking.depth)
    cost = 2 * size * blocking.dtype.itemsize * BYTE_NS  # read and written
    parts.tasks.append(NativeTask(symbol, (*reads, slot), units, grain, blocking.serial, prepares, cost))


def _packing(operand: Factor, blocking: Blocking) -> type[Packing | TilePacking]:
    """What writes the panels of an operand."""
    if operand.vectors or blocking.words is None or not blocking.words.tiles:
        return Packing
    from .tile_packing import TilePacking

    return TilePacking


def _write_product(parts: Parts) -> None:
    """The task that multiplies, and the tiles that it calls."""
    blocking = parts.blocking
    slots = (*range(len(parts.kernel.slots)), *parts.panels.values())
    take_tiles(parts, blocking.tile.columns)
    code = Code()
    epilogue = Epilogue(parts.kernel, parts.target, blocking, code)
    parts.add(epilogue.write(_epilogue_name(parts), slots), code, epilogue.reports)
    code = Code()
    product = Product(parts, code)
    product.write()
    parts.add(finish_function(parts.name, code, slots), code, product.values.reports)
    parts.tasks.append(
        NativeTask(parts.name, slots, blocking.units, blocking.grain, blocking.serial, cost_ns=blocking.cost_ns)
    )


def take_tiles(parts: Parts, pitch: int) -> None:
    """The tiles that are called. `pitch`: from one row of sums to the next."""
    for columns in parts.blocking.columns.cut.lengths:
        parts.tiles[columns] = _tiles(parts, columns, pitch)
        names = [_tile_name(parts, rows, columns) for rows in parts.blocking.rows.cut.lengths]
        parts.declarations |= {f"declare {SIGNATURE.format(name)}" for name in names}


def _tiles(parts: Parts, columns: int, pitch: int) -> Shared:
    """The tiles of so many columns."""
    plan = parts.blocking
    adds, rows = plan.chunks > 1, plan.rows.cut.lengths
    if plan.words and plan.words.tiles:
        return shared_matrix_tiles(plan.tile, adds, plan.words, rows, columns)
    in_blocks = sums_in_blocks(plan.dtype, plan.chunk)
    return shared_tiles(parts.target, plan.dtype, plan.tile, adds, in_blocks, plan.words, rows, columns, pitch)


def _tile_name(parts: Parts, rows: int, columns: int) -> str:
    return f"{parts.tiles[columns].name}_{rows}x{columns}"


def _epilogue_name(parts: Parts) -> str:
    return f"{parts.name}_epilogue"


@dataclass(frozen=True)
class _Chunk:
    """A chunk of k: from `start`, `depth` long. `last` is empty where there is only one."""

    start: Integer
    depth: Integer
    first: str
    last: str


@dataclass(frozen=True)
class Place:
    """A tile of one operand: where it starts on the free axis, the address of its first element, its length, and
    whether it is one of the cut's `firsts` (empty: it always is)."""

    start: Integer
    address: str
    length: Integer
    is_first: str


class Product:
    """Writes the loops over units, chunks of k and tiles."""

    def __init__(self, parts: Parts, code: Code) -> None:
        self.parts = parts
        self.blocking = parts.blocking
        self.code = code
        self.values = Values(parts.kernel, None, 1, code, parts.target)

    def write(self) -> None:
        code, blocking = self.code, self.blocking
        memory = code.alloca(self.parts.scalar, self.sums_size)
        in_tiles = blocking.words is not None and blocking.words.tiles
        if in_tiles:
            configure(code)
        row_blocks, column_blocks = blocking.blocks
        with unit_loop(code, blocking.units) as unit:
            block, frame, _ = unit_place(code, unit.index, row_blocks * column_blocks, blocking.outer)
            column_block, row_block = code.divide(block, row_blocks)
            rows = self._tiles(row_block, blocking.row_tiles, blocking.rows.cut)
            columns = self._tiles(column_block, blocking.column_tiles, blocking.columns.cut)
            bases = self._base(blocking.rows, frame), self._base(blocking.columns, frame)
            with self._chunks() as chunk, code.loop(*columns) as column:
                right = self._place(blocking.columns, bases[1], column.index, chunk.start)
                with code.loop(*rows) as row:
                    left = self._place(blocking.rows, bases[0], row.index, chunk.start)
                    sums = self.sums(memory, (row.index, rows[0], left), (column.index, columns[0], right))
                    self._multiply(left, right, sums, chunk)
                    with code.when(chunk.last) if chunk.last else nullcontext():
                        self.finish_tile(frame, left, right, sums)
            self.finish_unit(frame, unit.index, row_block, memory)
        if in_tiles:
            release(code)

    @property
    def sums_size(self) -> int:
        """Elements of memory that a unit's sums take."""
        return self.blocking.sums_size

    def _tiles(self, block: Integer, tiles: int, cut: Tiling) -> tuple[Integer, Integer]:
        """The range of tiles of a block."""
        low = self.code.multiply(block, tiles)
        return low, self.code.minimum(self.code.add(low, tiles), cut.count)

    def _base(self, operand: Factor, frame: Point) -> str:
        """The address of an operand's first element at the outer axes' positions."""
        code = self.code
        if operand.packed:
            place: Integer = 0
            for axis in operand.outer:
                place = code.add(code.multiply(place, axis.size), frame.axes[axis])
            offset = code.multiply(place, operand.packed_size(self.blocking.depth))
            return code.element(f"%s{self.parts.panels[operand.value]}", self.parts.scalar, offset)
        load = self.parts.kernel.values[operand.value]
        assert isinstance(load, Load)
        (k,) = self.blocking.contracted
        origin = load.index.without(operand.free).without(k)
        return self.values.address(load.slot, self.values.index(frame, origin))

    @contextmanager
    def _chunks(self) -> Iterator[_Chunk]:
        code, blocking = self.code, self.blocking
        if blocking.chunks == 1:
            yield _Chunk(0, blocking.depth, "true", "")
            return
        with code.loop(0, blocking.depth, blocking.chunk) as k:
            rest = code.subtract(blocking.depth, k.index)
            first = code.let(f"icmp eq i64 {k.index}, 0")
            last = code.let(f"icmp sle i64 {rest}, {blocking.chunk}")
            yield _Chunk(k.index, code.minimum(rest, blocking.chunk), first, last)

    def _place(self, operand: Factor, base: str, tile: Integer, k: Integer) -> Place:
        code, cut = self.code, operand.cut
        start, length = tile_place(code, cut, tile)
        is_first = code.let(f"icmp slt i64 {tile}, {cut.firsts}") if cut.seconds else ""
        strides = operand.tile_strides
        offset = code.multiply(k, strides.depth)
        if operand.packed:
            offset = code.add(code.multiply(tile, operand.width * self.blocking.depth), offset)
        else:
            offset = code.add(code.multiply(start, strides.free), offset)
        return Place(start, code.element(base, self.parts.scalar, offset), length, is_first)

    def sums(self, memory: str, row: tuple[Integer, Integer, Place], column: tuple[Integer, Integer, Place]) -> str:
        """The memory of one tile. Rows and columns come with the first of their block, and where they are."""
        code, blocking = self.code, self.blocking
        if blocking.chunks == 1:
            return memory
        down, across = (code.subtract(tile, first) for tile, first, _ in (row, column))
        number = code.add(code.multiply(across, blocking.row_tiles), down)
        return code.element(memory, self.parts.scalar, code.multiply(number, blocking.tile.size))

    def _multiply(self, left: Place, right: Place, sums: str, chunk: _Chunk) -> None:
        widths = self.blocking.columns.cut.lengths
        tile = self._choose(
            left,
            [
                self._choose(right, [f"@{_tile_name(self.parts, rows, columns)}" for columns in widths])
                for rows in self.blocking.rows.cut.lengths
            ],
        )
        a, b = self.blocking.rows.tile_strides, self.blocking.columns.tile_strides
        strides = ", ".join(f"i64 {n}" for n in (a.free, a.depth, b.depth))
        self.code.do(
            f"call void {tile}(ptr {left.address}, ptr {right.address}, ptr {sums}, "
            f"i64 {chunk.depth}, i1 {chunk.first}, {strides})"
        )

    def finish_tile(self, frame: Point, left: Place, right: Place, sums: str) -> None:
        """What a tile's sums become."""
        outer = "".join(f", i64 {frame.axes[a]}" for a in self.blocking.outer)
        self.code.do(
            f"call void @{_epilogue_name(self.parts)}(ptr %buffers, ptr %slots, i64 %task, ptr %context, ptr {sums}, "
            f"i64 {left.length}, i64 {right.length}, i64 {left.start}, i64 {right.start}{outer})"
        )

    def finish_unit(self, frame: Point, unit: Integer, row_block: Integer, memory: str) -> None:
        """What is left to do when a unit has all of its sums."""

    def _choose(self, place: Place, names: Sequence[str]) -> str:
        """The function for the tile's length: all kinds have one signature."""
        if len(names) == 1 or names[0] == names[1]:
            return names[0]
        return self.code.let(f"select i1 {place.is_first}, ptr {names[0]}, ptr {names[1]}")
