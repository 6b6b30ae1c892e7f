"""When a kernel may write a variable's new value over its old one.

In: a kernel, the slot that holds the old value and the slot that takes the new one. Out: whether both may be the
same memory, and the kernel with one slot for both.
"""

from __future__ import annotations

from graphc.dataclass import replace
from graphc.kernel import Kernel, KernelKind, Load
from graphc.value import Mapper, closure


def can_update_in_place(kernel: Kernel, loaded: int, stored: int) -> bool:
    """Whether slot `stored` may share the memory of slot `loaded`.

    Yes where the store goes to the very index that every load of the old value is from, so that no other point of
    the kernel reads it, and no later pass over the row needs the load again. What is accumulated, and complete
    only when the kernel has ended, may start in its destination, so it never shares.
    """
    (store,) = (s for s in kernel.stores if s.slot == stored)
    if kernel.accumulated(store) or store.scatter or kernel.kind is KernelKind.ATTENTION:  # with passes of many kinds
        return False
    loads = {n for n, v in enumerate(kernel.values) if isinstance(v, Load) and v.slot == loaded}
    same_index = all(kernel.values[n].index == store.index for n in loads)  # type: ignore[union-attr]
    return same_index and max(_passes(kernel, loads), default=0) <= kernel.levels[store.value]


def _passes(kernel: Kernel, loads: set[int]) -> set[int]:
    """The passes over the row in which any of `loads` is needed."""
    roots = [(kernel.levels[s.value], s.value) for s in kernel.stores]
    for number, value in enumerate(kernel.values):
        if value.finishes:
            roots += [(kernel.levels[number] - 1, i) for i in value.inputs]
    finished = {n for n, v in enumerate(kernel.values) if v.finishes}
    return {level for level, root in roots if not loads.isdisjoint(closure(kernel.values, [root], finished))}


def share_slot(kernel: Kernel, loaded: int, stored: int) -> tuple[Kernel, tuple[int, ...]]:
    """The kernel with slot `stored` dropped in favour of `loaded`, and the old number of each new slot."""
    order = [n for n in range(len(kernel.slots)) if n not in (loaded, stored)]
    order.insert(sum(1 for n in order if n not in kernel.written), loaded)
    numbers = {old: new for new, old in enumerate(order)}
    numbers[stored] = numbers[loaded]
    to = Mapper(slots=numbers)
    values, stores = tuple(map(to.value, kernel.values)), tuple(map(to.store, kernel.stores))
    slots = tuple(kernel.slots[n] for n in order)
    return replace(kernel, slots=slots, values=values, stores=stores), tuple(order)
