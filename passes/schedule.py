"""From an optimized graph to a `Schedule`: steps in order, every buffer at its place.

Decides where each node's elements live: outputs go straight to the caller's memory, a variable's new value over
its old one where no reader is left, the rest to the arena. Knows nothing of backends.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphc.costs import CPU, Costs
from graphc.errors import Location
from graphc.ir import Graph, Node, map_graphs
from graphc.op import Kind
from graphc.ops.scores import large_products
from graphc.schedule import BranchStep, Buffer, CallStep, KernelStep, LoopStep, Schedule, Space, Step, Window

from .build_kernel import slot_name
from .cut_scores import Refuses, no_backend
from .fusion_order import Order
from .panels import in_panels
from .plan_memory import Life, plan_memory, rounded
from .planned import (
    BranchTask,
    CallTask,
    KernelTask,
    Key,
    Lives,
    LoopTask,
    Place,
    Task,
    copy_task,
    places_of,
)
from .scatter import wide_scatters
from .scope import Program, Scope
from .split_prepare import split_prepare
from .step_plans import plan_step


def schedule(
    graph: Graph, costs: Costs = CPU, order: Order | None = None, refuses: Refuses = no_backend
) -> Schedule:
    """Plan a whole graph, for a kind of machine. `order`: in which fusion tries what it may, if not the usual one.
    `refuses`: why a backend has no lowering for a kernel of kind ATTENTION, or nothing."""
    graph = map_graphs(graph, lambda body: _rearranged(wide_scatters(body), costs, refuses))
    graph, panels = in_panels(graph, costs)
    prepare, main = split_prepare(graph, costs, panels)
    planner = _Planner(graph, Program(costs, order or Order(), refuses, plan_step))
    planner.plan_prepare(prepare, main)
    planner.plan_main(main)
    return planner.finish()


def _rearranged(graph: Graph, costs: Costs, refuses: Refuses) -> Graph:
    """See `rearrange_scores`, which few graphs have something for."""
    if refuses is no_backend or not large_products(graph.nodes):
        return graph
    from .rearrange_scores import rearrange_scores

    return rearrange_scores(graph, costs, refuses)


class _Planner:
    def __init__(self, graph: Graph, program: Program) -> None:
        self.program = program
        self.outputs: list[Place] = []
        self.prepare: list[Task] = []
        self.main: list[Task] = []
        self.inputs = [Place(n.tensor_type, Space.INPUT, i, slot_name(n)) for i, n in enumerate(graph.inputs)]
        self.variables = [
            Place(n.tensor_type, Space.VARIABLE, i, slot_name(n)) for i, n in enumerate(graph.variables)
        ]
        self.given: dict[Key, Place] = {}
        self.given.update(zip(graph.inputs, self.inputs, strict=True))
        self.given.update(zip(graph.variables, self.variables, strict=True))

    def plan_prepare(self, prepare: Graph, main: Graph) -> None:
        """The prepare graph's outputs are the main graph's inputs beyond the caller's. Both share the variables and
        constants; what else they have in common each computes for itself, since no call may write prepared memory."""
        scope = Scope(self.program, prepare, Space.PREPARED)
        scope.places.update(self.given)
        scope.register()
        outputs = [scope.place(node) for node in prepare.outputs]
        self.prepare = scope.tasks()
        self.given = {k: p for k, p in scope.places.items() if isinstance(k, Node) and k.op.kind is Kind.SOURCE}
        self.given.update(zip(main.inputs[len(self.inputs) :], outputs, strict=True))

    def plan_main(self, graph: Graph) -> None:
        scope = Scope(self.program, graph, Space.ARENA)
        scope.places.update(self.given)
        scope.register()
        early: list[Task] = []
        late: list[Task] = []
        self._place_updates(scope, early, late)
        self._place_outputs(scope, early, late)
        self.main = early + scope.tasks() + late

    def _place_updates(self, scope: Scope, early: list[Task], late: list[Task]) -> None:
        """Give each variable's new value the variable's own memory where that is safe, else copy it at the end."""
        graph, computed, places = scope.graph, scope.computed, scope.places
        changed = {
            variable: new
            for variable, new in zip(graph.variables, graph.updates, strict=True)
            if new is not None and new is not variable and new.tensor_type.size
        }
        for variable, new in changed.items():
            if scope.key(new) in computed and scope.key(new) not in places and scope.uses.written_over(variable, new):
                places[scope.key(new)] = places[variable]
        for variable, new in changed.items():
            own = places[variable]
            if scope.key(new) not in computed:
                # a source; another variable's old value must be saved before that one changes
                saved = Place(new.tensor_type, Space.ARENA, name=slot_name(new))
                early.append(copy_task(scope.place(new), saved))
                late.append(copy_task(saved, own))
            elif scope.place(new) is not own:
                late.append(copy_task(scope.place(new), own))

    def _place_outputs(self, scope: Scope, early: list[Task], late: list[Task]) -> None:
        """A computed node is written straight to its output; sources and repeated nodes are copied."""
        for position, node in enumerate(scope.graph.outputs):
            output = Place(node.tensor_type, Space.OUTPUT, position, f"output {position}")
            self.outputs.append(output)
            if node.tensor_type.size == 0:
                continue
            if scope.key(node) not in scope.computed:  # copied first, before an update overwrites a variable
                early.append(copy_task(scope.place(node), output))
            elif scope.key(node) in scope.places:
                late.append(copy_task(scope.place(node), output))
            else:
                scope.places[scope.key(node)] = output

    # The finished schedule

    def finish(self) -> Schedule:
        arena = self._plan_arena()
        prepared = self._plan_prepared()
        used = dict.fromkeys([*self.inputs, *self.variables, *self.outputs, *self.program.constants])
        used.update(dict.fromkeys((*places_of(self.prepare), *places_of(self.main))))
        numbers = {place: n for n, place in enumerate(used)}
        buffers = tuple(Buffer(n, p.type, p.space, p.position, p.offset, p.name) for p, n in numbers.items())
        steps = _Steps(numbers)
        made = Schedule(
            buffers, tuple(self.program.literals), steps.of(self.prepare), steps.of(self.main), arena, prepared
        )
        made.check_sizes()
        return made

    def _plan_arena(self) -> int:
        lives = Lives(Space.ARENA)
        lives.add(self.prepare)  # which uses none
        lives.add(self.main)
        found = [Life(p.type.nbytes, lives.first[p], lives.last[p]) for p in lives.first]
        offsets, size = plan_memory(found)
        for place, offset in zip(lives.first, offsets, strict=True):
            place.offset = offset
        return size

    def _plan_prepared(self) -> int:
        size = 0
        for place in dict.fromkeys(places_of(self.prepare)):
            if place.space is Space.PREPARED:
                place.offset = size
                size += rounded(place.type.nbytes)
        return size


class _Steps:
    """Makes steps of tasks, once places have their numbers."""

    def __init__(self, numbers: dict[Place, int]) -> None:
        self.numbers = numbers

    def of(self, tasks: Iterable[Task]) -> tuple[Step, ...]:
        return tuple(self._step(task) for task in tasks)

    def _step(self, task: Task) -> Step:
        match task:
            case KernelTask():
                names = tuple(n.op.name for n in task.nodes) or ("copy",)
                gathered_at = next((n.loc for n in task.nodes if n.op.kind is Kind.INDEXED), None)
                places = tuple(self.numbers[p] for p in task.places)
                lines, reasons = _lines(task.nodes), tuple(task.reasons)
                return KernelStep(task.kernel, places, names, lines, reasons, gathered_at, task.decisions)
            case CallTask():
                places = tuple(self.numbers[p] for p in task.places)
                return CallStep(task.call, places, (task.node.op.name,), _lines([task.node]))
            case LoopTask():
                return self._loop(task)
            case BranchTask():
                arms = tuple(map(self.of, task.arms))
                return BranchStep(self.numbers[task.index], arms, (task.node.op.name,), _lines([task.node]))

    def _loop(self, task: LoopTask) -> LoopStep:
        steering = (task.limit, task.predicate, task.counter)
        limit, predicate, counter = (None if p is None else self.numbers[p] for p in steering)
        return LoopStep(
            task.length,
            limit,
            predicate,
            counter,
            self.of(task.start),
            self.of(task.condition),
            self.of(task.body),
            tuple(Window(self.numbers[new], self.numbers[of], *where) for new, of, *where in task.windows),
            tuple((self.numbers[a], self.numbers[b]) for a, b in task.swaps),
            (task.node.op.name,),
            _lines([task.node]),
        )


def _lines(nodes: Iterable[Node]) -> tuple[Location, ...]:
    return tuple(dict.fromkeys(n.loc for n in nodes if n.loc is not None))
