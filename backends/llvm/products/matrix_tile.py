"""The tile of a contraction where the machine has instructions that multiply matrices: AMX, whose eight registers hold
16 rows of 16 words each.

In: panels of both operands. Out: the code of one function that leaves the sums in tile memory, as `microkernel.py`
does. Rows come as blocks of 16 rows × 16 words (`tile_packing.py`), columns as all other panels do: a row of it has
one word of each column. 2 × 2 registers hold sums, 2 rows and 2 columns. Intel's manual calls them TMM; which memory
layout they want is in its chapter on AMX.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from ..emit.shared import Shared
from ..emit.text import Code
from ..nests.places import Integer
from .microkernel import Lying, Tile, finish_tile, written
from .words import TILE_SIDE, Words

CHUNK = 128  # words of k: columns of a tile as long as this, and rows read meanwhile, stay in a first cache
WORD = 4  # bytes
TILE_SPEED = 8  # multiply-adds of words in the time that vectors take for one of float32
LEFT, RIGHT = (4, 5), (6, 7)  # the registers of rows and columns; those before hold sums


def matrix_tile(rows: int, columns: int) -> Tile:
    """The tile for so many rows and columns: two registers of each, where there are that many."""
    return Tile(min(2, -(-rows // TILE_SIDE)) * TILE_SIDE, min(2, -(-columns // TILE_SIDE)), TILE_SIDE)


def configure(code: Code) -> None:
    """Make the registers ready, all of full size: what is beyond an operand's end is in its panels as well."""
    shape = struct.pack("<BB14x16H16B", 1, 0, *[TILE_SIDE * WORD] * 8, *[0] * 8, *[TILE_SIDE] * 8, *[0] * 8)
    memory = code.alloca("i64", 8)
    for number, word in enumerate(struct.unpack("<8q", shape)):
        code.do(f"store i64 {word}, ptr {code.element(memory, 'i64', number)}, align 8")
    code.call("void", "llvm.x86.ldtilecfg", ("ptr", memory))


def release(code: Code) -> None:
    """Whoever saves this thread's registers has no more to do with them."""
    code.call("void", "llvm.x86.tilerelease")


@lru_cache(maxsize=64)
def shared_matrix_tiles(tile: Tile, adds: bool, words: Words, rows: tuple[int, ...], columns: int) -> Shared:
    """The tiles of so many rows, which all kernels share, as `shared_tiles`."""
    return written(MatrixTileWriter(tile, adds, words).write, rows, columns)


class MatrixTileWriter:
    """Writes functions of tiles, with the signature of `TileWriter`'s. `depth` is a multiple of 16
    words, and panels have whole registers of rows and columns."""

    def __init__(self, tile: Tile, adds: bool, words: Words) -> None:
        self.tile = tile
        self.adds = adds
        self.words = words

    def write(
        self, code: Code, name: str, rows: int, columns: int, a: Lying, b: Lying, more: Sequence[str] = ()
    ) -> str:
        """The function for a tile of `rows` × `columns`; whole registers of sums are written. `more`: as there."""
        down, across = range(-(-rows // TILE_SIDE)), range(-(-columns // TILE_SIDE))
        if self.adds:
            code.choose("%first", lambda: self._clear(code, down, across), lambda: self._load(code, down, across))
        else:
            self._clear(code, down, across)
        with code.loop(0, "%depth", TILE_SIDE, [("ptr", "%a"), ("ptr", "%b")]) as k:
            at_a, at_b = k.carried
            for i in down:  # each load right before what first needs it: 10 % faster than all of them first
                for j in across:
                    if i == 0:
                        self._move(code, "tileloadd64", RIGHT[j], at_b, j * TILE_SIDE, b.depth)
                    if j == 0:
                        self._move(code, "tileloadd64", LEFT[i], at_a, i * TILE_SIDE * TILE_SIDE, TILE_SIDE)
                    registers = [("i8", str(n)) for n in (self._sum(i, j), LEFT[i], RIGHT[j])]
                    code.call("void", f"llvm.x86.{self.words.function}", *registers)
            k.next = [code.element(x, "i32", code.multiply(s.depth, TILE_SIDE)) for x, s in ((at_a, a), (at_b, b))]
        for i in down:
            for j in across:
                self._move(code, "tilestored64", self._sum(i, j), "%tile", self._place(i, j), self.tile.columns)
        code.do("ret void")
        return finish_tile(code, name, more)

    def _sum(self, i: int, j: int) -> int:
        """The register of a block of sums."""
        return 2 * i + j

    def _place(self, i: int, j: int) -> int:
        """Where in tile memory a block of sums begins."""
        return (i * self.tile.columns + j) * TILE_SIDE

    def _clear(self, code: Code, down: range, across: range) -> None:
        for i in down:
            for j in across:
                code.call("void", "llvm.x86.tilezero", ("i8", str(self._sum(i, j))))

    def _load(self, code: Code, down: range, across: range) -> None:
        for i in down:
            for j in across:
                self._move(code, "tileloadd64", self._sum(i, j), "%tile", self._place(i, j), self.tile.columns)

    def _move(self, code: Code, instruction: str, register: int, base: str, place: int, row: Integer) -> None:
        """A register from or to memory at `place` words behind `base`, from one row to the next `row` words."""
        address, stride = code.element(base, "i32", place), str(code.multiply(row, WORD))
        code.call("void", f"llvm.x86.{instruction}", ("i8", str(register)), ("ptr", address), ("i64", stride))
