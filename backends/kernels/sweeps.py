"""Which passes over its row a reduction kernel takes, and what each of them needs.

In: a kernel. Out: one `Sweep` per level of values, and the values worth keeping from one sweep for later ones.
Knows nothing of vectors, registers or text.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphc.dataclass import dataclass
from graphc.index import Axis
from graphc.kernel import Apply, Kernel, Load, Reduce, Scan, Store, dependencies
from graphc.value import closure


@dataclass(frozen=True)
class Sweep:
    """What is done with values of one level: stores outside the row, then a pass over the row."""

    level: int
    reduces: tuple[int, ...]
    row_stores: tuple[Store, ...]
    outer_stores: tuple[Store, ...]
    inputs: tuple[int, ...]  # of the reductions

    @property
    def passes(self) -> bool:
        return bool(self.reduces or self.row_stores)

    @property
    def stores(self) -> tuple[Store, ...]:
        return (*self.outer_stores, *self.row_stores)


def sweeps_of(kernel: Kernel) -> tuple[Sweep, ...]:
    """All sweeps of a kernel, by level."""
    row = set(kernel.row)
    result = []
    for level in range(max(kernel.levels, default=0) + 1):
        stores = [s for s in kernel.stores if kernel.levels[s.value] == level]
        inside = tuple(s for s in stores if (kernel.axes[s.value] | s.index.axes) & row)
        outside = tuple(s for s in stores if s not in inside)
        reduces = tuple(n for n in reductions(kernel) if kernel.levels[n] == level + 1)
        inputs = tuple(i for n in reduces for i in dependencies(kernel.values[n]))
        result.append(Sweep(level, reduces, inside, outside, inputs))
    return tuple(result)


def reductions(kernel: Kernel) -> tuple[int, ...]:
    """The numbers of the reductions."""
    return tuple(n for n, v in enumerate(kernel.values) if isinstance(v, Reduce))


def behind_scans(kernel: Kernel) -> frozenset[int]:
    """The cumulative values, and those that are computed from them at the same point of the row."""
    found: set[int] = set()
    for number, value in enumerate(kernel.values):
        if isinstance(value, Scan) or (not isinstance(value, Reduce) and not found.isdisjoint(dependencies(value))):
            found.add(number)
    return frozenset(found)


def needed(kernel: Kernel, roots: Iterable[int], done: Iterable[int] = ()) -> tuple[int, ...]:
    """All values that `roots` are computed from, in order; those of `done` are taken as known."""
    return closure(kernel.values, roots, frozenset(done))


def needed_in(kernel: Kernel, sweep: Sweep, kept: Iterable[int] = ()) -> tuple[int, ...]:
    """The values that a sweep needs, `kept` ones and finished reductions among them but not what those come of."""
    return needed(kernel, [*sweep.inputs, *kernel.stored(sweep.stores)], [*reductions(kernel), *kept])


def ordered_axes(kernel: Kernel) -> frozenset[Axis]:
    """The parallel axes whose points must be done one after the other: several may store to one element. Those that
    values are accumulated over, and those along which a scattering store is not an ordinary one."""
    found: set[Axis] = set()
    for store in kernel.stores:
        found |= set(kernel.accumulated(store))
        if store.scatter:
            plain = {t for t, _ in store.index.terms if isinstance(t, Axis)}
            found |= set(kernel.parallel) - plain
            found |= {a for g in store.index.gathered() for a in g.axes}
    return frozenset(found)


def kept_values(kernel: Kernel, threshold: int) -> dict[int, int]:
    """The row values that more than one sweep needs and that cost at least `threshold` to compute again, each with
    the level of the sweep that first computes it."""
    sweeps = sweeps_of(kernel)
    uses = [set(needed_in(kernel, s)) for s in sweeps]
    row = set(kernel.row)
    cost: list[int] = []
    kept: dict[int, int] = {}
    for number, value in enumerate(kernel.values):
        inside = bool(kernel.axes[number] & row)
        own = value.recipe.cost if isinstance(value, Apply) else int(isinstance(value, Load))
        if isinstance(value, Scan):
            own = threshold  # going along the row again costs a step for each doubling of lanes
        cost.append(own + sum(cost[i] for i in dependencies(value)) if inside else 0)
        levels = [s.level for s, u in zip(sweeps, uses, strict=True) if number in u and s.passes]
        if cost[number] >= threshold and len(levels) > 1 and not kernel.dtypes[number].is_bool:
            kept[number] = levels[0]
            cost[number] = 1
    # One that later sweeps need only for another kept one is not worth keeping.
    for number in sorted(kept, reverse=True):
        others = {n: level for n, level in kept.items() if n != number}
        later = [s for s in sweeps if s.level > kept[number]]
        if not any(
            number in needed_in(kernel, s, [n for n, v in others.items() if v < s.level]) for s in later
        ):
            kept = others
    return kept
