"""The epilogue of a contraction's tile: the kernel's other values at the tile's places, and the stores.

In: tile memory with the sums of rows × columns. Out: one function for all tiles of a kernel. It goes down strips one
vector wide, row by row: as fast as working on the registers that held the sums, with a fraction of the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from graphc.kernel import Kernel

from ...kernels.sweeps import needed
from ..emit.kernel_code import find_slots
from ..emit.memory import Memory
from ..emit.text import Code, register_type
from ..nests.places import Integer, Point
from ..nests.values import Values
from ..target import Target
from .blocking import Blocking


class Epilogue:
    """Writes `void @name(buffers, slots, task, context, ptr tile, i64 rows, i64 columns, i64 row, i64 column, outer…)`:
    `row` and `column` are the tile's first, and the positions on the outer axes follow."""

    def __init__(self, kernel: Kernel, target: Target, blocking: Blocking, code: Code) -> None:
        self.kernel = kernel
        self.target = target
        self.blocking = blocking
        self.code = code
        self.numbers = needed(kernel, kernel.stored(kernel.stores), done=(blocking.dot,))
        self.reports = False

    def write(self, name: str, slots: Sequence[int]) -> str:
        code, lanes, lengths = self.code, self.blocking.tile.lanes, self.blocking.columns.cut.lengths
        if lengths[0] >= lanes:
            whole: Integer = lengths[0] // lanes * lanes
            if len(lengths) > 1:
                whole = code.let(f"and i64 %columns, {-lanes}")
            is_any = "" if lengths[-1] >= lanes else code.let(f"icmp ne i64 {whole}, 0")
            with code.when(is_any) if is_any else nullcontext(), code.loop(0, whole, lanes) as strip:
                self._strip(lanes, strip.index)
        # What is left of a vector is a vector of odd length: LLVM splits its accesses, which is faster than masks.
        rest = lengths[-1] % lanes
        if rest:
            is_last = "" if len(lengths) == 1 else code.let(f"icmp eq i64 %columns, {lengths[-1]}")
            with code.when(is_last) if is_last else nullcontext():
                self._strip(rest, lengths[-1] - rest)
        find_slots(code, slots)
        code.do("ret void")
        positions = "".join(f", i64 %outer{i}" for i in range(len(self.blocking.outer)))
        return code.function(
            f"internal void @{name}(ptr %buffers, ptr %slots, i64 %task, ptr %context, ptr noalias %tile, "
            f"i64 %rows, i64 %columns, i64 %row, i64 %column{positions})"
        )

    def _strip(self, lanes: int, at: Integer) -> None:
        """`lanes` columns from `at` on in the tile, maybe one."""
        code, rows, columns = self.code, self.blocking.rows.free, self.blocking.columns.free
        start = code.add("%column", at)
        axes: dict = {axis: f"%outer{i}" for i, axis in enumerate(self.blocking.outer)}
        if lanes == 1:
            axes[columns] = start
        values = Values(self.kernel, columns if lanes > 1 else None, lanes, code, self.target)
        frame = Point(None, axes)
        values.prepare(frame, self.numbers, self.kernel.stores)
        strip = values.chunk(frame, start, 0, lanes)
        values.prepare_chunk(strip, self.numbers)
        with code.loop(0, "%rows") as loop:
            inner = Point(frame, {rows: code.add("%row", loop.index)})
            chunk = strip.inside(inner)
            known = inner.known if lanes == 1 else chunk.known
            known[self.blocking.dot] = self._sums(lanes, loop.index, at)
            values.prepare(inner, self.numbers, self.kernel.stores)
            values.store_all(chunk, self.kernel.stores)
        self.reports |= values.reports

    def _sums(self, lanes: int, row: Integer, at: Integer) -> str:
        """The sums of one row of a strip."""
        dtype, scalar = self.blocking.dtype, register_type(self.blocking.dtype, 1)
        place = self.code.element("%tile", scalar, self.code.multiply(row, self.blocking.tile.columns))
        return Memory(self.code, lanes).load(self.code.element(place, scalar, at), dtype)
