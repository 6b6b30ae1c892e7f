"""What groups have in common: models repeat their blocks, and groups whose nodes are alike grow alike.

In: a group, and a node that wants to join it. Out: in one look, what came of it when such a node wanted to join such
a group before. A `Pattern` knows nodes by local numbers only, in the order in which a group met them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, TypeAlias

from graphc import ops
from graphc.dataclass import dataclass, field
from graphc.ir import Node
from graphc.op import Kind
from graphc.text import attrs_key

from .kernel_tracer import NO_EFFORT, Domain, Effort

if TYPE_CHECKING:
    from .groups import Group

Key: TypeAlias = tuple[int, ...]


@dataclass(eq=False)
class Pattern:
    """What groups are alike in that started on the same domain and were joined by the same nodes in the same order.

    `slots` are the local numbers of the nodes that their kernel touches so far. `joined` says what came of nodes that
    wanted to join: a pattern, or why not.
    """

    domain: Domain
    slots: tuple[int, ...] = ()
    effort: Effort = NO_EFFORT
    joined: dict[Key, Pattern | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.size = self.domain.size


class Likeness:
    """Numbers that are equal for nodes that compute the same of what they read."""

    def __init__(self) -> None:
        numbers: dict[Hashable, int] = {}
        self._own = _Numbers(numbers, _computed)
        self._read = _Numbers(numbers, _known_of)

    def joining(self, group: Group, fresh: Iterable[Node], spread_again: bool) -> Key:
        """The same for all that may join groups of one pattern alike: a node and those that it absorbs, as far as they
        are new to the group, which gets to know them and what they read. `spread_again`: what else decides."""
        local, nodes, own = group.local, group.nodes, self._own
        for n in fresh:
            if n not in local:
                local[n] = len(nodes)
                nodes.append(n)
        key: list[int] = [spread_again]
        for n in fresh:
            key += (local[n], own[n], len(n.inputs))
            for i in n.inputs:
                if i in local:
                    key += (local[i],)
                else:  # it will be loaded
                    local[i] = len(nodes)
                    nodes.append(i)
                    key += (~self._read[i],)
        return tuple(key)


class _Numbers(dict[Node, int]):
    """A number for each node, found at the first question; equal ones where `described` is equal."""

    def __init__(self, numbers: dict[Hashable, int], described: Callable[[Node], Hashable]) -> None:
        self._numbers = numbers
        self._described = described

    def __missing__(self, node: Node) -> int:
        numbers = self._numbers
        found = self[node] = numbers.setdefault(self._described(node), len(numbers))
        return found


def _computed(node: Node) -> Hashable:
    """What the node does with its inputs."""
    return node.op, attrs_key(node.attrs) if node.attrs else (), node.type


def _known_of(node: Node) -> Hashable:
    """What a kernel knows of a node that it reads: all of a number or a position, of others the type."""
    if node.op.kind is Kind.POSITION or (node.op is ops.constant and node.tensor_type.size == 1):
        return _computed(node)
    return node.type
