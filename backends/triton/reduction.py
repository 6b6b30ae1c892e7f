"""Reductions: sweeps over rows, one for each level of reductions that the values need.

A tile holds `lines` × `columns`: parallel points by points of the row. Rows that fit a tile are read once and stay
in registers; longer ones are swept in chunks, a running state for each column, joined when the sweep ends.
What is accumulated over parallel axes leaves one partial state for each program; a second kernel joins those, in a
fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphc.errors import CompileError
from graphc.index import Axis
from graphc.kernel import Accumulate, Kernel, Reduce, Scan, Store

from ..kernels.long_sums import cut_loops, rounds
from .joining import Join
from .partials import Partials
from .plan import Blocks, plan_reduction
from .primitives import literal, triton_dtype
from .tile import Coordinates, Dim, Scope
from .values import Statements


def lower_reduction(
    kernel: Kernel, values: Statements, partials: Partials, plan: Blocks | None
) -> tuple[int, Blocks]:
    """Write the kernel's body. Returns the number of programs, and the plan it was written for."""
    return _Reduction(kernel, values, partials, plan).lower()


class _Reduction:
    """One kernel's lowering; `scope` is what is known between sweeps."""

    def __init__(self, kernel: Kernel, values: Statements, partials: Partials, plan: Blocks | None) -> None:
        self.kernel = kernel
        self.values = values
        self.code = values.code
        self.partials = partials
        self.scope = Scope(rank=2)
        self.coordinates = Coordinates(values.code, values.used, values.wide)
        summed = summed_axes(kernel)
        lines = summed or kernel.parallel
        others = tuple(a for a in kernel.parallel if a not in lines)
        # Without reductions nothing needs whole rows: what is not summed forms the columns, spread over programs.
        self.sweeps = bool(kernel.row)
        columns = kernel.row if self.sweeps else others
        self.plan = plan or plan_reduction(kernel, lines, columns)
        self.lines = Dim("line", lines, self.plan.outer, 0)
        self.columns = Dim("column", columns, self.plan.inner, 1)
        self.points = Dim("point", others if self.sweeps else ())
        self.part = Dim("part", (Axis("part", self.plan.parts),))
        self.row = frozenset(kernel.row)
        self.shape = (self.lines.block, self.columns.block)
        self.carried: dict[int, list[str]] = {}  # the states of cumulative values before a chunk of the row
        values.scan = self._scan

    def lower(self) -> tuple[int, Blocks]:
        grid = [self.part, self.points, self.lines] if self.sweeps else [self.columns, self.lines]
        programs = self.coordinates.spread(grid, self.scope)
        self.partials.spread(grid, programs)
        if self.plan.parts > 1:
            self._part()
            return programs, self.plan
        whole = self.columns.chunks <= 1
        if self.sweeps and whole:
            self.coordinates.place(self.columns, "", self.scope)
        for level in range(max(self.kernel.levels, default=0) + 1):
            self._level(level, whole or not self.sweeps)
        return programs, self.plan

    def _level(self, level: int, whole: bool) -> None:
        """The stores of values of this level, and the reductions that these values feed."""
        kernel = self.kernel
        reduces = [
            n for n, v in enumerate(kernel.values) if isinstance(v, Reduce) and kernel.levels[n] == level + 1
        ]
        stores = [s for s in kernel.stores if kernel.levels[s.value] == level]
        roots = [i for n in reduces for i in self._reduce(n).inputs] + kernel.stored(stores)
        # All loads come before all stores: a slot may be both, and what is loaded from it is used on this level.
        self.values.emit(roots, self.scope, lambda n: whole or not self._varies(n))
        along = [s for s in stores if self._varies_along_row(s)]
        for store in stores if whole else [s for s in stores if s not in along]:
            self._store(store, self.scope)
        if not whole and (reduces or along):
            states = self._sweep(roots, reduces, along, "0", str(self.columns.size))
        else:
            states = {n: self._elements(n, self.scope) for n in reduces}
        for number in reduces:
            self._finish(number, states[number])

    def _varies(self, number: int) -> bool:
        return bool(self.kernel.axes[number] & self.row)

    def _varies_along_row(self, store: Store) -> bool:
        return self._varies(store.value) or bool(store.index.axes & self.row)

    def _sweep(
        self, roots: Sequence[int], reduces: Sequence[int], stores: Sequence[Store], first: str, last: str
    ) -> dict[int, list[str]]:
        """A loop over the chunks of rows longer than the tile, from `first` on; `roots` are what stores and
        reductions need. Returns the names of the reductions' states, which are still one for each column."""
        code = self.code

        def chunks(first: str, last: str, states: dict[int, list[str]], lengths: Sequence[int]) -> None:
            if lengths:
                return blocks(first, last, states, lengths)
            with code.block(f"for start in range({first}, {last}, {self.columns.block})"):
                scope = self.scope.child()
                self.coordinates.place(self.columns, "start", scope)
                self.values.emit(roots, scope)
                for store in stores:
                    self._store(store, scope)
                for number in reduces:
                    self._combine(number, states[number], self._elements(number, scope))

        def blocks(first: str, last: str, states: dict[int, list[str]], lengths: Sequence[int]) -> None:
            """Blocks of many chunks, whose states start anew and are joined to those before."""
            start, span = self.values.names.unique("block"), self.columns.block * prod(lengths)
            with code.block(f"for {start} in range({first}, {last}, {span})"):
                inner = {n: self._initial(n) for n in reduces}
                chunks(start, f"tl.minimum({start} + {span}, {last})", inner, lengths[:-1])
                for number in reduces:
                    self._combine(number, states[number], inner[number])

        needed = self.values.needed([*roots, *self.kernel.stored(stores)], self.scope)
        scans = [n for n in needed if isinstance(self.kernel.values[n], Scan)]
        self.carried = {n: self._initial(n, (self.lines.block, 1)) for n in scans}
        states = {n: self._initial(n) for n in reduces}
        chunks(first, last, states, self._block_lengths(reduces))
        return states

    def _block_lengths(self, reduces: Sequence[int]) -> tuple[int, ...]:
        """How the loop over chunks is cut; not at all where nothing rounds."""
        if not any(rounds(self._reduce(n)) for n in reduces):
            return ()
        (cut,) = cut_loops([-(-self.columns.chunks // self.plan.parts)])
        return cut.lengths

    def _combine(self, number: int, states: Sequence[str], others: Sequence[str]) -> None:
        """Take other states into running ones."""
        combined = self.values.recipes.call(self._reduce(number).combine, (*states, *others))
        self.code.line(f"{', '.join(states)} = {combined}")

    def _part(self) -> None:
        """One part of a single sweep; a second kernel joins the parts, and does all that follows from them."""
        code = self.code
        reduces = [n for n, v in enumerate(self.kernel.values) if isinstance(v, Reduce)]
        span = -(-self.columns.chunks // self.plan.parts) * self.columns.block
        code.line(f"first = {self.partials.chunk(self.part)} * {span}")
        code.line(f"last = tl.minimum(first + {span}, {self.columns.size})")
        roots = [i for n in reduces for i in self._reduce(n).inputs]
        self.values.emit(roots, self.scope, lambda n: not self._varies(n))
        joins = []
        for number, states in self._sweep(roots, reduces, (), "first", "last").items():
            value = self._reduce(number)
            names = tuple(self._join_columns(number, states))
            joins.append(Join(number, value.finish.name, names, value.init, value.combine, value.finish))
        self.partials.join_later(self.part, joins, self.lines.axes, self.scope)

    def _scan(self, number: int, scope: Scope) -> None:
        """A cumulative value at a chunk of the row: along the chunk, and behind what was carried there."""
        value, code, unique = self._in_order(number), self.code, self.values.names.unique
        combine = self.values.recipes.function(value.combine)
        elements = self._elements(number, scope)
        inputs = f"({', '.join(elements)})" if len(elements) > 1 else elements[0]
        names = [unique(value.finish.name) for _ in elements]
        code.line(f"{', '.join(names)} = tl.associative_scan({inputs}, 1, {combine})")
        if self.columns.chunks > 1:
            before = self.carried[number]
            wide = [f"tl.broadcast_to({b}, {self.shape})" for b in before]
            code.line(f"{', '.join(names)} = {self.values.recipes.call(value.combine, (*wide, *names))}")
            last = f"tl.arange(0, {self.columns.block})[None, :] == {self.columns.block - 1}"
            for state, name, init in zip(before, names, value.init, strict=True):
                # Of one element and zeros, the sum is that element.
                text = f"{name}.to(tl.int32)" if init.dtype.is_bool else name
                total = f"tl.sum(tl.where({last}, {text}, 0), 1, keep_dims=True)"
                kept = f"{total} != 0" if init.dtype.is_bool else f"{total}.to({triton_dtype(init.dtype)})"
                code.line(f"{state} = {kept}")
        self.values.apply_to(number, value.finish, names, scope)

    def _in_order(self, number: int) -> Scan:
        value = self.kernel.values[number]
        if not isinstance(value, Scan) or value.axes != self.kernel.row:
            raise CompileError("a cumulative value goes along all row axes of its kernel", got=str(value))
        return value

    def _state(self, number: int) -> Reduce | Scan:
        value = self.kernel.values[number]
        return self._in_order(number) if isinstance(value, Scan) else self._reduce(number)

    def _reduce(self, number: int) -> Reduce:
        value = self.kernel.values[number]
        if not isinstance(value, Reduce) or set(value.axes) != set(self.kernel.row):
            raise CompileError("a reduction must run over all row axes of its kernel", got=str(value))
        return value

    def _elements(self, number: int, scope: Scope) -> list[str]:
        """The states of a chunk's elements: blocks of the whole tile, neutral outside the row."""
        value = self._state(number)
        guards = scope.guard(value.axes)
        result = []
        for i, init in zip(value.inputs, value.init, strict=True):
            text, span = self.values.operand(i, scope).typed, self.values.spans[i]
            if scope.shape(span) != self.shape or not scope.is_block(span):
                text = f"tl.broadcast_to({text}, {self.shape})"
            if guards:
                text = f"tl.where({' & '.join(guards)}, {text}, {literal(init.value, init.dtype).text})"
            result.append(text)
        return result

    def _initial(self, number: int, shape: tuple[int, ...] | None = None) -> list[str]:
        """Names of a running state, which starts neutral."""
        value, shape = self._state(number), shape or self.shape
        names = []
        for init in value.init:
            name = self.values.names.unique(f"{value.finish.name}_state")
            start = literal(init.value, init.dtype).text
            self.code.line(f"{name} = tl.full({shape}, {start}, {triton_dtype(init.dtype)})")
            names.append(name)
        return names

    def _join_columns(self, number: int, states: Sequence[str]) -> list[str]:
        """Join the columns' states to one for each line; their names."""
        value, recipes = self._reduce(number), self.values.recipes
        wanted = value.finish.name if not value.finish.steps else f"{value.finish.name}_total"
        names = [self.values.names.unique(wanted) for _ in states]
        combine = recipes.function(value.combine)
        inputs = f"({', '.join(states)})" if len(states) > 1 else states[0]
        self.code.line(f"{', '.join(names)} = tl.reduce({inputs}, 1, {combine}, keep_dims=True)")
        return names

    def _finish(self, number: int, states: Sequence[str]) -> None:
        """Join the columns' states, and finish the result."""
        names = self._join_columns(number, states)
        self.values.apply_to(number, self._reduce(number).finish, names, self.scope)

    def _store(self, store: Store, scope: Scope) -> None:
        if over := self.kernel.accumulated(store):
            varying = self.kernel.row if self._varies_along_row(store) else ()
            summed = (self.lines,) if set(self.lines.axes) <= set(over) else ()
            self.partials.add(store, scope, summed, varying)
        elif self._varies_along_row(store):
            self.values.store(store, scope, (*self.kernel.axes[store.value], *self._line_axes(store)))
        else:
            self.values.store(store, scope, self._line_axes(store))

    def _line_axes(self, store: Store) -> tuple[Axis, ...]:
        """The lines' axes, for values that depend on a reduction or a cumulative value: blocks of all lines."""
        whole = self.kernel.levels[store.value] or (self.values.spans[store.value] - self.kernel.axes[store.value])
        return self.lines.axes if whole else ()


def summed_axes(kernel: Kernel) -> tuple[Axis, ...]:
    """The parallel axes that form a tile's lines where values are accumulated: those that all such values are
    accumulated over, else those of the first. One that keeps some of them leaves its partial states for every line."""
    sets = [set(v.axes) for v in kernel.values if isinstance(v, Accumulate)]
    if not sets:
        return ()
    chosen = set.intersection(*sets) or sets[0]
    return tuple(a for a in kernel.parallel if a in chosen)
