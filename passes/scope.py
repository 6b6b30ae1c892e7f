"""Planning one graph: its kernels, loops and branches in order, on places. Bodies are graphs like others.

In: a graph, and places for what is given to it and wanted of it. Out: tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from graphc.cached import cached_property
from graphc.costs import Costs
from graphc.dataclass import replace
from graphc.ir import Graph, Literal, Node
from graphc.kernel import Kernel, Slot
from graphc.op import Kind
from graphc.schedule import Space

from .aliases import Aliases
from .build_kernel import slot_name
from .cut_scores import Refuses
from .fuse import Fused, FusedControl, FusedKernel, fuse_steps
from .fusion_order import Order
from .in_place import share_slot
from .planned import KernelTask, Key, LoopTask, Place, Task, copy_task, key, type_of
from .uses import Inside, Uses, copied


class Program:
    """What all graphs of a program share: its constants, what work costs, the order of fusion, what the backend
    refuses, and how steps other than kernels are planned, which have graphs that are planned by scopes."""

    def __init__(
        self, costs: Costs, order: Order, refuses: Refuses, plan: Callable[[Scope, Node], ControlPlan]
    ) -> None:
        self.costs = costs
        self.order = order
        self.refuses = refuses
        self.plan = plan
        self.constants: list[Place] = []
        self.literals: list[Literal] = []
        self._with_shared_slots: dict[tuple[Kernel, int, int], tuple[Kernel, tuple[int, ...]]] = {}

    def constant(self, node: Node) -> Place:
        place = Place(node.tensor_type, Space.CONSTANT, len(self.constants), "constant")
        self.constants.append(place)
        self.literals.append(node.attrs["value"])
        return place

    def shared(self, kernel: Kernel, loaded: int, stored: int) -> tuple[Kernel, tuple[int, ...]]:
        """`share_slot`, once for equal kernels."""
        known = kernel, loaded, stored
        if known not in self._with_shared_slots:
            self._with_shared_slots[known] = share_slot(*known)
        return self._with_shared_slots[known]


class ControlPlan(Inside, Protocol):
    """A loop, branch or call that is being planned, in three parts: what of its results has a place of its own kind;
    which of its inputs can be made where it wants them; the task."""

    def register(self, scope: Scope) -> None: ...

    def claim(self, scope: Scope) -> None: ...

    def task(self, scope: Scope) -> Task: ...


class Scope:
    """One graph that is being planned. `space`: of what is temporary. `loop`: that the graph is in."""

    def __init__(self, program: Program, graph: Graph, space: Space, loop: LoopTask | None = None) -> None:
        self.program = program
        self.graph = graph
        self.space = space
        self.loop = loop
        self.aliases = Aliases(graph)
        self.key = self.aliases.key
        self.fused = fuse_steps(graph, program.costs, program.order, program.refuses)
        controls = [f for f in self.fused if isinstance(f, FusedControl)]
        self.plans: dict[Node, ControlPlan] = {f.node: program.plan(self, f.node) for f in controls}
        self.uses = Uses(self.fused, graph.updates, self.plans, self.aliases)
        self.places: dict[Key, Place] = {}
        self.also: dict[Key, list[Place]] = {}  # where kernels write their results a second time

    @property
    def computed(self) -> Iterable[Key]:
        """What the graph's steps store."""
        return self.uses.writers.keys()

    def place(self, of: Node | Key) -> Place:
        """Where something lives; decided at the first question."""
        name = self.key(of) if isinstance(of, Node) else of
        found = self.places.get(name)
        if found is None:
            if isinstance(name, Node) and name.op.kind is Kind.SOURCE:  # inputs and variables are known: a constant
                found = self.program.constant(name)
            else:
                called = slot_name(name if isinstance(name, Node) else name[0])
                found = Place(type_of(name), self.space, name=called, loop=self.loop)
            self.places[name] = found
        return found

    def register(self) -> None:
        """Before any result has its place."""
        for plan in self.plans.values():
            plan.register(self)

    def deliver(self, results: Iterable[tuple[Node, Place]]) -> list[Task]:
        """Let results be written where they are wanted; what has to be copied there in the end."""
        late: list[Task] = []
        for node, to in results:
            if not to.type.size:
                continue
            name = self.key(node)
            if name in self.computed and name not in self.places:
                self.places[name] = to
            elif self.place(node) is to:
                continue
            elif to.space is Space.WINDOW and self.uses.can_store_twice(name):  # nobody reads it before the end
                self.also.setdefault(name, []).append(to)
            else:
                late.append(copy_task(self.place(node), to))
        return late

    def claim(self, wanted: Node, place: Place) -> bool:
        """Have an input of a loop made at this place, if nothing else needs it; whether that is so now."""
        name = self.key(wanted)
        if name in self.places or name not in self.computed or self._readers[name] != 1:
            return self.places.get(name) is place
        self.places[name] = place
        return True

    @cached_property
    def _readers(self) -> Counter[Key]:
        through = self.aliases
        nodes = [i for n in self.graph.nodes if n.op.kind is not Kind.ITEM and n not in through for i in n.inputs]
        return Counter(self.key(n) for n in (*nodes, *self.graph.results))

    def tasks(self) -> list[Task]:
        """All steps in order, once results have their places."""
        for plan in reversed(self.plans.values()):
            plan.claim(self)
        for fused, base in reversed(self._bases):
            self.claim(base, self.place(fused.slots[fused.kernel.stores[0].slot]))
        return [self._task(f) for f in self.fused if not self._is_there(f)]

    @cached_property
    def _bases(self) -> list[tuple[FusedKernel, Node]]:
        """The kernels that copy what scatters add to, and what that is: it may be made where they add."""
        found = [(f, copied(f)) for f in self.fused if isinstance(f, FusedKernel)]
        return [(f, base) for f, base in found if base is not None and f.nodes and _is_scatter(f.nodes[-1])]

    def _is_there(self, fused: Fused) -> bool:
        """Whether all that a kernel copies is in its place."""
        if not isinstance(fused, FusedKernel) or copied(fused) is None:
            return False
        stored = fused.slots[fused.kernel.stores[0].slot]
        first, second = map(self.place, fused.slots)
        return first is second and key(stored) not in self.also

    def _task(self, fused: Fused) -> Task:
        return self._kernel(fused) if isinstance(fused, FusedKernel) else self.plans[fused.node].task(self)

    def _kernel(self, fused: FusedKernel) -> KernelTask:
        """A kernel on its places; a value that is updated in place has one slot."""
        kernel, places = fused.kernel, [self.place(n) for n in fused.slots]
        for store in kernel.stores:
            for to in self.also.get(key(fused.slots[store.slot]), ()):
                slot = Slot(kernel.slots[store.slot].dtype, to.type.size, to.name)
                more = replace(store, slot=len(kernel.slots))
                kernel = replace(kernel, slots=(*kernel.slots, slot), stores=(*kernel.stores, more))
                places.append(to)
        for stored in sorted(kernel.written, reverse=True):
            if places[stored] in places[:stored]:
                loaded = places.index(places[stored])
                if loaded in kernel.loaded:
                    shared, order = self.program.shared(kernel, loaded, stored)
                    kernel = shared.named(kernel.slots[n].name for n in order)
                    places = [places[n] for n in order]
        return KernelTask(kernel, places, fused.nodes, fused.reasons, fused.decisions)


def _is_scatter(node: Node) -> bool:
    return node.op.push is not None


def body_tasks(scope: Scope, given: Sequence[Place], results: Sequence[tuple[Node, Place]]) -> list[Task]:
    """The tasks of a body whose inputs have these places, with its results where they are wanted."""
    scope.places.update(zip(scope.graph.inputs, given, strict=True))
    scope.register()
    late = scope.deliver(results)
    return scope.tasks() + late
