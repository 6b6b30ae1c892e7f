"""Groups to kernels, equal groups once: models repeat their blocks, and so do groups.

In: a group and those of its nodes to store. Out: its kernels, and the node that each slot holds. Groups are equal where
their nodes compute the same of what they read; then they have equal kernels, whose slots have other names.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

from graphc import ops
from graphc.ir import Node
from graphc.kernel import Kernel
from graphc.op import Kind
from graphc.text import attrs_key

from .build_kernel import build_kernel, slot_name
from .groups import Group

Lowered: TypeAlias = list[tuple[Kernel, tuple[Node, ...]]]


class Lowering:
    """Makes kernels of groups. `number`: a node's place in the order of the graph."""

    def __init__(self, number: Callable[[Node], int]) -> None:
        self.number = number
        self._known: dict[Hashable, list[tuple[Kernel, tuple[int, ...]]]] = {}

    def kernels(self, group: Group, stored: Sequence[Node]) -> tuple[Lowered, tuple[Node, ...]]:
        """The kernels of a group, in order, with their slots' nodes; and all its nodes."""
        nodes = tuple(sorted({*group.members, *group.absorbed}, key=self.number))
        key, local = _described(group, nodes, stored)
        known = self._known.get(key)
        if known is None:
            lowered = _lower(group, stored)
            self._known[key] = [(kernel, tuple(local[n] for n in slots)) for kernel, slots in lowered]
            return lowered, nodes
        node = list(local)
        found = [(kernel, tuple(node[n] for n in slots)) for kernel, slots in known]
        return [(kernel.named(map(slot_name, slots)), slots) for kernel, slots in found], nodes


def _described(group: Group, nodes: Sequence[Node], stored: Sequence[Node]) -> tuple[Hashable, dict[Node, int]]:
    """All that decides about a group's kernels, and its nodes and those that it reads by numbers of its own."""
    local = {node: n for n, node in enumerate(nodes)}
    text: list[Hashable] = [group.domain, group.scatters]
    for node in nodes:
        for i in node.inputs:
            if i not in local:
                local[i] = len(local)
                text.append(_read(i))
        text.append((node.op, attrs_key(node.attrs) if node.attrs else (), node.type, *[local[i] for i in node.inputs]))
    text.append(tuple([local[n] for n in group.members]))
    text.append(tuple([local[n] for n in stored]))
    return tuple(text), local


def _read(node: Node) -> Hashable:
    """What a kernel knows of a node that it reads: all of a number or a position, of others the type."""
    if node.op.kind is Kind.POSITION or (node.op is ops.constant and node.tensor_type.size == 1):
        return node.op, attrs_key(node.attrs), node.type
    return node.type


def _lower(group: Group, stored: Sequence[Node]) -> Lowered:
    members = group.members
    if group.scatters:
        from .scatter import build_scatter

        return build_scatter(members[0], group.absorbed)
    kernel, slots = build_kernel(group.domain, members, group.absorbed, stored)
    axes = set(kernel.parallel)
    full = [slots[s.slot] for s in kernel.stores if s.index.axes | set(s.accumulate) >= axes]
    if kernel.row or len(full) == len(kernel.stores):
        return [(kernel, slots)]
    # What made a row of some axes is not wanted after all, so that some results lack axes that others have.
    parts = [[n for n in stored if n in full], [n for n in stored if n not in full]]
    return [build_kernel(group.domain, members, group.absorbed, part) for part in parts]
