"""The register tile of a contraction: a block of rows × columns summed over k in vector registers.

In: where the tile finds the elements of both operands, as strides. Out: the code of one function that leaves the sums
in tile memory. Knows no kernel, no packing and no epilogue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

from graphc.dataclass import dataclass
from graphc.scalar import Builder, Scalar, record
from graphc.types import DType

from ..emit.primitives import Emitter
from ..emit.shared import SELF, Shared
from ..emit.text import Code, module, register_type
from ..target import Target
from .words import Words

MOST_ROWS = 6
MOST_DEPTH = 1024  # products that a register sums up, one after the other; of more …
BLOCK_DEPTH = 512  # … so many, and then the sum goes to tile memory, so that rounding errors do not add up


@dataclass(frozen=True)
class Tile:
    """A register tile: `rows` elements of the one operand times `vectors` vectors of `lanes` of the other."""

    rows: int
    vectors: int
    lanes: int

    @property
    def columns(self) -> int:
        return self.vectors * self.lanes

    @property
    def size(self) -> int:
        return self.rows * self.columns


def finish_tile(code: Code, name: str, more: Sequence[str]) -> str:
    """The function of a tile whose body is `code`."""
    code.do("ret void")
    linkage = "" if more else "internal "
    return code.function(f"{linkage}void @{name}({', '.join((PARAMETERS, *more))})")


def sums_in_blocks(dtype: DType, most_depth: int) -> bool:
    """Whether a register would sum up too many products."""
    return dtype.is_float and most_depth > MOST_DEPTH


def register_tile(target: Target, dtype: DType, rows: int) -> Tile:
    """The tile for that many rows, 6 at most: of 16 registers, 12 hold sums, 2 columns and one a row's element; of 32,
    24 and 4. Fewer than 4 rows take as many columns as there is room for, else too few sums are under way at a time."""
    registers = target.vector_registers
    vectors = registers // 8 if rows >= 4 else (registers - 1) // (rows + 1)
    return Tile(rows, vectors, target.lanes(dtype))


@dataclass(frozen=True)
class Strides:
    """Where an operand's elements (or words) lie: (free index i, k) at element i·free + k·depth."""

    free: int
    depth: int


@dataclass(frozen=True)
class Given:
    """Strides that a function is given: the names of its parameters."""

    free: str
    depth: str


Lying: TypeAlias = Strides | Given
Write: TypeAlias = Callable[[Code, str, int, int, Lying, Lying, Sequence[str]], str]  # as `TileWriter.write`

PARAMETERS = "ptr noalias %a, ptr noalias %b, ptr noalias %tile, i64 %depth, i1 %first"
STRIDES = ("i64 %rows.free", "i64 %rows.depth", "i64 %columns.depth")
SIGNATURE = "void @{}(ptr, ptr, ptr, i64, i1, i64, i64, i64)"  # of tiles that kernels share


@lru_cache(maxsize=64)
def shared_tiles(
    target: Target,
    dtype: DType,
    tile: Tile,
    adds: bool,
    in_blocks: bool,
    words: Words | None,
    rows: tuple[int, ...],
    columns: int,
    pitch: int,
) -> Shared:
    """The tiles of so many rows, which all kernels share: their strides are parameters, the last three ones."""
    return written(TileWriter(target, dtype, tile, adds, in_blocks, words, pitch).write, rows, columns)


def written(write: Write, rows: Sequence[int], columns: int) -> Shared:
    """The functions of tiles that kernels share, each written by `write`."""
    a, b = Given("%rows.free", "%rows.depth"), Given("1", "%columns.depth")
    texts, declarations = [], set[str]()
    for count in rows:
        code = Code()
        texts.append(write(code, f"{SELF}_{count}x{columns}", count, columns, a, b, STRIDES))
        declarations |= code.declarations
    return Shared.of("tiles", module(texts, declarations))


class TileWriter:
    """Writes functions of tiles.

    `void @name(ptr a, ptr b, ptr tile, i64 depth, i1 first)`: tile[r][c] = sum over k < depth of a(r, k) · b(c, k),
    with depth ≥ 1. Row r of tile memory starts at r·pitch (tile.columns, if it is not given); columns are padded to
    whole vectors there. `adds`: the sums are added to what tile memory holds, unless `first`. `in_blocks`: of many
    products, see `sums_in_blocks`.
    With `words`, a, b and depth count words of neighbours along k, and a product is the sum of theirs.
    """

    def __init__(
        self,
        target: Target,
        dtype: DType,
        tile: Tile,
        adds: bool,
        in_blocks: bool,
        words: Words | None = None,
        pitch: int | None = None,
    ) -> None:
        self.target = target
        self.dtype = dtype
        self.words = words
        self.align = dtype.itemsize // (words.size if words else 1)
        self.tile = tile
        self.pitch = tile.columns if pitch is None else pitch
        self.adds = adds
        self.in_blocks = in_blocks
        self.scalar = register_type(dtype, 1)
        self.vector = register_type(dtype, tile.lanes)

    def write(
        self, code: Code, name: str, rows: int, columns: int, a: Lying, b: Lying, more: Sequence[str] = ()
    ) -> str:
        """The function for a tile of `rows` × `columns`. `b` has unit stride along its free axis; where `columns`
        ends inside a vector, nothing beyond is read. `more`: parameters that strides refer to; then the function is
        for other modules."""
        if not self.in_blocks:
            self._sum(code, ("%a", "%b"), "%depth", (rows, columns), (a, b), "%first" if self.adds else "")
        else:
            with code.loop(0, "%depth", BLOCK_DEPTH, [("ptr", "%a"), ("ptr", "%b")]) as block:
                depth = code.minimum(code.subtract("%depth", block.index), BLOCK_DEPTH)
                first = code.let(f"icmp eq i64 {block.index}, 0")
                first = code.let(f"and i1 {first}, %first") if self.adds else first
                at = block.carried[0], block.carried[1]
                block.next = self._sum(code, at, depth, (rows, columns), (a, b), first)
        return finish_tile(code, name, more)

    def _sum(
        self,
        code: Code,
        at: tuple[str, str],
        depth: int | str,
        size: tuple[int, int],
        strides: tuple[Lying, Lying],
        first: str,
    ) -> list[str]:
        """The sums of `depth` products, kept; where `first` is not empty, added to what is there unless it holds. The
        addresses of what comes behind them."""
        lanes, (rows, columns), (a, b) = self.tile.lanes, size, strides
        widths = [min(lanes, columns - c) for c in range(0, columns, lanes)]
        places = [code.multiply(a.free, row) for row in range(rows)]
        carried = [("ptr", at[0]), ("ptr", at[1]), *[(self.vector, "zeroinitializer")] * (rows * len(widths))]
        with code.loop(0, depth, carried=carried) as k:
            at_a, at_b, *sums = k.carried
            right = [
                load_padded(code, self.dtype, code.element(at_b, self.scalar, n * lanes), width, lanes, self.align)
                for n, width in enumerate(widths)
            ]
            following: list[str] = []
            for place in places:
                left = self._spread(code, code.element(at_a, self.scalar, place))
                for x in right:
                    following.append(self._multiply_add(code, left, x, sums[len(following)]))
            k.next = [
                code.element(at_a, self.scalar, a.depth), code.element(at_b, self.scalar, b.depth), *following,
            ]  # fmt: skip
        for number, total in enumerate(k.results[2:]):
            row, n = divmod(number, len(widths))
            self._keep(code, total, code.element("%tile", self.scalar, row * self.pitch + n * lanes), first)
        return k.results[:2]

    def _spread(self, code: Code, pointer: str) -> str:
        """One element in all lanes."""
        element = code.let(f"load {self.scalar}, ptr {pointer}, align {self.align}")
        return Emitter(code, self.target, self.tile.lanes).splat(element, self.dtype)

    def _multiply_add(self, code: Code, a: str, b: str, c: str) -> str:
        if self.words:
            return self.words.multiply_add(code, a, b, c, self.dtype, self.tile.lanes)
        recipe = record("multiply_add", _multiply_add, (self.dtype,) * 3)
        return Emitter(code, self.target, self.tile.lanes).recipe(recipe, (a, b, c))[0]

    def _keep(self, code: Code, total: str, place: str, first: str) -> None:
        align = self.dtype.itemsize
        if first:
            before = code.let(f"load {self.vector}, ptr {place}, align {align}")
            before = code.let(f"select i1 {first}, {self.vector} zeroinitializer, {self.vector} {before}")
            add = "fadd" if self.dtype.is_float else "add"
            total = code.let(f"{add} {self.vector} {total}, {before}")
        code.do(f"store {self.vector} {total}, ptr {place}, align {align}")


def _multiply_add(s: Builder, a: Scalar, b: Scalar, c: Scalar) -> Scalar:
    return s.fma(a, b, c)


def load_padded(code: Code, dtype: DType, pointer: str, width: int, lanes: int, align: int) -> str:
    """A vector of `lanes` whose first `width` come from memory; nothing beyond them is read, the others are 0."""
    loaded = code.let(f"load {register_type(dtype, width)}, ptr {pointer}, align {align}")
    return pad(code, dtype, loaded, width, lanes)


def pad(code: Code, dtype: DType, x: str, width: int, lanes: int) -> str:
    """A narrower vector, or a scalar for `width` 1, widened by zeros."""
    if width == lanes:
        return x
    wide = register_type(dtype, lanes)
    if width == 1:
        return code.let(f"insertelement {wide} zeroinitializer, {register_type(dtype, 1)} {x}, i64 0")
    narrow = register_type(dtype, width)
    order = ", ".join(
        f"i32 {min(lane, width)}" for lane in range(lanes)
    )  # lane `width` is the first of the zeros
    return code.let(f"shufflevector {narrow} {x}, {narrow} zeroinitializer, <{lanes} x i32> <{order}>")
