"""Who reads and writes what in a graph whose nodes are fused: when a new value may be written over an old one.

In: kernels, loops and branches, in order. Knows no memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from graphc.cached import cached_property
from graphc.ir import Node
from graphc.kernel import Kernel, Load
from graphc.work import flops

from .aliases import Aliases
from .fuse import Fused, FusedControl, FusedKernel
from .in_place import can_update_in_place
from .planned import Key, key, type_of

LONG_WORK = 1_000_000_000  # operations: some 10 ms, after which a call looks for Ctrl-C
COPY_WORK = 2_000  # operations beside which copying an element takes a few percent


class Inside(Protocol):
    """What is to be known of a loop, branch or call."""

    @property
    def gathers(self) -> bool:
        """Whether it may meet a bad index."""

    @property
    def work(self) -> int:
        """Operations, as far as they can be counted."""


class Uses:
    """Which steps, by number, store and load what, and which is the last that gathers. `updates`: the new values of
    variables."""

    def __init__(
        self, steps: Sequence[Fused], updates: Iterable[Node | None], controls: Mapping[Node, Inside],
        aliases: Aliases,
    ) -> None:  # fmt: skip
        self.steps = steps
        self.key = aliases.key
        self.controls = controls
        self.updates = frozenset(self.key(u) for u in updates if u is not None)
        self.writers: dict[Key, list[int]] = {}
        self.last_load: dict[Key, int] = {}
        self.last_gather = -1
        self._can_update: dict[tuple[Kernel, int, int], bool] = {}  # once for equal kernels
        for number, fused in enumerate(steps):
            for stored in _stored(fused):
                self.writers.setdefault(stored, []).append(number)
            for loaded in _loaded(fused):
                self.last_load[loaded] = number
            if fused.kernel.gathers if isinstance(fused, FusedKernel) else controls[fused.node].gathers:
                self.last_gather = number

    @property
    def gathers(self) -> bool:
        """Whether any step may meet a bad index."""
        return self.last_gather >= 0

    @property
    def work(self) -> int:
        """Operations of all steps."""
        return sum(map(self._work_of, self.steps))

    def written_over(self, variable: Node, new: Node) -> bool:
        """Whether a variable's new value is written over the old one. Not where a bad index may show in this kernel or
        a later one: then no variable may have changed."""
        writer = self.writers[self.key(new)][-1]
        return self.last_gather < writer and self.can_overwrite(variable, new) and not self._too_early(new)

    def _too_early(self, new: Node) -> bool:
        """Whether long work follows, so that a call could not be cut off any more: then a new value that is small
        beside that work (the state of random numbers, running statistics) is copied at the end."""
        left = self._work_left[self.writers[self.key(new)][0]]
        return left >= LONG_WORK and left >= COPY_WORK * type_of(self.key(new)).size

    @cached_property
    def _work_left(self) -> list[int]:
        """The work after each step, but for what other kernels do that write variables' new values too."""
        work: dict[Kernel, int] = {}
        left = [0]
        for fused in reversed(self.steps):
            own = 0
            if self.updates.isdisjoint(_stored(fused)):
                if not isinstance(fused, FusedKernel):
                    own = self._work_of(fused)
                elif fused.kernel in work:
                    own = work[fused.kernel]
                else:
                    own = work[fused.kernel] = flops(fused.kernel)
            left.append(left[-1] + own)
        return left[-2::-1]

    def _work_of(self, fused: Fused) -> int:
        return flops(fused.kernel) if isinstance(fused, FusedKernel) else self.controls[fused.node].work

    def can_store_twice(self, name: Key) -> bool:
        """Whether the step that computes something can write it to another place too: a kernel that stores it once for
        each element."""
        writers = self.writers.get(name, ())
        if len(writers) != 1:
            return False
        fused = self.steps[writers[0]]
        if isinstance(fused, FusedControl):
            return False
        stores = [s for s in fused.kernel.stores if key(fused.slots[s.slot]) == name]
        return len(stores) == 1 and not fused.kernel.accumulated(stores[0]) and not stores[0].scatter

    def can_overwrite(self, old: Node, new: Node) -> bool:
        """Whether a kernel may write a new value over an old one, that nobody needs after it. A loop or branch may not:
        it might be cut off, and it reads what it is given for as long as it runs."""
        writers, last_load = self.writers[self.key(new)], self.last_load.get(key(old), -1)
        if len(writers) != 1:
            return self._can_scatter_over(old, writers)
        (writer,) = writers
        fused = self.steps[writer]
        if isinstance(fused, FusedControl) or last_load > writer:
            return False
        if last_load < writer:
            return True
        slots = [key(n) for n in fused.slots]
        known = fused.kernel, slots.index(key(old)), slots.index(self.key(new))
        if known not in self._can_update:
            self._can_update[known] = can_update_in_place(*known)
        return self._can_update[known]


    def _can_scatter_over(self, old: Node, writers: Sequence[int]) -> bool:
        """Whether a scatter, which copies its base first, may add to the old value where it is."""
        first = self.steps[writers[0]]
        source = copied(first)
        if source is None or self.last_load.get(key(old), -1) > writers[0]:
            return False
        return key(source) == key(old) or (key(source) in self.writers and self.can_overwrite(old, source))


def copied(fused: Fused) -> Node | None:
    """What a kernel copies as it is, if it does nothing else."""
    if isinstance(fused, FusedControl) or len(fused.kernel.values) != 1 or len(fused.kernel.stores) != 1:
        return None
    (load,), (store,) = fused.kernel.values, fused.kernel.stores
    if not isinstance(load, Load) or load.index != store.index or load.bounds or store.scatter:
        return None
    source, to = fused.kernel.slots[load.slot], fused.kernel.slots[store.slot]
    alike = (source.dtype, source.size) == (to.dtype, to.size)
    return fused.slots[load.slot] if alike else None


def _stored(fused: Fused) -> set[Key]:
    if isinstance(fused, FusedControl):
        return {key(n) for n in fused.items}
    return {key(fused.slots[s]) for s in fused.kernel.written}


def _loaded(fused: Fused) -> set[Key]:
    if isinstance(fused, FusedControl):
        return {key(n) for n in fused.read}
    return {key(fused.slots[s]) for s in fused.kernel.loaded}
