"""Merging: groups that gain by being one kernel become one, as far as dependencies and the kernel allow.

In: groups in an order that can run, and a way to try two as one. Out: fewer groups, in an order to go on with.
Sets of groups are the bits of integers, by position; so what a group could merge with is a few operations, however
many groups there are, and no pair is looked at that has to fail because a third group runs in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush

from graphc.costs import Costs
from graphc.dataclass import dataclass
from graphc.ir import Node

from .fusion_order import Order
from .groups import Group, bits
from .pattern import Pattern

PATIENCE = 64  # partners that may refuse a group before it asks no more
WINDOW = 1 << 12  # groups that are looked at together; the bits of more would take too much memory

Attempt = Callable[[Group, Group], Group | None]


@dataclass(frozen=True)
class _Traits:
    """What decides whether a group gains by merging: the large tensors that it touches, its size if that is small."""

    keys: tuple[Node | int, ...]
    contracts: bool

    @staticmethod
    def of(group: Group, large: Sequence[int], costs: Costs) -> _Traits:
        """`large`: the local numbers of the large tensors."""
        if group.scatters:
            return _Traits((), False)
        keys: list[Node | int] = [group.nodes[n] for n in large]
        if not group.contracts and 0 < (size := group.size) <= costs.small:
            keys.append(size)
        return _Traits(tuple(keys), group.contracts)


def merge(groups: Sequence[Group], attempt: Attempt, costs: Costs, order: Order) -> list[Group]:
    """Merge pairs of groups until no pair is left that gains by it and can be one kernel. Earlier groups go first,
    and no pair is tried twice. `groups` come in an order that can run; `attempt` gives two as one, or None."""
    merged: list[Group] = []
    for start in range(0, len(groups), WINDOW):
        merged += _Window(groups[start : start + WINDOW], attempt, costs, order).merged()
    return merged


class _Window:
    """Neighbouring groups. None outside of them lies between two of them, since their order can run and what is
    merged are neighbours too."""

    def __init__(self, groups: Sequence[Group], attempt: Attempt, costs: Costs, order: Order) -> None:
        self.attempt = attempt
        self.costs = costs
        self.order = order
        self.groups: list[Group | None] = list(groups)
        self.positions = {g: p for p, g in enumerate(groups)}
        self.before = [0] * len(groups)  # the positions of what must run before, directly or through others
        self.after = [0] * len(groups)
        self._close()
        self._large: dict[Pattern, list[int]] = {}
        self.traits = [self._traits_of(g) for g in groups]
        self.alike: dict[Node | int, int] = {}  # the positions of the groups that have a trait
        self.contracting = 0
        for position in range(len(groups)):
            self._enter(position)
        self.refused = [0] * len(groups)  # the positions of later groups that it can't merge with
        self.patience = [PATIENCE] * len(groups)

    def _close(self) -> None:
        for position, group in enumerate(self.groups):
            for need in self._known(group.needs):  # type: ignore[union-attr]
                self.before[position] |= self.before[need] | 1 << need
        for position in reversed(range(len(self.groups))):
            for need in self._known(self.groups[position].needs):  # type: ignore[union-attr]
                self.after[need] |= self.after[position] | 1 << position

    def _known(self, groups: set[Group]) -> list[int]:
        return [self.positions[g] for g in groups if g in self.positions]

    def _traits_of(self, group: Group) -> _Traits:
        if group.steers or group.part is not None:
            return _Traits((), False)
        large = self._large.get(group.pattern)
        if large is None:
            touched = dict.fromkeys((*group.slots, *group.members))
            large = [group.local[n] for n in touched if n.tensor_type.nbytes >= self.costs.shared_bytes]
            self._large[group.pattern] = large
        return _Traits.of(group, large, self.costs)

    def _enter(self, position: int) -> None:
        bit, traits = 1 << position, self.traits[position]
        for key in traits.keys:
            self.alike[key] = self.alike.get(key, 0) | bit
        if traits.contracts:
            self.contracting |= bit

    def _leave(self, position: int) -> None:
        keep = ~(1 << position)
        for key in self.traits[position].keys:
            self.alike[key] &= keep
        self.contracting &= keep

    def merged(self) -> list[Group]:
        agenda = list(range(len(self.groups)))
        heapify(agenda)
        while agenda:
            first = agenda[0]
            partners = self._partners(first) >> first + 1 << first + 1 & ~self.refused[first]
            if not partners or not self.patience[first]:
                heappop(agenda)
                continue
            second = self.order.partner(partners)
            a, b = self.groups[first], self.groups[second]
            assert a is not None and b is not None
            whole = self.attempt(a, b)
            if whole is None:
                self.refused[first] |= 1 << second
                self.patience[first] -= 1
                continue
            self._replace(first, second, whole)
            for earlier in bits(self._partners(second) & (1 << second) - 1):
                if self.patience[earlier]:
                    self.refused[earlier] &= ~(1 << second)
                    heappush(agenda, earlier)
            heappush(agenda, second)
        return [g for g in self.groups if g is not None]

    def _partners(self, position: int) -> int:
        """The positions of the groups that one gains by merging with and that no third runs between."""
        group = self.groups[position]
        if group is None:
            return 0
        found = 0
        for key in self.traits[position].keys:
            found |= self.alike[key]
        if self.traits[position].contracts:
            found &= ~self.contracting
        found &= ~(1 << position)
        if found:
            for need in self._known(group.needs):
                found &= ~self.before[need]
            for user in self._known(group.users):
                found &= ~self.after[user]
        return found

    def _replace(self, first: int, second: int, whole: Group) -> None:
        """Put a merged group in the second's place."""
        a, b = self.groups[first], self.groups[second]
        assert a is not None and b is not None
        whole.replace(a, b)
        self._leave(first)
        self._leave(second)
        self._join(self.before, self.after, first, second)
        self._join(self.after, self.before, first, second)
        both = 1 << first | 1 << second
        before, after = self.before[first] | self.before[second], self.after[first] | self.after[second]
        self.before[second], self.after[second] = before & ~both, after & ~both
        self.groups[first], self.groups[second] = None, whole
        del self.positions[a], self.positions[b]
        self.positions[whole] = second
        self.traits[second] = self._traits_of(whole)
        self._enter(second)
        self.refused[second] = 0
        self.patience[second] = PATIENCE

    def _join(self, before: list[int], after: list[int], first: int, second: int) -> None:
        """What lies before either comes before all that lies after either. What lies after both knows that already."""
        for one, other in ((first, second), (second, first)):
            gained = before[other] & ~before[one] | 1 << second
            if one == first or gained != 1 << second:
                for position in bits(after[one] & ~after[other] & ~(1 << other)):
                    before[position] |= gained
