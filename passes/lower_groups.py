"""Groups to kernels, equal groups once: models repeat their blocks, and so do groups.

In: a group and those of its nodes to store. Out: its kernels, and the node that each slot holds. Groups of one pattern
that store alike have equal kernels, whose slots have other names.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

from graphc.ir import Node
from graphc.kernel import Kernel

from .build_kernel import build_kernel, slot_name
from .groups import Group

Lowered: TypeAlias = list[tuple[Kernel, tuple[Node, ...]]]


class Lowering:
    """Makes kernels of groups. `number`: a node's place in the order of the graph."""

    def __init__(self, number: Callable[[Node], int]) -> None:
        self.number = number
        self._known: dict[Hashable, list[tuple[Kernel, tuple[int, ...]]]] = {}

    def kernels(
        self, group: Group, members: Sequence[Node], stored: Sequence[Node]
    ) -> tuple[Lowered, tuple[Node, ...]]:
        """The kernels of a group, in order, with their slots' nodes; and all its nodes. `members`: in the order in
        which they are to be computed."""
        local = group.local
        key = group.pattern, tuple([local[n] for n in members]), tuple([local[n] for n in stored])
        nodes = tuple(sorted(group.inside, key=self.number))
        known = self._known.get(key)
        if known is None:
            lowered = _lower(group, members, stored)
            self._known[key] = [(kernel, tuple(local[n] for n in slots)) for kernel, slots in lowered]
            return lowered, nodes
        found = [(kernel, tuple(group.nodes[n] for n in slots)) for kernel, slots in known]
        return [(kernel.named(map(slot_name, slots)), slots) for kernel, slots in found], nodes


def _lower(group: Group, members: Sequence[Node], stored: Sequence[Node]) -> Lowered:
    if group.scatters:
        from .scatter import build_scatter

        return build_scatter(members[0], group.inside - {members[0]})
    kernel, slots = build_kernel(group.domain, members, group.inside, stored)
    axes = set(kernel.parallel)
    full = [slots[s.slot] for s in kernel.stores if s.index.axes | set(kernel.accumulated(s)) >= axes]
    if kernel.row or len(full) == len(kernel.stores):
        return [(kernel, slots)]
    # What made a row of some axes is not wanted after all, so that some results lack axes that others have.
    parts = [[n for n in stored if n in full], [n for n in stored if n not in full]]
    return [build_kernel(group.domain, members, group.inside, part) for part in parts]
