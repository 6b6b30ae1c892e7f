"""Reductions shared by programs, without atomics: each stores what it has, a second kernel joins that.

In: accumulating stores, and reductions cut into parts, met while a kernel is written. Out: code that stores partial
results to scratch memory, and kernels that finish. Both orders are fixed, so equal inputs give equal bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from graphc.dataclass import dataclass, replace
from graphc.index import Axis, Index, axes_size, flatten
from graphc.kernel import Kernel, Load, Slot, Store
from graphc.types import DType

from ..kernels.sums import sum_of
from .joining import Join, joining_kernel
from .launches import Memory, Parameter
from .primitives import Operand, cast
from .tile import Dim, Scope, chunk_text
from .values import Values


@dataclass(frozen=True)
class FinishingKernel:
    """A kernel to run afterwards, and what its slots are to the kernel that left work for it."""

    kernel: Kernel
    slots: tuple[Parameter, ...]


class Partials:
    """Collects what one kernel leaves to be finished. `slots` are what its own slots are; its scratch memory is
    numbered from `first`."""

    def __init__(self, values: Values, slots: Sequence[Parameter], first: int) -> None:
        self.values = values
        self.scratch: list[Slot] = []
        self.parameters: list[Parameter] = []
        self.pointers: list[str] = []
        self.finishing: list[FinishingKernel] = []
        self._slots = tuple(slots)
        self._first = first
        self._chunks: dict[Dim, str] = {}

    def allocate(self, wanted: str, dtype: DType, size: int) -> str:
        """Scratch memory for `size` elements; the name of its pointer."""
        self.scratch.append(Slot(dtype, size, wanted))
        self.parameters.append(Parameter(Memory.SCRATCH, self._first + len(self.parameters), dtype))
        self.pointers.append(self.values.names.unique(f"{wanted}_ptr"))
        return self.pointers[-1]

    def chunk(self, dim: Dim) -> str:
        """Which block of `dim` a program works on; nothing where there is one."""
        return self._chunks[dim]

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
        if prod(c.size for c in chunks) == 1 and not left:  # this program has all of the sum
            slot = kernel.slots[store.slot]
            text = values.memory_form(Operand(block, dtype), slot.dtype)
            values.write(values.slots[store.slot], store.index, text, elements, scope, True)
            return
        place = flatten([Index.of(a) for a in elements], [a.size for a in elements])
        start = self._start(summed, axes_size(elements))
        wanted = f"{kernel.slots[store.slot].name or 'sum'}_partials"
        base = self.allocate(wanted, dtype, axes_size(chunks) * axes_size(elements))
        values.write(base, place, block, elements, scope, True, start)
        self._finish(store, dtype, chunks, elements, left)

    def _tile_sum(self, store: Store, scope: Scope, summed: Sequence[Dim], dtype: DType) -> str:
        """The name of the tile's sum over the summed dims, zero where points do not exist."""
        kernel, values = self.values.kernel, self.values
        gone = [a for dim in summed for a in dim.axes]
        own = values.spans[store.value]
        text = values.recipes.note(cast(values.operand(store.value, scope), dtype))
        if not scope.is_block(own) or not own.issuperset(gone):
            text = f"tl.broadcast_to({text}, {scope.shape({*gone, *kernel.axes[store.value]})})"
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

    def _finish(
        self,
        store: Store,
        dtype: DType,
        chunks: tuple[Axis, ...],
        elements: tuple[Axis, ...],
        left: tuple[Axis, ...],
    ) -> None:
        """The kernel that adds up what the scratch memory allocated last holds."""
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
        self.finishing.append(FinishingKernel(kernel, (self.parameters[-1], self._slots[store.slot])))

    def join_later(self, part: Dim, joins: Sequence[Join], block: tuple[Axis, ...], scope: Scope) -> None:
        """Leave values that a program has for one part of its reduction to a kernel that joins the parts.

        The blocks are over `block`; they hold one state for each point of the kernel's parallel axes."""
        kernel = self.values.kernel
        place = flatten([Index.of(a) for a in kernel.parallel], [a.size for a in kernel.parallel])
        points = axes_size(kernel.parallel)
        start = self._start((part,), points)
        parameters = []
        for join in joins:
            for name, init in zip(join.states, join.init, strict=True):
                base = self.allocate(f"{join.wanted}_parts", init.dtype, part.size * points)
                text = self.values.memory_form(Operand(name, init.dtype), init.dtype)
                self.values.write(base, place, text, block, scope, True, start)
                parameters.append(self.parameters[-1])
        finishing = joining_kernel(kernel, joins, Axis("part", part.size))
        self.finishing.append(FinishingKernel(finishing, (*self._slots, *parameters)))
