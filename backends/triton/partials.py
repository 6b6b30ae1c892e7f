"""Reductions shared by programs, without atomics: each stores what it has, a second kernel joins that.

In: accumulating stores, and reductions cut into parts, met while a kernel is written. Out: code that stores partial
results to scratch memory, and kernels that finish. Both orders are fixed, so equal inputs give equal bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from graphc.dataclass import dataclass, replace
from graphc.index import Axis, Index, axes_size, flatten
from graphc.kernel import Accumulate, Kernel, Load, Reduce, Slot, Store
from graphc.types import DType

from .joining import Join, joining_kernel
from .launches import Parameter, Role
from .primitives import Operand, literal
from .tile import Dim, Scope, chunk_text
from .values import Statements


@dataclass(frozen=True)
class FinishingKernel:
    """A kernel to run afterwards, and what its slots are to the kernel that left work for it."""

    kernel: Kernel
    slots: tuple[Parameter, ...]


class Partials:
    """Collects what one kernel leaves to be finished. `slots` are what its own slots are; its scratch memory is
    numbered from `first`."""

    def __init__(self, values: Statements, slots: Sequence[Parameter], first: int) -> None:
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
        self.parameters.append(Parameter(Role.SCRATCH, self._first + len(self.parameters), dtype))
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
        """Accumulate what is in scope over the tile's `summed` dims; `varying` are row axes that it varies over."""
        kernel, values, value = self.values.kernel, self.values, self.accumulated(store)
        gone = {a for dim in summed for a in dim.axes}
        blocks = self._tile_states(value, scope, summed)
        elements = (*(a for a in kernel.parallel if a not in gone), *varying)
        chunks = tuple(Axis(f"chunk{n}", dim.chunks) for n, dim in enumerate(summed))
        left = tuple(a for a in elements if a in value.axes)
        if prod(c.size for c in chunks) == 1 and not left:  # this program has all of the state
            slot = kernel.slots[store.slot]
            values.apply_to(store.value, value.finish, blocks, scope)
            text = values.memory_form(values.operand(store.value, scope), slot.dtype)
            values.write(values.slots[store.slot], store.index, text, elements, scope, True)
            return
        place = flatten([Index.of(a) for a in elements], [a.size for a in elements])
        start = self._start(summed, axes_size(elements))
        wanted, first = f"{kernel.slots[store.slot].name or 'sum'}_partials", len(self.scratch)
        for block, init in zip(blocks, value.init, strict=True):
            base = self.allocate(wanted, init.dtype, axes_size(chunks) * axes_size(elements))
            text = values.memory_form(Operand(block, init.dtype), init.dtype)
            values.write(base, place, text, elements, scope, True, start)
        self._finish(store, first, chunks, elements, left)

    def accumulated(self, store: Store) -> Accumulate:
        value = self.values.kernel.values[store.value]
        assert isinstance(value, Accumulate)
        return value

    def _tile_states(self, value: Accumulate, scope: Scope, summed: Sequence[Dim]) -> list[str]:
        """The names of the tile's states over the summed dims, neutral where points do not exist."""
        kernel, values = self.values.kernel, self.values
        gone = [a for dim in summed for a in dim.axes]
        shape, texts = scope.shape({*gone, *frozenset().union(*(kernel.axes[i] for i in value.inputs))}), []
        for number, init in zip(value.inputs, value.init, strict=True):
            own, text = values.spans[number], values.operand(number, scope).typed
            if not scope.is_block(own) or scope.shape(own) != shape:
                text = f"tl.broadcast_to({text}, {shape})"
            if guards := scope.guard(gone):
                text = f"tl.where({' & '.join(guards)}, {text}, {literal(init.value, init.dtype).text})"
            texts.append(text)
        names = [values.names.unique(value.finish.name) for _ in texts]
        combine = values.recipes.function(value.combine)
        for dim in summed:
            inputs = f"({', '.join(texts)})" if len(texts) > 1 else texts[0]
            values.code.line(f"{', '.join(names)} = tl.reduce({inputs}, {dim.place}, {combine}, keep_dims=True)")
            texts = names
        if not summed:
            values.code.line(f"{', '.join(names)} = {', '.join(texts)}")
        return names

    def _start(self, summed: Sequence[Dim], elements: int) -> str:
        """Where a program's partial sums start in scratch memory."""
        parts, size = [], elements
        for dim in reversed(summed):
            if chunk := self._chunks[dim]:
                parts.append(chunk if size == 1 else f"{chunk} * {size}")
            size *= dim.chunks
        return " + ".join(reversed(parts))

    def _finish(
        self, store: Store, first: int, chunks: tuple[Axis, ...], elements: tuple[Axis, ...], left: tuple[Axis, ...]
    ) -> None:
        """The kernel that joins what the scratch memory from `first` on holds, and stores it."""
        axes, value = (*chunks, *elements), self.accumulated(store)
        place = flatten([Index.of(a) for a in axes], [a.size for a in axes])
        loads = [Load(n, place, (), c.dtype) for n, c in enumerate(value.init)]
        count, row = len(loads), (*chunks, *left)
        total = Reduce(value.combine, value.init, value.finish, tuple(range(count)), row)
        kernel = Kernel(
            (*self.scratch[first:], self.values.kernel.slots[store.slot]),
            tuple(a for a in elements if a not in left),
            row,
            (),
            (*loads, total),
            (replace(store, slot=count, value=count),),
        )
        self.finishing.append(FinishingKernel(kernel, (*self.parameters[first:], self._slots[store.slot])))

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
