"""Sums over parallel axes, without atomics: each program stores what it has, a second kernel adds that up.

In: accumulating stores, met while a kernel is written. Out: code that stores partial sums to scratch memory, and
kernels that finish the sums. Both orders of addition are fixed, so equal inputs give equal bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod

from graphc.index import Axis, Index, axes_size, flatten
from graphc.kernel import Const, Kernel, Load, Reduce, Slot, Store
from graphc.scalar import Builder, Scalar, record
from graphc.types import DType

from .primitives import Operand, cast
from .tile import Dim, Scope, chunk_text
from .values import Values


def _add(s: Builder, a: Scalar, b: Scalar) -> Scalar:
    return a + b


def _same(s: Builder, a: Scalar) -> Scalar:
    return a


def sum_of(number: int, dtype: DType, axes: tuple[Axis, ...]) -> Reduce:
    """The sum of a value over axes."""
    combine, finish = record("sum", _add, (dtype, dtype)), record("sum", _same, (dtype,))
    return Reduce(combine, (Const(0, dtype),), finish, (number,), axes)


@dataclass(frozen=True)
class FinishingKernel:
    """Adds up scratch memory number `scratch` into slot `slot` of the kernel it belongs to."""

    kernel: Kernel
    scratch: int
    slot: int


class Partials:
    """Collects the accumulating stores of one kernel."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.scratch: list[Slot] = []
        self.pointers: list[str] = []
        self.finishing: list[FinishingKernel] = []
        self._chunks: dict[Dim, str] = {}

    def spread(self, grid: Sequence[Dim], programs: int) -> None:
        """Learn which block of each dim a program works on."""
        inner = programs
        for dim in grid:
            inner //= max(dim.chunks, 1)
            self._chunks[dim] = chunk_text(dim, inner, programs)

    def add(self, store: Store, scope: Scope, summed: Sequence[Dim], varying: Iterable[Axis] = ()) -> None:
        """Sum a value that is in scope over the tile's `summed` dims; `varying` are row axes that it varies over."""
        kernel, values = self.values.kernel, self.values
        gone = {a for dim in summed for a in dim.axes}
        dtype = kernel.dtypes[store.value].computes_as
        block = self._tile_sum(store, scope, summed, dtype)
        elements = (*(a for a in kernel.parallel if a not in gone), *varying)
        chunks = tuple(Axis(f"chunk{n}", dim.chunks) for n, dim in enumerate(summed))
        left = tuple(a for a in elements if a in store.accumulate)
        if prod(c.size for c in chunks) == 1 and not left:   # this program has all of the sum
            slot = kernel.slots[store.slot]
            text = values.memory_form(Operand(block, dtype), slot.dtype)
            values.write(values.slots[store.slot], store.index, text, elements, scope, True)
            return
        place = flatten([Index.of(a) for a in elements], [a.size for a in elements])
        start = self._start(summed, axes_size(elements))
        values.write(self._allocate(store, dtype, chunks, elements), place, block, elements, scope, True, start)
        self._finish(store, dtype, chunks, elements, left)

    def _tile_sum(self, store: Store, scope: Scope, summed: Sequence[Dim], dtype: DType) -> str:
        """The name of the tile's sum over the summed dims, zero where points do not exist."""
        kernel, values = self.values.kernel, self.values
        gone = [a for dim in summed for a in dim.axes]
        own = kernel.axes[store.value]
        text = values.recipes.note(cast(values.operand(store.value, scope), dtype))
        if not scope.is_block(own) or not own.issuperset(gone):
            text = f"tl.broadcast_to({text}, {scope.shape({*gone, *own})})"
        if guards := scope.guard(gone):
            text = f"tl.where({' & '.join(guards)}, {text}, 0)"
        for dim in summed:
            combine = values.recipes.function(sum_of(0, dtype, ()).combine)
            text = f"tl.reduce({text}, {dim.place}, {combine}, keep_dims=True)"
        name = values.names.unique("sum")
        values.code.line(f"{name} = {text}")
        return name

    def _start(self, summed: Sequence[Dim], elements: int) -> str:
        """Where a program's partial sums start in scratch memory."""
        parts, size = [], elements
        for dim in reversed(summed):
            if chunk := self._chunks[dim]:
                parts.append(chunk if size == 1 else f"{chunk} * {size}")
            size *= dim.chunks
        return " + ".join(reversed(parts))

    def _allocate(self, store: Store, dtype: DType, chunks: Sequence[Axis], elements: Sequence[Axis]) -> str:
        name = f"{self.values.kernel.slots[store.slot].name or 'sum'}_partials"
        self.scratch.append(Slot(dtype, axes_size(chunks) * axes_size(elements), name))
        self.pointers.append(self.values.names.unique(f"{name}_ptr"))
        return self.pointers[-1]

    def _finish(
        self, store: Store, dtype: DType, chunks: tuple[Axis, ...], elements: tuple[Axis, ...], left: tuple[Axis, ...]
    ) -> None:
        """The kernel that adds up what the last allocated scratch memory holds."""
        axes = (*chunks, *elements)
        load = Load(0, flatten([Index.of(a) for a in axes], [a.size for a in axes]), (), dtype)
        total = sum_of(0, dtype, (*chunks, *left))
        kernel = Kernel(
            (self.scratch[-1], self.values.kernel.slots[store.slot]),
            tuple(a for a in elements if a not in left),
            total.axes,
            (),
            (load, total),
            (replace(store, slot=1, value=1, accumulate=()),),
        )
        self.finishing.append(FinishingKernel(kernel, len(self.scratch) - 1, store.slot))


