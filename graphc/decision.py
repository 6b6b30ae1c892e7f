"""Decisions of fusion as records: what was to become one kernel with what, what that saves, and what came of it.

Kept by the steps of a schedule. Records and their text are made when somebody reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from .cached import cached_property
from .errors import Location
from .ir import Node
from .types import TensorType


class Verdict(Enum):
    """What came of it."""

    FUSED = "fused"
    APART = "apart"


class Origin(NamedTuple):
    """A node as far as people recognize it."""

    op: str
    type: object  # TensorType, or what a loop gives
    loc: Location | None

    @staticmethod
    def of(node: Node) -> Origin:
        return Origin(node.op.name, node.type, node.loc)

    def __str__(self) -> str:
        shape = list(self.type.shape) if isinstance(self.type, TensorType) else ""
        return f"{self.op}{shape}" + (f" at {self.loc}" if self.loc else "")


class Decision(NamedTuple):
    """Whether `consumer` became part of the kernel that computes `producer`; of two kernels that read the same, these
    are their first nodes. `saved`: nanoseconds, by the costs that the schedule was made with. `reason`: why not."""

    producer: Origin
    consumer: Origin
    saved: float
    verdict: Verdict
    reason: str = ""

    def __str__(self) -> str:
        text = f"{self.verdict.value}: {self.consumer} with {self.producer}, {brief_time(self.saved)}"
        return f"{text}: {self.reason}" if self.reason else text


class Decisions:
    """Records that are made when they are first asked for. Equal where the records are."""

    def __init__(self, make: Callable[[], tuple[Decision, ...]] = tuple) -> None:
        self._make = make

    @cached_property
    def records(self) -> tuple[Decision, ...]:
        return self._make()

    def __iter__(self) -> Iterator[Decision]:
        return iter(self.records)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decisions) and self.records == other.records

    def __hash__(self) -> int:
        return 0  # without a look at the records

    def __repr__(self) -> str:
        return "\n".join(map(str, self))


NO_DECISIONS = Decisions()


def summary(decisions: Iterable[Decision]) -> str:
    """How much was fused, in a few words; empty where nothing was."""
    saved = [d.saved for d in decisions if d.verdict is Verdict.FUSED]
    return f"{len(saved)} times, which saves some {brief_time(sum(saved))} a run" if saved else ""


def brief_time(ns: float) -> str:
    """With a unit: 1.2 µs."""
    for unit in ("ns", "µs", "ms"):
        if ns < 1000:
            return f"{ns:.3g} {unit}"
        ns /= 1000
    return f"{ns:.3g} s"
