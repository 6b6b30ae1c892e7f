"""A scan or while_loop as a task: what is carried in place or in two places that change, slices as moving windows.

What an iteration hands to the next is written over the old value where the body's reads allow it. Else there are two
places for it: the body reads the one and writes the other, and both change after each iteration; or, where what it was
is stacked for a gradient, each iteration writes behind what it was given. A scan that makes as
many iterations as its type says ends with the value in a place that is known before; the result of another loop is
where the window points in the end.
"""

from __future__ import annotations

from enum import Enum

from graphc.ir import Graph, Node
from graphc.ops import while_loop
from graphc.ops.bodies import LoopInputs, stacked
from graphc.types import TensorType

from .planned import LoopTask, Place, copy_task, type_of, window, zeros_task
from .scope import Scope, body_tasks


class Mode(Enum):
    """How a carry is carried."""

    FIXED = "fixed"  # each iteration hands on what it was given
    OVER = "over"  # the new value is written over the old one
    PAIR = "pair"  # two places
    STACK = "stack"  # in the rows of a stack of all values, each behind the one before


class LoopPlan:
    def __init__(self, scope: Scope, node: Node) -> None:
        attrs = node.attrs
        self.node = node
        self.is_while = node.op is while_loop
        body: Graph = attrs["body"]
        self.counted: bool = not self.is_while and attrs["counted"]
        self.given = LoopInputs.of(node.inputs, attrs["consts"], attrs["carries"], self.counted)
        self.length: int | None = attrs["max_steps"] if self.is_while else attrs["length"]
        self.loop = LoopTask(node, self.length)
        self.body = Scope(scope.program, body, scope.space, self.loop)
        self.condition = Scope(scope.program, attrs["cond"], scope.space, self.loop) if self.is_while else None
        self.carried = LoopInputs.of(body.inputs, attrs["consts"], attrs["carries"]).carries
        self.handed_on = body.outputs[: len(self.carried)]
        self.stacked = body.outputs[len(self.carried) :]
        self.rows: dict[int, int] = {}  # of carries that lie in a stack: which of the results that is
        self.modes = self._modes()
        self.pairs: dict[int, tuple[Place, Place]] = {}  # of carries by number: where the first value is, and the other

    @property
    def gathers(self) -> bool:
        return self.body.uses.gathers or (self.condition is not None and self.condition.uses.gathers)

    @property
    def work(self) -> int:
        return (1 if self.length is None else self.length) * self.body.uses.work

    @property
    def ends_early(self) -> bool:
        """Whether there may be fewer iterations than its length."""
        return self.is_while or self.counted

    def _modes(self) -> list[Mode]:
        """How each carry is carried. A value that is wanted as it was until the end is not written over; nor is one
        place given to a value twice."""
        wanted = set(self.body.graph.outputs)
        taken: set[object] = set()
        modes = []
        for old, new in zip(self.carried, self.handed_on, strict=True):
            if new is old:
                modes.append(Mode.FIXED)
                continue
            name = self.body.key(new)
            computed = name in self.body.computed and name not in taken
            over = computed and old not in wanted and self.body.uses.can_overwrite(old, new)
            if over:
                taken.add(name)
            modes.append(Mode.OVER if over else Mode.PAIR)
        return modes

    # Places

    def register(self, scope: Scope) -> None:
        """The results that are where a window points in the end."""
        for number, mode in enumerate(self.modes):
            if mode is Mode.PAIR and (number_of := self._stack_of(scope, number)) is not None:
                self._lie_in_stack(scope, number, number_of)
            elif mode is Mode.PAIR and self.ends_early:
                type_ = self.carried[number].tensor_type
                first, second = (self._fresh(scope, type_) for _ in range(2))
                self.pairs[number] = first, second
                scope.places[self.node, number] = window(type_, "carried", first, second)

    def _stack_of(self, scope: Scope, number: int) -> int | None:
        """The result that stacks what a carry was before each step, as gradients want it, unless someone wants it in a
        place of its own."""
        old = self.carried[number]
        if self.ends_early or self.node.attrs["reverse"] or old not in self.stacked:
            return None
        index = len(self.carried) + self.stacked.index(old)
        name = self.node, index
        wanted = name in scope.places or any(scope.key(r) == name for r in scope.graph.results)
        return None if wanted or name not in scope.computed else index

    def _lie_in_stack(self, scope: Scope, number: int, index: int) -> None:
        """Let each step write what it hands on behind what it was given, so that nothing is copied to the stack, which
        has one row more than it says."""
        self.modes[number] = Mode.STACK
        self.rows[number] = index
        type_ = self.carried[number].tensor_type
        place = self._fresh(scope, stacked(type_, type_of((self.node, index)).shape[0] + 1))
        scope.places[self.node, index] = place
        scope.places[self.node, number] = window(type_, "carried", place)

    def _fresh(self, scope: Scope, type_: TensorType) -> Place:
        return Place(type_, scope.space, name="carried", loop=scope.loop)

    def claim(self, scope: Scope) -> None:
        """Let initial values be made where the first iteration reads them. Not those of a while_loop, so that it can be
        run again."""
        for number, init in enumerate(self.given.carries):
            first = self._first(scope, number)
            if not self.is_while:
                scope.claim(init, first)

    def _first(self, scope: Scope, number: int) -> Place:
        """Where the first iteration reads a carry. Of a pair, the place of the result is where the last one writes."""
        if self.modes[number] is Mode.STACK:
            return scope.places[self.node, self.rows[number]]
        if self.modes[number] is not Mode.PAIR:
            return scope.place((self.node, number))
        if number not in self.pairs:
            result = scope.place((self.node, number))
            other = self._fresh(scope, result.type)
            even = self.length is not None and self.length % 2 == 0
            self.pairs[number] = (result, other) if even else (other, result)
        return self.pairs[number][0]

    # The task

    def task(self, scope: Scope) -> LoopTask:
        loop = self.loop
        consts = [scope.place(n) for n in self.given.consts]
        if self.counted:
            loop.limit = scope.place(self.given.steps[0])
        for number, init in enumerate(self.given.carries):
            source, first = scope.place(init), self._first(scope, number)
            if source is not first and first.type.size:
                loop.start.append(copy_task(source, first))
        carries, wanted = self._carry(scope)
        if self.condition is not None:
            (holds,) = self.condition.graph.outputs
            loop.condition = body_tasks(self.condition, [*consts, *carries], ())
            loop.predicate = self.condition.place(holds)
            if (self.node, len(self.carried)) in scope.computed:
                loop.counter = scope.place((self.node, len(self.carried)))
        slices = [self._rows_of(scope, n) for n in self.given.slices]
        wanted += self._stacks(scope)
        loop.body = body_tasks(self.body, [*consts, *carries, *slices], wanted)
        return loop

    def _carry(self, scope: Scope) -> tuple[list[Place], list[tuple[Node, Place]]]:
        """Where the body finds what is carried, and where it is to write what it hands on."""
        carries: list[Place] = []
        wanted: list[tuple[Node, Place]] = []
        for number, (mode, new) in enumerate(zip(self.modes, self.handed_on, strict=True)):
            first = self._first(scope, number)
            if mode is Mode.STACK:
                now, row = scope.places[self.node, number], self.carried[number].tensor_type
                following = window(row, "carried", first)
                self.loop.windows += [(now, first, row.nbytes, 0), (following, first, row.nbytes, row.nbytes)]
                carries.append(now)
                wanted.append((new, following))
                continue
            if mode is not Mode.PAIR:
                carries.append(first)
                wanted.append((new, first))
                continue
            places = self.pairs[number]
            now = scope.places[self.node, number] if self.ends_early else window(first.type, "carried", *places)
            following = window(first.type, "carried", *places)
            self.loop.windows += [(now, places[0], 0, 0), (following, places[1], 0, 0)]
            self.loop.swaps.append((now, following))
            carries.append(now)
            wanted.append((new, following))
        return carries, wanted

    def _rows_of(self, scope: Scope, node: Node) -> Place:
        base, offset = scope.aliases.rows(node)
        return self._slice(scope.place(base), node.tensor_type, bool(self.node.attrs["reverse"]), offset)

    def _slice(self, of: Place, type_: TensorType, reverse: bool, offset: int = 0) -> Place:
        """A window on one row of what lies there from that byte on, which moves on."""
        row = window(type_.with_shape(type_.shape[1:]), of.name, of)
        self.loop.windows.append((row, of, -row.type.nbytes if reverse else row.type.nbytes, offset))
        return row

    def _stacks(self, scope: Scope) -> list[tuple[Node, Place]]:
        """Where the body is to write its rows. Those that no iteration makes are 0."""
        first = len(self.carried) + self.is_while  # behind the number of steps
        wanted = []
        for number, node in enumerate(self.stacked, first):
            if number in self.rows.values():
                continue
            stack = scope.place((self.node, number))
            if self.ends_early and stack.type.size:
                self.loop.start.append(zeros_task(stack))
            reverse = not self.is_while and self.node.attrs["reverse"]
            wanted.append((node, self._slice(stack, type_of((self.node, number)), reverse)))
        return wanted
