"""What fusion decides, noted while it goes on at almost no cost; records are made of it when somebody asks.

In: nodes and groups. Out: `Decisions`. Notes hold lists that groups only add to, and how much of them counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple, TypeAlias

from graphc.costs import Costs
from graphc.decision import Decision, Decisions, Origin, Verdict
from graphc.ir import Node

from .cut_scores import ScoreDecision
from .groups import Group


class Joined(NamedTuple):
    """A node wanted to join the group that it reads `read` from. `reason`: why it can't; empty where it did."""

    read: Node
    node: Node
    reason: str

    def record(self, costs: Costs) -> Decision:
        return _record(self.read, self.node, self.read.tensor_type.nbytes, self.reason, costs)


# What a group reads and what it may store, so far: its members and how many they were, its nodes and which of them it
# reads by number. A plain tuple, since most mergers are refused.
Touched: TypeAlias = tuple[list[Node], int, list[Node], tuple[int, ...]]


def touched(group: Group) -> Touched:
    return group.members, len(group.members), group.nodes, group.pattern.slots


class Met(NamedTuple):
    """Two groups that would gain by being one, and why they can't be; empty where they became one."""

    one: Touched
    other: Touched
    reason: str

    def record(self, costs: Costs) -> Decision:
        shared = sum(n.tensor_type.nbytes for n in _all(self.one) & _all(self.other))
        return _record(self.one[0][0], self.other[0][0], shared, self.reason, costs)


def _all(of: Touched) -> set[Node]:
    members, count, nodes, slots = of
    return {*members[:count], *(nodes[n] for n in slots)}


Note: TypeAlias = Joined | Met | ScoreDecision


def decisions(notes: Iterable[Note], costs: Costs) -> Decisions:
    return Decisions(partial(_records, tuple(notes), costs))


def _records(notes: tuple[Note, ...], costs: Costs) -> tuple[Decision, ...]:
    return tuple(note.record(costs) for note in notes)


def _record(producer: Node, consumer: Node, nbytes: int, reason: str, costs: Costs) -> Decision:
    """The record of two nodes between which so many bytes are not moved if they are one kernel."""
    verdict = Verdict.APART if reason else Verdict.FUSED
    return Decision(Origin.of(producer), Origin.of(consumer), costs.saved(nbytes), verdict, reason)
