"""What a schedule is made from while it is planned: places, and tasks on them, which may hold others.

A place becomes a buffer, and a task a step, when all is known. Knows nothing of how places are chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from graphc.dataclass import dataclass, field
from graphc.decision import NO_DECISIONS, Decisions
from graphc.index import Axis, Index
from graphc.ir import Node
from graphc.kernel import Call, Const, Kernel, Load, Slot, Store
from graphc.op import Kind
from graphc.schedule import Space
from graphc.types import TensorType, TupleType

Key: TypeAlias = "Node | tuple[Node, int]"  # a node, or one result of a node that has several


def key(node: Node) -> Key:
    """What a node is placed by: all items of one result have one place."""
    return (node.inputs[0], node.attrs["index"]) if node.op.kind is Kind.ITEM else node


def type_of(of: Key) -> TensorType:
    if isinstance(of, Node):
        return of.tensor_type
    node, index = of
    assert isinstance(node.type, TupleType)
    return node.type.items[index]


@dataclass(eq=False)
class Place:
    """A buffer that is being planned. `loop`: the innermost loop that it was made for, in each iteration anew. A WINDOW
    points to one of `behind`."""

    type: TensorType
    space: Space
    position: int = 0
    name: str = ""
    loop: LoopTask | None = None
    behind: tuple[Place, ...] = ()
    offset: int = 0

    @property
    def roots(self) -> Iterator[Place]:
        """The places, none of them a window, whose memory it may be."""
        if self.space is not Space.WINDOW:
            yield self
        for place in self.behind:
            yield from place.roots


def window(type_: TensorType, name: str, *behind: Place) -> Place:
    return Place(type_, Space.WINDOW, name=name, behind=behind)


@dataclass(eq=False)
class KernelTask:
    """A step that is being planned."""

    kernel: Kernel
    places: list[Place]
    nodes: Sequence[Node] = ()
    reasons: Sequence[str] = ()
    decisions: Decisions = NO_DECISIONS


@dataclass(eq=False)
class CallTask:
    """A call that is being planned."""

    call: Call
    places: list[Place]
    node: Node


@dataclass(eq=False)
class LoopTask:
    """A loop that is being planned; see `graphc.schedule.LoopStep`. `windows`: each with what it points into, by how
    many bytes it moves on, and from which byte on."""

    node: Node
    length: int | None
    limit: Place | None = None
    predicate: Place | None = None
    counter: Place | None = None
    start: list[Task] = field(default_factory=list)
    condition: list[Task] = field(default_factory=list)
    body: list[Task] = field(default_factory=list)
    windows: list[tuple[Place, Place, int, int]] = field(default_factory=list)
    swaps: list[tuple[Place, Place]] = field(default_factory=list)


@dataclass(eq=False)
class BranchTask:
    """A branch that is being planned."""

    node: Node
    index: Place
    arms: list[list[Task]]


Task: TypeAlias = KernelTask | CallTask | LoopTask | BranchTask


def places_of(tasks: Iterable[Task]) -> Iterator[Place]:
    """All places that some tasks name, also those that they point into."""
    for task in tasks:
        match task:
            case KernelTask() | CallTask():
                yield from task.places
            case LoopTask():
                yield from (p for p in (task.limit, task.predicate, task.counter) if p is not None)
                yield from (p for new, of, *_ in task.windows for p in (of, new))
                for block in (task.start, task.condition, task.body):
                    yield from places_of(block)
            case BranchTask():
                yield task.index
                for arm in task.arms:
                    yield from places_of(arm)


class Lives:
    """From when to when each place of a space is in use, in the order of all tasks, those in loops included. What a
    loop does not make anew in each iteration is in use during all of it."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.first: dict[Place, int] = {}
        self.last: dict[Place, int] = {}
        self.now = 0

    def add(self, tasks: Iterable[Task]) -> None:
        """The tasks of a program, or more of them."""
        self._block(tasks, ())

    def _block(self, tasks: Iterable[Task], loops: tuple[tuple[LoopTask, int], ...]) -> list[tuple[Place, LoopTask]]:
        """Note what is touched. Each loop of `loops`, outermost first, comes with when it started. What has to stay as
        it is until one of these ends."""
        kept: list[tuple[Place, LoopTask]] = []
        for task in tasks:
            self.now += 1
            match task:
                case KernelTask() | CallTask():
                    kept += self._touch(task.places, loops)
                case LoopTask():
                    kept += self._loop(task, loops)
                case BranchTask():
                    kept += self._touch([task.index], loops)
                    for arm in task.arms:
                        kept += self._block(arm, loops)
        return kept

    def _loop(
        self, task: LoopTask, loops: tuple[tuple[LoopTask, int], ...]
    ) -> list[tuple[Place, LoopTask]]:
        around = [p for p in (task.limit, task.counter) if p is not None] + [of for _, of, *_ in task.windows]
        kept = self._touch(around, loops)
        kept += self._block(task.start, loops)
        self.now += 1
        inner = (*loops, (task, self.now))
        inside = self._block(task.condition, inner)
        if task.predicate is not None:
            inside += self._touch([task.predicate], inner)
        inside += self._block(task.body, inner)
        self.now += 1
        for place, loop in inside:
            if loop is task:
                self.last[place] = max(self.last[place], self.now)
        kept += self._touch(around, loops)
        return kept + [(place, loop) for place, loop in inside if loop is not task]

    def _touch(
        self, places: Iterable[Place], loops: tuple[tuple[LoopTask, int], ...]
    ) -> list[tuple[Place, LoopTask]]:
        kept = []
        for place in dict.fromkeys(root for p in places for root in p.roots):
            if place.space is not self.space:
                continue
            inside = [loop for loop, _ in loops]
            outer = inside.index(place.loop) + 1 if place.loop is not None else 0
            start = loops[outer][1] if outer < len(loops) else self.now
            self.first[place] = min(self.first.get(place, start), start)
            self.last[place] = max(self.last.get(place, self.now), self.now)
            if outer < len(loops):
                kept.append((place, loops[outer][0]))
        return kept


def copy_task(source: Place, to: Place) -> KernelTask:
    """A step that copies a whole buffer."""
    axis, index, parallel = _whole(min(source, to, key=lambda p: p.type.size))  # one may have room for more
    slots = _slot(source), _slot(to)
    load = Load(0, index, (), source.type.dtype)
    return KernelTask(Kernel(slots, parallel, (), (), (load,), (Store(1, index, 0),)), [source, to])


def zeros_task(to: Place) -> KernelTask:
    """A step that fills a whole buffer with zeros."""
    axis, index, parallel = _whole(to)
    return KernelTask(
        Kernel((_slot(to),), parallel, (), (), (Const(0, to.type.dtype),), (Store(0, index, 0),)), [to]
    )


def _slot(place: Place) -> Slot:
    return Slot(place.type.dtype, place.type.size, place.name)


def _whole(place: Place) -> tuple[Axis, Index, tuple[Axis, ...]]:
    axis = Axis("i0", place.type.size)
    return axis, Index.of(axis), (axis,) if place.type.size != 1 else ()
