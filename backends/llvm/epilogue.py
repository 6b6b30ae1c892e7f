"""The epilogue of a contraction's tile: the kernel's other values at the tile's places, and the stores.

In: tile memory with the sums of rows × columns. Out: a function for tiles of one width and any number of rows. It
goes row by row: as fast as working on the registers that held the sums, with a fraction of the code.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.kernel import Kernel

from .blocking import Blocking
from .kernel_code import slot_addresses
from .memory import Memory
from .places import Frame
from .places import Operand as Number
from .sweeps import needed
from .target import Target
from .text import Code, register_type
from .values import Values


class Epilogue:
    """Writes `void @name(buffers, slots, task, context, ptr tile, i64 rows, i64 row, i64 column, i64 outer…)`, where
    row and column are the tile's first, and the outer axes' positions follow."""

    def __init__(self, kernel: Kernel, target: Target, blocking: Blocking, code: Code) -> None:
        self.kernel = kernel
        self.target = target
        self.blocking = blocking
        self.code = code
        self.reports = False

    def write(self, name: str, columns: int, slots: Sequence[int]) -> str:
        """The function for tiles of `columns`."""
        code, tile = self.code, self.blocking.tile
        code.lines += slot_addresses(slots)
        # What is left of a vector is a vector of odd length: LLVM splits its accesses, which is faster than masks.
        full, rest = divmod(columns, tile.lanes)
        strips = [_Strip(self, 0, full, tile.lanes)] if full else []
        strips += [_Strip(self, full * tile.lanes, 1, rest)] if rest else []
        with code.loop(0, "%rows") as loop:
            row = code.add("%row", loop.index)
            sums = code.element(
                "%tile", register_type(self.blocking.dtype, 1), code.multiply(loop.index, tile.columns)
            )
            for strip in strips:
                strip.write(row, sums)
        code.do("ret void")
        self.reports = any(strip.values.reports for strip in strips)
        positions = "".join(f", i64 %outer{i}" for i in range(len(self.blocking.outer)))
        return code.function(
            f"internal void @{name}(ptr %buffers, ptr %slots, i64 %task, ptr %context, ptr noalias %tile, "
            f"i64 %rows, i64 %row, i64 %column{positions})"
        )


class _Strip:
    """Some vectors of the same number of lanes, side by side, from `start` on in the tile; a lane may be one."""

    def __init__(self, epilogue: Epilogue, start: int, vectors: int, lanes: int) -> None:
        self.code = code = epilogue.code
        self.blocking = blocking = epilogue.blocking
        self.lanes = lanes
        self.offsets = [start + i * lanes for i in range(vectors)]
        self.stores = epilogue.kernel.stores
        axes = {axis: f"%outer{i}" for i, axis in enumerate(blocking.outer)}
        if lanes == 1:
            axes[blocking.columns.free] = str(code.add("%column", start))
        axis = blocking.columns.free if lanes > 1 else None
        self.values = Values(epilogue.kernel, axis, lanes, code, epilogue.target)
        self.numbers = needed(epilogue.kernel, (s.value for s in self.stores), done=(blocking.dot,))
        self.frame = Frame(None, axes)
        self.values.prepare(self.frame, self.numbers, self.stores)
        self.chunks = [self.values.chunk(self.frame, "%column", at, lanes) for at in self.offsets]
        for chunk in self.chunks:
            self.values.prepare_chunk(chunk, self.numbers)

    def write(self, row: Number, sums: str) -> None:
        """One row of the tile."""
        frame = Frame(self.frame, {self.blocking.rows.free: row})
        totals = [self._total(sums, at) for at in self.offsets]
        if self.lanes == 1:
            frame.known[self.blocking.dot] = totals[0]
        self.values.prepare(frame, self.numbers, self.stores)
        for outer, total in zip(self.chunks, totals, strict=True):
            chunk = outer.inside(frame)
            chunk.known[self.blocking.dot] = total
            self.values.store_all(chunk, self.stores)

    def _total(self, sums: str, at: int) -> str:
        place = self.code.element(sums, register_type(self.blocking.dtype, 1), at)
        return Memory(self.code, self.lanes).load(place, self.blocking.dtype)
