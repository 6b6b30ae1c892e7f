"""Groups of nodes that will share a kernel, and which must run before which.

In: groups as fusion makes them, each with a number of its own, and what they need. Out: whether one needs another,
in one look: each group keeps, as the bits of an integer, all groups that it needs directly or through others.
And a tracer that has traced all members, made where it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

from graphc.dataclass import dataclass, field
from graphc.ir import Node

from .build_kernel import trace_members
from .kernel_tracer import Domain, KernelTracer
from .pattern import Pattern

if TYPE_CHECKING:
    from .cut_scores import Part
    from .decided import Note

Mark: TypeAlias = tuple[int, int, set[Node], Pattern]


@dataclass(eq=False)
class Group:
    """Nodes that will share a kernel.

    `members` are in the order in which they joined, `inside` are they and the nodes that they absorb; `nodes` are all
    that it knows, with those that it reads, and `local` their numbers, in terms of which `pattern` says what the group
    has become. `kept` is a tracer that may lag behind the members.

    `needs` are the groups that must run before it, `users` those that need it; both directly. `before` has the bit
    of every group that must run before it, while nodes are placed; `number` is that of its own bit. `steers`: it is a
    loop, branch or call, whose members are that node and the items of its results; or `part` is the kernel that makes
    its members. Nothing joins these. `decided` are notes of what fusion decided about its members.
    """

    number: int
    pattern: Pattern
    members: list[Node] = field(default_factory=list)
    inside: set[Node] = field(default_factory=set)
    nodes: list[Node] = field(default_factory=list)
    local: dict[Node, int] = field(default_factory=dict)
    needs: set[Group] = field(default_factory=set)
    users: set[Group] = field(default_factory=set)
    before: int = 0
    steers: bool = False
    part: Part | None = None
    reasons: list[str] = field(default_factory=list)
    decided: list[Note] = field(default_factory=list)
    kept: KernelTracer | None = None

    @property
    def domain(self) -> Domain:
        return self.pattern.domain

    @property
    def size(self) -> int:
        return self.pattern.size

    @property
    def contracts(self) -> bool:
        return bool(self.domain.contracted)

    @property
    def scatters(self) -> bool:
        """Whether it is a scatter, which has no other members."""
        return bool(self.members) and self.members[0].op.push is not None

    @property
    def slots(self) -> list[Node]:
        """The nodes that its kernel touches so far."""
        return [self.nodes[n] for n in self.pattern.slots]

    def loads(self) -> set[Node]:
        return {n for n in self.slots if n not in self.inside}

    # Growing

    def forget(self, known: int) -> None:
        """Know no more than so many nodes."""
        for node in self.nodes[known:]:
            del self.local[node]
        del self.nodes[known:]

    def mark(self) -> Mark:
        """A point to return to with `rollback`."""
        return len(self.members), len(self.nodes), set(self.inside), self.pattern

    def rollback(self, mark: Mark) -> None:
        """Let go of the members that joined since `mark`."""
        members, known, inside, self.pattern = mark
        self.inside &= inside
        self.forget(known)
        del self.members[members:]
        if self.kept is not None and len(self.kept.steps) > members:
            self.kept.back(members)

    @property
    def tracer(self) -> KernelTracer:
        """A tracer that has traced all members. Asked for where something joins that no group has met before."""
        if self.kept is None or self.kept.domain != self.domain:
            self.kept = KernelTracer(self.domain, self.inside)
        self.kept.limits = None
        trace_members(self.kept, self.members[len(self.kept.steps) :])
        return self.kept

    # Order

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
