"""How a contraction is cut into register tiles and cache blocks, and which operands are packed.

In: a kernel with a `Dot`, and a target. Out: a `Blocking`, or None where the kernel has no two axes to tile.
Emits nothing. Nothing here depends on the number of threads, so results don't either.
"""

from __future__ import annotations

from graphc.dataclass import dataclass, replace
from graphc.index import Axis, Index, axes_size
from graphc.kernel import Dot, Kernel, Load
from graphc.types import DType

from ..target import Target
from .matrix_tile import CHUNK, TILE_SPEED, matrix_tile
from .microkernel import MOST_ROWS, Strides, Tile, register_tile
from .words import Words, words_for

# Measured on one core with AVX2 at 100 GFLOP/s; what they weigh against each other scales alike elsewhere.
FEW_COLUMNS = 4  # up to so many, products of operands that lie along k are better summed vector by vector
PACKED_REUSE = 8  # a panel that fewer tiles read is not worth copying
PACKED_ROWS = 4  # rows that lie along k are read in place unless they are at least as many tiles …
PACKED_COLUMNS = 512  # … at least this many columns repay the copy …
PACKED_DEPTH = 128  # … and so much of k keeps a tile from being all prologue
PLACED_DEPTH = 128  # columns in place that span many pages: so few of k that the next panel finds the pages again
PLACED_TILES = 4  # … and at least so many panels next to each other
PANEL_ROWS = 8  # panels of rows are as wide as the power of two above a tile's rows
DOT_TERMS = 1 << 14  # about so many terms has a part of a product that sums up more than twice as many
UNIT_WORK = 1 << 18  # multiply-adds: the least that is worth handing out …
UNIT_NS = 3_500.0  # … and what they take: 2,800 to 4,400 measured, from 128³ to 1024³, by one thread with AVX-512
UNITS = 128  # as many units as this need no smaller ones


@dataclass(frozen=True)
class Tiling:
    """An axis cut into `firsts` tiles of `first` elements and then `seconds` tiles of `second`, not longer ones."""

    first: int
    firsts: int
    second: int = 0
    seconds: int = 0

    @property
    def count(self) -> int:
        return self.firsts + self.seconds

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths that occur, longest first."""
        return (self.first, self.second) if self.seconds else (self.first,)

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """How many tiles there are of which length."""
        return tuple((n, size) for n, size in ((self.firsts, self.first), (self.seconds, self.second)) if n)

    def start(self, tile: int) -> int:
        """Where a tile starts."""
        return tile * self.first - max(0, tile - self.firsts) * (self.first - self.second)

    @staticmethod
    def evenly(size: int, most: int) -> Tiling:
        """Tiles of at most `most` whose lengths differ by one at most: no narrow tile is left at the end."""
        count = -(-size // most)
        length, longer = divmod(size, count)
        return Tiling(length + 1, longer, length, count - longer) if longer else Tiling(length, count)

    @staticmethod
    def with_rest(size: int, length: int) -> Tiling:
        """Tiles of `length`, and what is left."""
        full, rest = divmod(size, length)
        if not full:
            return Tiling(rest, 1)
        return Tiling(length, full, rest, 1 if rest else 0)


@dataclass(frozen=True)
class Factor:
    """One side of the product.

    `free` is the tiled axis that only it varies over, `outer` are its other axes that are not contracted.
    `strides` says how it lies in memory, if tiles could read it there. `vectors` is whether tiles read it by whole
    vectors (columns) or by single elements (rows). Panels are padded to whole vectors of `lanes`. `element` is the
    dtype that is multiplied. Where k goes by words, strides, widths and sizes count words.
    """

    value: int
    element: DType
    free: Axis
    outer: tuple[Axis, ...]
    strides: Strides | None
    cut: Tiling
    lanes: int
    vectors: bool
    packed: bool = False

    @property
    def lies_along_k(self) -> bool:
        return self.strides is not None and self.strides.depth == 1

    @property
    def width(self) -> int:
        """Elements from one k to the next in a panel."""
        return -(-self.cut.first // self.lanes) * self.lanes

    @property
    def tile_strides(self) -> Strides:
        """How tiles find the elements."""
        if self.packed:
            return Strides(1, self.width)
        assert self.strides is not None
        return self.strides

    def packed_size(self, depth: int) -> int:
        """Elements of all panels at one point of the outer axes."""
        return self.cut.count * self.width * depth


@dataclass(frozen=True)
class Blocking:
    """The plan of a contraction: `rows` and `columns` are its operands.

    A work unit is a block of `row_tiles` × `column_tiles` register tiles at one point of the outer axes. Its sums are
    made in chunks of `chunk` along k, so that a chunk of a column panel stays in the first cache. With `words`, k goes
    by words of several neighbours, which are as large as an element of `dtype`: `depth` and `chunk` count those.
    """

    dot: int
    dtype: DType
    outer: tuple[Axis, ...]
    contracted: tuple[Axis, ...]
    rows: Factor
    columns: Factor
    tile: Tile
    chunk: int
    row_tiles: int
    column_tiles: int
    words: Words | None = None

    @property
    def operands(self) -> tuple[Factor, Factor]:
        return self.rows, self.columns

    @property
    def depth(self) -> int:
        """Elements (or words) along k, all contracted axes as one. What is missing of the last words is 0."""
        return axes_size(self.contracted[:-1]) * self.steps if self.contracted else 1

    @property
    def steps(self) -> int:
        """Elements (or words) along the last contracted axis."""
        step = self.words.step if self.words else 1
        return -(-self.contracted[-1].size // (self.word * step)) * step

    @property
    def word(self) -> int:
        """Elements of a word; 1 where k goes by single ones."""
        return self.words.size if self.words else 1

    @property
    def chunks(self) -> int:
        return -(-self.depth // self.chunk)

    @property
    def blocks(self) -> tuple[int, int]:
        """Row blocks and column blocks."""
        return -(-self.rows.cut.count // self.row_tiles), -(-self.columns.cut.count // self.column_tiles)

    @property
    def sums_size(self) -> int:
        """Elements of tile memory: a tile, or all of a block where each chunk of k adds to them."""
        return self.tile.size * (self.row_tiles * self.column_tiles if self.chunks > 1 else 1)

    @property
    def units(self) -> int:
        return axes_size(self.outer) * self.blocks[0] * self.blocks[1]

    @property
    def work(self) -> int:
        """Multiply-adds; one takes a word. Instructions on tiles take several in the time of one."""
        speed = TILE_SPEED if self.words and self.words.tiles else 1
        return axes_size(self.outer) * self.rows.free.size * self.columns.free.size * self.depth // speed

    @property
    def cost_ns(self) -> float:
        """What one thread takes, roughly."""
        return self.work / UNIT_WORK * UNIT_NS

    @property
    def serial(self) -> bool:
        """Whether there is less to do than sharing it costs."""
        return self.work < 2 * UNIT_WORK

    @property
    def grain(self) -> int:
        """Units to hand out at a time."""
        return max(1, self.units // max(1, min(UNITS, self.work // UNIT_WORK)))

    def __str__(self) -> str:
        def side(operand: Factor) -> str:
            lengths = " + ".join(f"{n}·{length}" for n, length in operand.cut.parts)
            return f"{operand.free.name}:{lengths} {'packed' if operand.packed else 'in place'}"

        return (
            f"rows {side(self.rows)}, columns {side(self.columns)}, k {axes_size(self.contracted)} in chunks of "
            f"{self.chunk * self.word}, {f'{self.word} at a time, ' if self.words else ''}"
            f"blocks of {self.row_tiles}×{self.column_tiles} tiles, {self.units} units"
        )


def block(kernel: Kernel, target: Target) -> Blocking | None:
    """The plan, or None where there are no tiles: one side has no axis of its own, as in a matrix–vector product,
    which is a reduction; or more is summed than the one product."""
    dots = [(i, v) for i, v in enumerate(kernel.values) if isinstance(v, Dot)]
    if len(dots) != 1 or kernel.row or kernel.accumulates:
        return None
    ((number, dot),) = dots
    sides = _sides(kernel, dot)
    if sides is None or any(a.size == 0 for a in (*kernel.parallel, *dot.axes)):
        return None
    (left, row_axis), (right, column_axis) = sides
    words = _words(kernel, dot, (left, right), target)
    elements = words.elements if words else (dot.dtype, dot.dtype)
    if words and words.tiles:
        tile = matrix_tile(row_axis.size, column_axis.size)
        row_cut = Tiling.with_rest(row_axis.size, tile.rows)
    else:
        row_cut = Tiling.evenly(row_axis.size, MOST_ROWS)
        tile = register_tile(target, dot.dtype, row_cut.first)
    column_cut = Tiling.with_rest(column_axis.size, tile.columns)
    outer = tuple(a for a in kernel.parallel if a not in (row_axis, column_axis))

    def operand(value: int, free: Axis, cut: Tiling, vectors: bool) -> Factor:
        mine = tuple(a for a in outer if a in kernel.axes[value])
        in_vectors = vectors or (words is not None and words.tiles)
        lanes = tile.lanes if in_vectors else min(tile.lanes, PANEL_ROWS)
        element = elements[vectors]
        strides = _strides(kernel, value, element, free, dot.axes, words)
        return Factor(value, element, free, mine, strides, cut, lanes, vectors)

    rows, columns = operand(left, row_axis, row_cut, False), operand(right, column_axis, column_cut, True)
    if column_axis.size <= FEW_COLUMNS and rows.lies_along_k and columns.lies_along_k and not words:
        return None
    depth = axes_size(dot.axes) // (words.size if words else 1)
    tiles = words is not None and words.tiles
    rows = replace(rows, packed=tiles or _is_worth_packing(rows, columns, depth, dot.dtype, target))
    columns = replace(columns, packed=tiles or _is_worth_packing(columns, rows, depth, dot.dtype, target))
    counts = rows.cut.count, columns.cut.count
    plan = Blocking(number, dot.dtype, outer, dot.axes, rows, columns, tile, max(1, depth), *counts, words)
    return _with_blocks(plan, target)


def _sides(kernel: Kernel, dot: Dot) -> tuple[tuple[int, Axis], tuple[int, Axis]] | None:
    """Rows and columns: the value and the axis to tile, the longest that only it varies over. The side along which
    results lie in memory is columns."""
    store = max(kernel.stores, key=lambda s: kernel.slots[s.slot].size)
    sides = []
    for value, other in (dot.inputs, reversed(dot.inputs)):
        own = [a for a in kernel.parallel if a in kernel.axes[value] and a not in kernel.axes[other]]
        if not own:
            return None
        lying = next((a for a in own if store.index.coefficient(a) == 1), None)
        sides.append((lying is not None, value, lying or max(own, key=lambda a: a.size)))
    sides.sort(key=lambda side: side[0])
    (_, left, row_axis), (_, right, column_axis) = sides
    return (left, row_axis), (right, column_axis)


def _is_worth_packing(operand: Factor, other: Factor, depth: int, dtype: DType, target: Target) -> bool:
    """Whether tiles should read the operand from panels.

    Rows that lie along k are as many streams, which caches follow well. What lies across k touches a line, and soon a
    page, for each k: that hurts as soon as it spans more than the first cache and its neighbour can hide.
    """
    strides = operand.strides
    if strides is None or (operand.vectors and strides.free != 1):
        return True
    if operand.lies_along_k:
        return (
            operand.cut.count >= PACKED_ROWS and other.free.size >= PACKED_COLUMNS and depth >= PACKED_DEPTH
        )
    return other.cut.count >= PACKED_REUSE and _span(operand, depth, dtype) > 2 * target.l1


def _span(operand: Factor, depth: int, dtype: DType) -> int:
    """Bytes between the first and the last of what an operand in place reads across k."""
    assert operand.strides is not None
    return depth * max(abs(operand.strides.depth), operand.free.size) * dtype.itemsize


def _with_blocks(plan: Blocking, target: Target) -> Blocking:
    """The plan with k in equal chunks, of which a panel of columns fills a quarter of the second cache at most, and
    with blocks whose rows fill half of it at most, but small enough that there are units to share."""
    rows, columns, itemsize = plan.rows, plan.columns, plan.dtype.itemsize
    chunk = target.l2 // 4 // (plan.tile.columns * itemsize)
    if plan.words and plan.words.tiles:
        chunk = CHUNK
    least = 1
    if not columns.packed and _span(columns, plan.depth, plan.dtype) > 2 * target.l1:
        chunk, least = PLACED_DEPTH, min(PLACED_TILES, columns.cut.count)
    chunk = _evenly(plan.depth, chunk)
    row_tiles = max(1, min(rows.cut.count, target.l2 // 2 // (rows.cut.first * chunk * itemsize)))
    step = plan.words.step if plan.words else 1
    plan = replace(plan, chunk=-(-chunk // step) * step, row_tiles=_evenly(rows.cut.count, row_tiles))
    wanted = min(UNITS // TILE_SPEED * 2 if step > 1 else UNITS, plan.work // UNIT_WORK)
    while plan.units < wanted or plan.sums_size * itemsize > target.l2 // 4:
        if plan.row_tiles > 1 and plan.row_tiles * rows.cut.first >= plan.column_tiles * columns.cut.first:
            plan = replace(plan, row_tiles=_evenly(rows.cut.count, -(-plan.row_tiles // 2)))
        elif plan.column_tiles > (least if plan.units < wanted else 1):
            plan = replace(plan, column_tiles=_evenly(columns.cut.count, -(-plan.column_tiles // 2)))
        else:
            break
    return plan


def _evenly(count: int, most: int) -> int:
    """The length of parts that are as equal as can be, none longer than `most`."""
    return -(-count // -(-count // most))


def _words(kernel: Kernel, dot: Dot, sides: tuple[int, int], target: Target) -> Words | None:
    """What k goes by, if not by single elements. A word's elements are neighbours on the last contracted axis, as are
    the words that one instruction takes; of these, half are there at least."""
    rows, columns = (kernel.dtypes[value] for value in sides)
    for words in words_for(target, rows, columns, dot.dtype) if dot.axes else ():
        last, together = dot.axes[-1].size, words.size * words.step
        if (len(dot.axes) == 1 or last % together == 0) and (words.step == 1 or 2 * last >= together):
            return words
    return None


def _strides(
    kernel: Kernel, number: int, element: DType, free: Axis, contracted: tuple[Axis, ...], words: Words | None
) -> Strides | None:
    """How an operand lies in memory: only where it is a load of what is multiplied, unguarded and linear, and where
    its words lie as such."""
    value = kernel.values[number]
    if not isinstance(value, Load) or value.bounds or value.dtype is not element or len(contracted) != 1:
        return None
    (k,) = contracted
    index: Index = value.index
    if not (index.is_linear_in(free) and index.is_linear_in(k)):
        return None
    strides = Strides(index.coefficient(free), index.coefficient(k))
    if words is None:
        return strides
    is_whole = strides.depth == 1 and not (strides.free % words.size or k.size % (words.size * words.step))
    return Strides(strides.free // words.size, 1) if is_whole else None
