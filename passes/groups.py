"""Groups of nodes that will share a kernel, and which must run before which.

In: groups as fusion makes them, each with a number of its own, and what they need. Out: whether one needs another,
in one look: each group keeps, as the bits of an integer, all groups that it needs directly or through others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush

from graphc.dataclass import dataclass, field
from graphc.index import axes_size
from graphc.ir import Node

from .kernel_tracer import Domain, KernelTracer


@dataclass(eq=False)
class Group:
    """Nodes that will share a kernel.

    `needs` are the groups that must run before it, `users` those that need it; both directly. `before` has the bit
    of every group that must run before it, while nodes are placed; `number` is that of its own bit.
    """

    number: int
    domain: Domain
    tracer: KernelTracer
    members: list[Node] = field(default_factory=list)
    absorbed: set[Node] = field(default_factory=set)
    needs: set[Group] = field(default_factory=set)
    users: set[Group] = field(default_factory=set)
    before: int = 0
    reasons: list[str] = field(default_factory=list)

    @staticmethod
    def over(domain: Domain, number: int) -> Group:
        return Group(number, domain, KernelTracer(domain, set()))

    @property
    def size(self) -> int:
        return axes_size(self.tracer.axes)

    @property
    def contracts(self) -> bool:
        return bool(self.domain.contracted)

    @property
    def scatters(self) -> bool:
        """Whether it is a scatter, which has no other members."""
        return bool(self.members) and self.members[0].op.push is not None

    def loads(self) -> set[Node]:
        return {n for n in self.tracer.slots if n not in self.tracer.members}

    def depends_on(self, other: Group) -> bool:
        """Whether it must run after `other`, directly or through others."""
        return bool(self.before >> other.number & 1)

    def require(self, others: Iterable[Group]) -> None:
        """Let it, and so all that need it, run after these, none of which may need it."""
        gained = 0
        for other in others:
            self.needs.add(other)
            other.users.add(self)
            gained |= other.before | 1 << other.number
        pending = [self]
        while pending:
            group = pending.pop()
            if gained & ~group.before:
                group.before |= gained
                pending.extend(group.users)

    def replace(self, a: Group, b: Group) -> None:
        """Take the place of two groups in what others need and are needed by."""
        for group in self.needs:
            group.users -= {a, b}
            group.users.add(self)
        for group in self.users:
            group.needs -= {a, b}
            group.needs.add(self)


def bits(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def in_order(groups: Iterable[Group]) -> list[Group]:
    """The groups with each after those that it needs; otherwise by number."""
    waiting = {g: len(g.needs) for g in groups}
    known = {g.number: g for g in waiting}
    ready = [g.number for g, count in waiting.items() if not count]
    heapify(ready)
    order = []
    while ready:
        group = known[heappop(ready)]
        order.append(group)
        for user in group.users:
            waiting[user] -= 1
            if not waiting[user]:
                heappush(ready, user.number)
    return order
