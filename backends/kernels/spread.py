"""Kernels cut into parts that threads share, and that sum few terms each; and the kernels that join the parts.

In: a kernel, and an axis that it sums over. Out: kernels, and the scratch memory in which parts leave what they have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

from graphc.cached import cached_property
from graphc.dataclass import dataclass, field, replace
from graphc.index import Axis, Index, axes_size, flatten
from graphc.kernel import Accumulate, Const, Dot, Kernel, Load, Reduce, Slot, Store
from graphc.scalar import Recipe
from graphc.value import component

from .long_sums import rounds
from .rewrite import Rewrite
from .sums import sum_of
from .sweeps import Sweep, needed_in, sweeps_of

PARTS = 64  # the most parts that are made for threads
NARROW = 16  # fewer sums than this do not fill a vector
MOST_TERMS = 512  # that one element in memory is summed of, one after the other; more are cut …
PART_TERMS = 128  # … into parts of about so many, so that rounding errors do not add up


@dataclass(frozen=True)
class Stages:
    """Kernels that have the slots of the whole kernel, and behind them the scratch slots."""

    kernels: tuple[Kernel, ...]
    scratch: tuple[Slot, ...] = ()


@dataclass(frozen=True)
class CutAxis:
    """An axis in `parts` parts of equal length, and one more with the rest where that is not 0."""

    axis: Axis
    parts: int
    length: int

    @property
    def rest(self) -> int:
        return self.axis.size - self.parts * self.length

    @property
    def total(self) -> int:
        return self.parts + (self.rest > 0)

    def pieces(self) -> Iterator[tuple[Axis, Axis, Index, Index]]:
        """For the equal parts, then for the rest: the axis of parts, the axis within a part, the position on the
        cut axis, and the number of the part."""
        part, within = Axis(f"{self.axis.name}p", self.parts), Axis(f"{self.axis.name}q", self.length)
        yield part, within, Index.of(part) * self.length + Index.of(within), Index.of(part)
        if self.rest:
            one, within = Axis(f"{self.axis.name}p", 1), Axis(f"{self.axis.name}q", self.rest)
            yield one, within, Index.of(within) + self.parts * self.length, Index((), self.parts)


def cut(axis: Axis, parts: int) -> CutAxis:
    """Cut into about `parts` parts, evenly if a number of parts near it divides the axis."""
    parts = min(parts, axis.size)
    even = next((p for p in range(parts, max(parts // 2, parts - PARTS), -1) if axis.size % p == 0), parts)
    return CutAxis(axis, even, axis.size // even)


def longest(axes: tuple[Axis, ...]) -> Axis:
    """The first of the longest axes."""
    return max(axes, key=lambda a: a.size)


def accumulated_axis(kernel: Kernel) -> Axis | None:
    """The outermost axis that all accumulated values are accumulated over."""
    over = [set(v.axes) for v in kernel.values if isinstance(v, Accumulate)]
    return next((a for a in kernel.parallel if over and all(a in o for o in over)), None)


State: TypeAlias = tuple[Recipe, tuple[int, ...], tuple[Axis, ...], Index]


def state_of(kernel: Kernel, store: Store) -> State | None:
    """What tells states in memory apart: how they combine, of which values, over which axes, and where; None where a
    store accumulates nothing."""
    value = kernel.values[store.value]
    return (value.combine, value.inputs, value.axes, store.index) if isinstance(value, Accumulate) else None


def holds_its_state(kernel: Kernel, store: Store) -> bool:
    """Whether the slot of a store that accumulates can hold a component of the state from the first point to the last,
    while other stores hold all the others."""
    state, found = state_of(kernel, store), list[int]()
    assert state is not None
    for other in kernel.stores:
        value = kernel.values[other.value]
        if isinstance(value, Accumulate) and state_of(kernel, other) == state:
            if value.finish.steps or kernel.slots[other.slot].dtype is not value.dtype:
                return False
            found.append(value.finish.results[0])
    return not any(found) or sorted(found) == [*range(len(state[1]))]


def sums_often(kernel: Kernel, store: Store) -> bool:
    """Whether rounding errors add up in memory: a sum of floats that has many terms."""
    value = kernel.values[store.value]
    return isinstance(value, Accumulate) and rounds(value) and axes_size(value.axes) > MOST_TERMS


def in_partial_sums(kernel: Kernel, own: int, scratch: list[Slot], parts: int = 1) -> Iterator[Kernel]:
    """A kernel that accumulates, cut into `parts` for threads, and as often as sums need it to be exact; and with
    states in scratch memory where the slots can't hold them.

    `own` of the kernel's slots are its own; those behind them, and what is added here, are `scratch`.
    """
    axis = accumulated_axis(kernel) if parts > 1 else None
    stores = [s for s in kernel.stores if kernel.accumulated(s)]
    apart = [s for s in stores if sums_often(kernel, s) or not holds_its_state(kernel, s)]
    if axis is None and apart:
        axis = longest(kernel.accumulated(apart[0]))
    if axis is None:
        yield kernel
        return
    sums = [over for s in apart if sums_often(kernel, s) and axis in (over := kernel.accumulated(s))]
    parts = max(parts, *(axes_size(over) // PART_TERMS for over in sums), 1)
    yield from PartialSums(replace(kernel, slots=kernel.slots[:own]), cut(axis, parts), scratch).kernels()


@dataclass
class SpreadDot:
    """A contraction over very many terms: products over parts of the cut axis, whose sums are then summed.

    v2 = dot(v0, v1) over k  →  t[p, i, j] = dot(v0, v1) over kq;  v2 = sum of t[p, i, j] over p
    """

    old: Kernel
    dot: int
    parts: int

    def stages(self) -> Stages:
        dot = self.old.values[self.dot]
        assert isinstance(dot, Dot)
        axis = longest(dot.axes)
        cut_axis = cut(axis, min(self.parts, axis.size))
        part = Axis(f"{axis.name}p", cut_axis.total)
        scratch = (Slot(dot.dtype, cut_axis.total * axes_size(self._axes), "products"),)
        kernels = [self._part(dot, axis, *piece, scratch) for piece in cut_axis.pieces()]
        new = Rewrite(self.old)
        load = new.append(Load(len(self.old.slots), self._place(cut_axis.total, Index.of(part)), (), dot.dtype))
        new.numbers[self.dot] = new.append(sum_of(load, dot.dtype, (part,)))
        for store in self.old.stores:
            new.keep(store)
        return Stages((*kernels, new.kernel(self.old.parallel, (part,), scratch)), scratch)

    @cached_property
    def _axes(self) -> tuple[Axis, ...]:
        """The axes of the product, in the order in which its largest result lies in memory: so tiles lie as well."""
        store = max(self.old.stores, key=lambda s: self.old.slots[s.slot].size)
        own = [a for a in self.old.parallel if a in self.old.axes[self.dot]]
        return tuple(sorted(own, key=lambda a: -abs(store.index.coefficient(a))))

    def _part(
        self, dot: Dot, axis: Axis, part: Axis, within: Axis, position: Index, number: Index,
        scratch: tuple[Slot, ...],
    ) -> Kernel:  # fmt: skip
        total = scratch[0].size // axes_size(self._axes)
        new = Rewrite(self.old, {axis: position}, {axis: (within,)})
        new.store(len(self.old.slots), self._place(total, number), new.take(self.dot))
        axes = [within if k == axis else k for k in dot.axes]
        return new.kernel((part, *self._axes), axes, scratch)

    def _place(self, total: int, part: Index) -> Index:
        return flatten([part, *map(Index.of, self._axes)], [total, *(a.size for a in self._axes)])


@dataclass
class PartialSums:
    """A kernel that accumulates over the cut axis: each part does into its own scratch memory, which has a slot for
    each component of a state; then the parts' states are combined and finished.

    v1 = sum(v0) accumulated over i; s1[j] = v1  →  v1 = sum(v0) accumulated over iq; t[p, j] = v1;
    s1[j] = sum of t[p, j] over p
    """

    old: Kernel
    cut: CutAxis
    scratch: list[Slot]
    slots: dict[State, int] = field(default_factory=dict)  # the first that holds a state

    def kernels(self) -> Iterator[Kernel]:
        own, parts = len(self.old.slots), self.parts()
        for part in parts:
            yield from in_partial_sums(replace(part, slots=(*self.old.slots, *self.scratch)), own, self.scratch)
        yield from self.totals()

    def parts(self) -> list[Kernel]:
        """The equal parts, then the rest; with scratch memory for what they have."""
        for store in self._stores:
            state = state_of(self.old, store)
            assert state is not None
            if state not in self.slots:
                self.slots[state] = len(self.old.slots) + len(self.scratch)
                size = self.cut.total * axes_size(store.index.axes)
                self.scratch += [Slot(c.dtype, size, "states") for c in self._value(store).init]
        return [self._part(*piece) for piece in self.cut.pieces()]

    def totals(self) -> Iterator[Kernel]:
        """What joins the parts."""
        for store in self._stores:
            state = state_of(self.old, store)
            assert state is not None
            yield self._total(store, self.slots[state])

    @property
    def _stores(self) -> list[Store]:
        return [s for s in self.old.stores if self.cut.axis in self.old.accumulated(s)]

    def _value(self, store: Store) -> Accumulate:
        value = self.old.values[store.value]
        assert isinstance(value, Accumulate)
        return value

    def _part(self, part: Axis, within: Axis, position: Index, number: Index) -> Kernel:
        new = Rewrite(self.old, {self.cut.axis: position})
        done: set[State | None] = set()
        for store in self.old.stores:
            state = state_of(self.old, store)
            if state is None or state not in self.slots:
                new.keep(store)
            elif state not in done:
                done.add(state)
                value = self._value(store)
                inputs = tuple(new.take(i) for i in value.inputs)
                over = tuple(within if a == self.cut.axis else a for a in value.axes)
                for k in range(len(value.init)):
                    held = Accumulate(value.combine, value.init, component(value.init, k), inputs, over)
                    new.store(self.slots[state] + k, self._place(store, number), new.append(held))
        parallel = [a for a in self.old.parallel if a != self.cut.axis]
        return new.kernel((part, *parallel, within), self.old.row, self.scratch)

    def _axes(self, store: Store) -> list[Axis]:
        return [a for a in (*self.old.parallel, *self.old.row) if a in store.index.axes]

    def _place(self, store: Store, part: Index) -> Index:
        """Where in scratch memory a part has its sum of a store. Parts of few sums lie side by side, so that vectors
        may run along them."""
        axes = self._axes(store)
        places, sizes = [*map(Index.of, axes)], [a.size for a in axes]
        if axes_size(axes) < NARROW:
            return flatten([*places, part], [*sizes, self.cut.total])
        return flatten([part, *places], [self.cut.total, *sizes])

    def _total(self, store: Store, slot: int) -> Kernel:
        part, value = Axis(f"{self.cut.axis.name}p", self.cut.total), self._value(store)
        new, place = Rewrite(self.old), self._place(store, Index.of(part))
        states = tuple(new.append(Load(slot + k, place, (), c.dtype)) for k, c in enumerate(value.init))
        total = Reduce(value.combine, value.init, value.finish, states, (part,))
        new.store(store.slot, store.index, new.append(total))
        return new.kernel(self._axes(store), (part,), self.scratch)


_Step: TypeAlias = tuple[Rewrite, tuple[Axis, ...], tuple[Axis, ...]]  # a kernel, its parallel axes, and its row


@dataclass
class SpreadSweeps:
    """A kernel of few long rows: each sweep becomes a kernel that reduces parts of the rows, and one that combines
    the parts' states. Finished values that later sweeps need pass through scratch memory.

    v1 = sum(v0) over r; s1[i, r] = v0 / v1  →  t[p, i] = sum(v0) over rq;  u[i] = sum of t[p, i] over p;
    s1[i, r] = v0 / u[i], with r parallel
    """

    old: Kernel
    cut: CutAxis
    scratch: list[Slot] = field(default_factory=list)
    finished: dict[int, int] = field(
        default_factory=dict
    )  # reduction → the scratch slot that holds its values

    def stages(self) -> Stages:
        steps: list[_Step] = []
        sweeps = sweeps_of(self.old)
        if sweeps[0].outer_stores:
            steps.append(self._stores(sweeps[0].outer_stores))
        for sweep, following in pairwise(sweeps):
            states = {n: [self._slot(c, self.cut.total) for c in self._reduce(n).init] for n in sweep.reduces}
            steps += [self._part(sweep, states, *piece) for piece in self.cut.pieces()]
            steps.append(self._combine(states, following))
        if sweeps[-1].row_stores:
            steps.append(self._stores(sweeps[-1].row_stores))
        kernels = [new.kernel(parallel, row, self.scratch) for new, parallel, row in steps]
        return Stages(tuple(kernels), tuple(self.scratch))

    def _stores(self, stores: Sequence[Store]) -> _Step:
        """A kernel without reductions: nothing is left that makes the row a row."""
        new = self._rewrite()
        for store in stores:
            new.keep(store)
        return new, self.old.parallel, self.old.row

    def _part(
        self,
        sweep: Sweep,
        states: dict[int, list[int]],
        part: Axis,
        within: Axis,
        position: Index,
        number: Index,
    ) -> _Step:
        """Parts of the row: stores of the sweep, and states to scratch memory."""
        row = tuple(within if a == self.cut.axis else a for a in self.old.row)
        new = self._rewrite({self.cut.axis: position}, {self.cut.axis: (within,)})
        for store in sweep.row_stores:
            new.keep(store)
        for n, slots in states.items():
            reduce = self._reduce(n)
            inputs = tuple(new.take(i) for i in reduce.inputs)
            for k, slot in enumerate(slots):
                state = Reduce(reduce.combine, reduce.init, component(reduce.init, k), inputs, row)
                new.store(slot, self._place(number), new.append(state))
        return new, (part, *self.old.parallel), row

    def _combine(self, states: dict[int, list[int]], following: Sweep) -> _Step:
        """The parts' states to values, and what is stored of those; values that later sweeps need go to scratch."""
        part = Axis(f"{self.cut.axis.name}p", self.cut.total)
        place = self._place(Index.of(part))
        new = self._rewrite()
        later = [s for s in sweeps_of(self.old) if s.level >= following.level]
        wanted = {n for s in later for n in needed_in(self.old, s) if s.passes or s is not following}
        for n, slots in states.items():
            reduce = self._reduce(n)
            loads = tuple(
                new.append(Load(s, place, (), c.dtype)) for s, c in zip(slots, reduce.init, strict=True)
            )
            new.numbers[n] = new.append(Reduce(reduce.combine, reduce.init, reduce.finish, loads, (part,)))
            if n in wanted:
                self.finished[n] = self._slot(reduce, 1)
                new.store(self.finished[n], self._place(), new.numbers[n])
        for store in following.outer_stores:
            new.keep(store)
        return new, self.old.parallel, (part,)

    def _rewrite(
        self,
        moved: Mapping[Axis, Index] | None = None,
        reduced: Mapping[Axis, tuple[Axis, ...]] | None = None,
    ) -> Rewrite:
        """A kernel in which finished reductions are loads."""
        new = Rewrite(self.old, moved, reduced)
        for n, slot in self.finished.items():
            new.numbers[n] = new.append(Load(slot, self._place(), (), self.old.dtypes[n]))
        return new

    def _reduce(self, number: int) -> Reduce:
        reduce = self.old.values[number]
        assert isinstance(reduce, Reduce)
        return reduce

    def _slot(self, value: Const | Reduce, parts: int) -> int:
        self.scratch.append(Slot(value.dtype, parts * axes_size(self.old.parallel), "parts"))
        return len(self.old.slots) + len(self.scratch) - 1

    def _place(self, *part: Index) -> Index:
        """Where in scratch memory a row has its value, or the state of one of its parts."""
        sizes = [*(self.cut.total for _ in part), *(a.size for a in self.old.parallel)]
        return flatten([*part, *map(Index.of, self.old.parallel)], sizes)
