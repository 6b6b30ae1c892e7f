"""How a kernel is cut into tiles: block sizes and warps. The backend's own choice, never part of the kernel.

Sizes are powers of two. A tile of 4,096 elements gives each of 128 threads 32, which fits the registers.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.dataclass import dataclass, replace
from graphc.index import Axis, Index, axes_size
from graphc.kernel import Kernel, Load, Reduce

TILE = 4096
LOOP_BLOCK = 1024
LONGEST_ROW = 8192  # rows up to it stay in registers from the first reduction to the last store
PROGRAMS = 128  # enough to occupy a GPU
DOT_TERMS = 1 << 14  # about so many terms has a part of a product that sums up more than twice as many
LEAST_ROUNDS = 4  # of a loop that is worth a program of its own
SIDE = 32  # of a square tile that reads along one axis and writes along another


def power_of_two(n: int) -> int:
    """The least power of two that is not below n; 1 for 0."""
    return 1 << max(n - 1, 0).bit_length()


@dataclass(frozen=True)
class Blocks:
    """Block sizes: `outer` × `inner` points; `depth` along the contracted axes. Where points are few and what is
    reduced is long, that is cut into `parts` for as many programs. Tests set their own."""

    outer: int
    inner: int
    depth: int = 1
    parts: int = 1
    warps: int = 4
    stages: int = 3


def accesses(kernel: Kernel) -> list[tuple[Index, int]]:
    """Where the kernel touches memory, and in how large a buffer."""
    loads = [(v.index, kernel.slots[v.slot].size) for v in kernel.values if isinstance(v, Load)]
    return loads + [(s.index, kernel.slots[s.slot].size) for s in kernel.stores]


def contiguous_bytes(kernel: Kernel, axis: Axis) -> int:
    """The elements in buffers that are walked with unit stride along `axis`."""
    return sum(size for index, size in accesses(kernel) if abs(index.coefficient(axis)) == 1)


def contiguous_axes(kernel: Kernel, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The axes that something is contiguous along, the most important first."""
    found = [a for a in axes if contiguous_bytes(kernel, a)]
    return tuple(sorted(found, key=lambda a: -contiguous_bytes(kernel, a)))


def plan_loop(points: int) -> Blocks:
    return Blocks(1, min(LOOP_BLOCK, power_of_two(points)))


def plan_reduction(kernel: Kernel, outer: tuple[Axis, ...], inner: tuple[Axis, ...]) -> Blocks:
    """A tile of `outer` × `inner` points. Where memory is contiguous along the outer axes, as in the sum of a
    matrix's columns, the tile is wide along them; otherwise rows are as long as they can be."""
    tile = _reduction_tile(kernel, outer, inner)
    if not can_be_cut(kernel):
        return tile
    programs = -(-axes_size(kernel.parallel) // tile.outer)
    return replace(tile, parts=_parts(programs, -(-axes_size(inner) // tile.inner)))


def plan_finishing(kernel: Kernel) -> Blocks | None:
    """For a kernel that joins parts: it is not cut again. None where the lowering's own choice never is."""
    if not can_be_cut(kernel):
        return None
    return replace(_reduction_tile(kernel, kernel.parallel, kernel.row), parts=1)


def can_be_cut(kernel: Kernel) -> bool:
    """Whether all that the row is for is reductions of the first level: then parts of it can be reduced apart."""
    row = set(kernel.row)
    reduces = [n for n, v in enumerate(kernel.values) if isinstance(v, Reduce)]
    along = any((kernel.axes[s.value] | s.index.axes) & row for s in kernel.stores)
    if kernel.in_order or along or kernel.accumulates:
        return False
    return bool(reduces) and all(kernel.levels[n] == 1 for n in reduces)


def _parts(programs: int, chunks: int) -> int:
    """Into how many parts to cut a loop of `chunks` rounds so that a GPU of some 100 cores has enough programs."""
    return max(1, min(PROGRAMS // max(programs, 1), chunks // LEAST_ROUNDS))


def _reduction_tile(kernel: Kernel, outer: tuple[Axis, ...], inner: tuple[Axis, ...]) -> Blocks:
    lines, columns = axes_size(outer), axes_size(inner)
    along_outer = max((contiguous_bytes(kernel, a) for a in outer), default=0)
    along_inner = max((contiguous_bytes(kernel, a) for a in inner), default=0)
    if along_outer > along_inner:
        wide = min(128, power_of_two(lines))
        return Blocks(wide, min(power_of_two(columns), max(1, TILE // wide)))
    wide = power_of_two(columns)
    if wide > LONGEST_ROW:
        wide = TILE
    warps = 8 if wide > TILE else 4
    return Blocks(min(power_of_two(lines), max(1, TILE // wide)), wide, warps=warps)


def plan_contraction(batch: int, m: int, n: int, k: int, narrow: bool) -> Blocks:
    """A tile of a matrix product. `narrow` operands (16 bits) go to the tensor cores, which want larger tiles."""
    largest = 128 if narrow else 64
    outer, inner = (min(largest, max(16, power_of_two(size))) for size in (m, n))
    depth = min(64 if narrow else 32, max(16, power_of_two(k)))
    programs = batch * -(-m // outer) * -(-n // inner)
    warps = 8 if outer * inner >= 128 * 128 else 4
    parts = max(_parts(programs, -(-k // depth)), _parts_of_terms(m, n, k))
    return Blocks(outer, inner, depth, parts, warps)


def _parts_of_terms(m: int, n: int, k: int) -> int:
    """Into how many parts to cut a product's sum so that none has too many terms, as long as their results stay small
    beside what is read."""
    return 1 if k <= 2 * DOT_TERMS else max(1, min(-(-k // DOT_TERMS), (m + n) * k // (4 * m * n)))


def plan_attention(rows: int, walk: int, depths: Sequence[int], columns: Sequence[int], narrow: bool) -> Blocks:
    """Blocks of rows and of what is walked along. What a program holds are operands of rows by depth, which are read
    once where a block has all of the depth, and totals of rows by columns. `narrow` products of 16 bits are the tensor
    cores' and want large blocks; others take registers for all their operands. What is chosen here neither spills on
    sm_90 nor takes more shared memory than it has, up to 256 columns."""
    widest, held = max((*depths, *columns)), sum(columns)
    if narrow:
        outer = 128 if len(depths) == 1 and held <= 128 else 64
        inner, deepest = 64, 256 if len(depths) == 1 else 128
        warps = 8 if outer * max(held, inner) > 64 * 128 else 4
    else:
        outer, inner, deepest = 32 if widest < 256 else 16, 32, 64
        warps = 8 if widest > 64 else 4
    outer, inner = (min(block, max(16, power_of_two(size))) for block, size in ((outer, rows), (inner, walk)))
    return Blocks(outer, inner, min(max(depths), deepest), warps=warps, stages=2)
