"""Square tiles transposed in registers: for accesses that are contiguous along another axis than the lanes.

In: the values of a kernel and its tile axis. Out: a chunk for each position of a block of the tile axis, in which the
tile's loads are known already; and the stores that put a block of such chunks down again, transposed back.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.cached import cached_property
from graphc.index import Axis, Index
from graphc.kernel import Load, Store
from graphc.types import DType

from ..emit.text import register_type
from .places import Chunk, Integer, Point
from .plan import is_tiled
from .values import Values

ZEROS = "zeroinitializer"


class Tiles:
    """Blocks of a kernel's tile axis."""

    def __init__(self, values: Values, axis: Axis) -> None:
        self.values = values
        self.axis = axis

    @cached_property
    def loads(self) -> dict[int, Load]:
        """The loads that are transposed. A bool is a bit in registers, which shuffles badly."""
        found = {n: v for n, v in enumerate(self.values.kernel.values) if isinstance(v, Load)}
        return {
            n: v for n, v in found.items() if self._is_tiled(v.index) and not v.bounds and not v.dtype.is_bool
        }

    def stores(self, stores: Sequence[Store]) -> list[Store]:
        """Those of `stores` that are transposed."""
        slots = self.values.kernel.slots
        return [
            s
            for s in stores
            if self._is_tiled(s.index)
            and not self.values.kernel.accumulated(s)
            and not s.scatter
            and not slots[s.slot].dtype.is_bool
        ]

    def _is_tiled(self, index: Index) -> bool:
        assert self.values.axis is not None
        return self.values.lanes > 1 and is_tiled(index, self.values.axis, self.axis)

    def frames(self, frame: Point, start: Integer, count: int) -> list[Point]:
        """The frames of `count` positions of the tile axis, at most as many as lanes."""
        return [Point(frame, {self.axis: self.values.code.add(start, q)}) for q in range(count)]

    def points(self, parent: Chunk, frames: Sequence[Point], numbers: Sequence[int]) -> list[Chunk]:
        """The chunks at those frames; those of the tile's loads that are among `numbers` are known in them."""
        chunks = [parent.inside(Point(f)) for f in frames]
        for number, load in self.loads.items():
            if number in numbers:
                rows = self._rows(chunks[0], load, len(frames))
                for chunk, column in zip(chunks, self.transpose(rows, load.dtype), strict=False):
                    chunk.known[number] = column
        return chunks

    def _rows(self, first: Chunk, load: Load, count: int) -> list[str]:
        """For each valid lane, the neighbours along the tile axis."""
        return [
            self.values.memory.load(pointer, load.dtype, count)
            for pointer in self._pointers(first, load.slot, load.index)
        ]

    def _pointers(self, first: Chunk, slot: int, index: Index) -> list[str]:
        """The addresses at the first position of the tile axis, for each valid lane."""
        stride = self.values.stride(index)
        assert stride is not None
        at, fixed = self.values.first(first, index)
        return [self.values.address(slot, at, fixed + lane * stride) for lane in range(first.count)]

    def store_all(self, chunks: Sequence[Chunk], stores: Sequence[Store]) -> None:
        """Carry out stores at what `points` made: first all values, since a slot may be updated in place."""
        for chunk in chunks:
            for number in self.values.kernel.stored(stores):
                self.values.vector(chunk, number)
        turned = self.stores(stores)
        straight = [s for s in stores if s not in turned]
        for chunk in chunks:
            self.values.store_all(chunk, straight)
        for store in turned:
            self._store(chunks, store)

    def _store(self, chunks: Sequence[Chunk], store: Store) -> None:
        """A transposed store of what `points` made."""
        values, dtype = self.values, self.values.kernel.slots[store.slot].dtype
        source = values.kernel.dtypes[store.value]
        columns = [values.vectors.cast(values.vector(c, store.value), source, dtype) for c in chunks]
        pointers = self._pointers(chunks[0], store.slot, store.index)
        for pointer, row in zip(pointers, self.transpose(columns, dtype), strict=False):
            values.memory.store(pointer, row, dtype, len(chunks))

    def transpose(self, rows: Sequence[str], dtype: DType) -> list[str]:
        """Vector q of the result has element q of each row. Rows that are missing are zeros: of poison ones, LLVM 22
        makes shuffles for AVX-512 that it can't select itself.

        Rounds of two-input shuffles: round d exchanges the blocks of d lanes off the diagonal between rows d apart.
        """
        lanes, type_ = self.values.lanes, register_type(dtype, self.values.lanes)
        now = [*rows, *[ZEROS] * (lanes - len(rows))]
        distance = lanes // 2
        while distance:
            following = list(now)
            for i in range(lanes):
                if i & distance:
                    continue
                a, b = now[i], now[i | distance]
                low = [q if not q & distance else lanes + (q ^ distance) for q in range(lanes)]
                high = [q | distance if not q & distance else lanes + q for q in range(lanes)]
                following[i] = self._shuffle(a, b, type_, low)
                following[i | distance] = self._shuffle(a, b, type_, high)
            now, distance = following, distance // 2
        return now

    def _shuffle(self, a: str, b: str, type_: str, order: list[int]) -> str:
        if a == b == ZEROS:
            return a
        return self.values.memory.shuffle(a, b, type_, order)
