"""From an optimized graph to a `Schedule`: kernels in order, every buffer at its place.

Decides where each node's elements live: outputs go straight to the caller's memory, a variable's new value over
its old one where no reader is left, the rest to the arena. Knows nothing of backends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphc.cached import cached_property
from graphc.dataclass import dataclass
from graphc.errors import Location, UnsupportedError
from graphc.index import Axis, Index
from graphc.ir import Graph, Literal, Node
from graphc.kernel import Kernel, Load, Slot, Store
from graphc.op import Kind
from graphc.schedule import Buffer, KernelStep, Schedule, Space
from graphc.types import TensorType
from graphc.work import flops

from .build_kernel import slot_name
from .fuse import FusedKernel, fuse
from .in_place import can_update_in_place, share_slot
from .plan_memory import Life, plan_memory, rounded
from .scatter import wide_scatters
from .split_prepare import split_prepare

LONG_WORK = 1_000_000_000  # operations: some 10 ms, after which a call looks for Ctrl-C
COPY_WORK = 2_000  # operations beside which copying an element takes a few percent


@dataclass(eq=False)
class _Place:
    """A buffer that is being planned."""

    type: TensorType
    space: Space
    position: int = 0
    name: str = ""
    offset: int = 0


@dataclass(eq=False)
class _Task:
    """A step that is being planned."""

    kernel: Kernel
    places: list[_Place]
    nodes: Sequence[Node] = ()
    reasons: Sequence[str] = ()


def schedule(graph: Graph) -> Schedule:
    """Plan a whole graph. Raises UnsupportedError for loops and branches."""
    for node in graph.nodes:
        if node.op.kind is Kind.CONTROL:
            raise UnsupportedError(
                f"this version makes no kernels of {node.op.name}", where=node.loc,
                hint='gx.compile(fn, backend="reference"), or gx.using(backend="reference")',
            )  # fmt: skip
    graph = wide_scatters(graph)
    prepare, main = split_prepare(graph)
    planner = _Planner(graph)
    planner.plan_prepare(prepare, main)
    planner.plan_main(main)
    return planner.finish()


class _Planner:
    def __init__(self, graph: Graph) -> None:
        self.places: dict[Node, _Place] = {}
        self.outputs: list[_Place] = []
        self.constants: list[_Place] = []
        self.literals: list[Literal] = []
        self.prepare: list[_Task] = []
        self.main: list[_Task] = []
        self._with_shared_slots: dict[tuple[Kernel, int, int], tuple[Kernel, tuple[int, ...]]] = {}
        self.inputs = [
            _Place(n.tensor_type, Space.INPUT, i, slot_name(n)) for i, n in enumerate(graph.inputs)
        ]
        self.variables = [
            _Place(n.tensor_type, Space.VARIABLE, i, slot_name(n)) for i, n in enumerate(graph.variables)
        ]
        self.places.update(zip(graph.inputs, self.inputs, strict=True))
        self.places.update(zip(graph.variables, self.variables, strict=True))

    def place(self, node: Node, space: Space = Space.ARENA) -> _Place:
        """Where a node lives; decided at the first question."""
        found = self.places.get(node)
        if found is None:
            if node.op.kind is Kind.SOURCE:  # inputs and variables are known: this is a constant
                found = _Place(node.tensor_type, Space.CONSTANT, len(self.constants), "constant")
                self.constants.append(found)
                self.literals.append(node.attrs["value"])
            else:
                found = _Place(node.tensor_type, space, name=slot_name(node))
            self.places[node] = found
        return found

    def plan_prepare(self, prepare: Graph, main: Graph) -> None:
        """The prepare graph's outputs are the main graph's inputs beyond the caller's. Both share the variables and
        constants; what else they have in common each computes for itself, since no call may write prepared memory."""
        for node in prepare.outputs:
            self.place(node, Space.PREPARED)
        outputs = [self.places[node] for node in prepare.outputs]
        for fused in fuse(prepare):
            places = [self.place(n, Space.PREPARED) for n in fused.slots]
            self.prepare.append(_Task(fused.kernel, places, fused.nodes, fused.reasons))
        self.places = {node: place for node, place in self.places.items() if node.op.kind is Kind.SOURCE}
        self.places.update(zip(main.inputs[len(self.inputs) :], outputs, strict=True))

    def plan_main(self, graph: Graph) -> None:
        kernels = fuse(graph)
        computed = {n for k in kernels for n in _stored(k)}
        early: list[_Task] = []
        late: list[_Task] = []
        self._place_updates(graph, kernels, computed, early, late)
        self._place_outputs(graph, computed, early, late)
        self.main = early + [self._task(k) for k in kernels] + late

    def _place_updates(
        self,
        graph: Graph,
        kernels: Sequence[FusedKernel],
        computed: set[Node],
        early: list[_Task],
        late: list[_Task],
    ) -> None:
        """Give each variable's new value the variable's own memory where that is safe, else copy it at the end."""
        uses = _Uses(kernels, graph.updates)
        changed = {
            variable: new
            for variable, new in zip(graph.variables, graph.updates, strict=True)
            if new is not None and new is not variable and new.tensor_type.size
        }
        for variable, new in changed.items():
            if new in computed and new not in self.places and uses.written_over(variable, new):
                self.places[new] = self.places[variable]
        for variable, new in changed.items():
            own = self.places[variable]
            if (
                new not in computed
            ):  # a source; another variable's old value must be saved before that one changes
                saved = _Place(new.tensor_type, Space.ARENA, name=slot_name(new))
                early.append(copy_task(self.place(new), saved, new))
                late.append(copy_task(saved, own, new))
            elif self.place(new) is not own:
                late.append(copy_task(self.place(new), own, new))

    def _place_outputs(
        self, graph: Graph, computed: set[Node], early: list[_Task], late: list[_Task]
    ) -> None:
        """A computed node is written straight to its output; sources and repeated nodes are copied."""
        for position, node in enumerate(graph.outputs):
            output = _Place(node.tensor_type, Space.OUTPUT, position, f"output {position}")
            self.outputs.append(output)
            if node.tensor_type.size == 0:
                continue
            if node not in computed:  # copied first, before an update overwrites a variable
                early.append(copy_task(self.place(node), output, node))
            elif node in self.places:
                late.append(copy_task(self.places[node], output, node))
            else:
                self.places[node] = output

    def _task(self, fused: FusedKernel) -> _Task:
        """A kernel on its places; a value that is updated in place has one slot."""
        kernel, places = fused.kernel, [self.place(n) for n in fused.slots]
        for stored in sorted(kernel.written, reverse=True):
            if places[stored] in places[:stored]:
                loaded = places.index(places[stored])
                if loaded in kernel.loaded:
                    shared, order = self._shared(kernel, loaded, stored)
                    kernel = shared.named(kernel.slots[n].name for n in order)
                    places = [places[n] for n in order]
        return _Task(kernel, places, fused.nodes, fused.reasons)

    def _shared(self, kernel: Kernel, loaded: int, stored: int) -> tuple[Kernel, tuple[int, ...]]:
        """`share_slot`, once for equal kernels."""
        key = kernel, loaded, stored
        if key not in self._with_shared_slots:
            self._with_shared_slots[key] = share_slot(*key)
        return self._with_shared_slots[key]

    # The finished schedule

    def finish(self) -> Schedule:
        arena = self._plan_arena()
        prepared = self._plan_prepared()
        used = dict.fromkeys([*self.inputs, *self.variables, *self.outputs, *self.constants])
        used.update(dict.fromkeys(p for t in (*self.prepare, *self.main) for p in t.places))
        numbers = {place: n for n, place in enumerate(used)}
        buffers = tuple(Buffer(n, p.type, p.space, p.position, p.offset, p.name) for p, n in numbers.items())

        def steps(tasks: Iterable[_Task]) -> tuple[KernelStep, ...]:
            return tuple(_step(t, tuple(numbers[p] for p in t.places)) for t in tasks)

        made = Schedule(buffers, tuple(self.literals), steps(self.prepare), steps(self.main), arena, prepared)
        made.check_sizes()
        return made

    def _plan_arena(self) -> int:
        first: dict[_Place, int] = {}
        last: dict[_Place, int] = {}
        for number, task in enumerate(self.main):
            for place in task.places:
                if place.space is Space.ARENA:
                    first.setdefault(place, number)
                    last[place] = number
        lives = [Life(p.type.nbytes, first[p], last[p]) for p in first]
        offsets, size = plan_memory(lives)
        for place, offset in zip(first, offsets, strict=True):
            place.offset = offset
        return size

    def _plan_prepared(self) -> int:
        size = 0
        for place in dict.fromkeys(p for t in self.prepare for p in t.places if p.space is Space.PREPARED):
            place.offset = size
            size += rounded(place.type.nbytes)
        return size


class _Uses:
    """Which kernels, by number, store and load each node, and which is the last that gathers. `updates`: the new values
    of variables."""

    def __init__(self, kernels: Sequence[FusedKernel], updates: Iterable[Node | None]) -> None:
        self.kernels = kernels
        self.updates = frozenset(updates)
        self.writers: dict[Node, list[int]] = {}
        self.last_load: dict[Node, int] = {}
        self.last_gather = -1
        self._can_update: dict[tuple[Kernel, int, int], bool] = {}  # once for equal kernels
        for number, fused in enumerate(kernels):
            for node in _stored(fused):
                self.writers.setdefault(node, []).append(number)
            for node in _loaded(fused):
                self.last_load[node] = number
            if fused.kernel.gathers:
                self.last_gather = number

    def written_over(self, variable: Node, new: Node) -> bool:
        """Whether a variable's new value is written over the old one."""
        return self._safe_in_place(variable, new) and not self._too_early(new)

    def _too_early(self, new: Node) -> bool:
        """Whether long work follows, so that a call could not be cut off any more: then a new value that is small
        beside that work (the state of random numbers, running statistics) is copied at the end."""
        left = self._work_left[self.writers[new][0]]
        return left >= LONG_WORK and left >= COPY_WORK * new.tensor_type.size

    @cached_property
    def _work_left(self) -> list[int]:
        """The work after each kernel, but for what other kernels do that write variables' new values too."""
        work: dict[Kernel, int] = {}
        left = [0]
        for fused in reversed(self.kernels):
            own = 0
            if self.updates.isdisjoint(_stored(fused)):
                if fused.kernel not in work:
                    work[fused.kernel] = flops(fused.kernel)
                own = work[fused.kernel]
            left.append(left[-1] + own)
        return left[-2::-1]

    def _safe_in_place(self, variable: Node, new: Node) -> bool:
        """Whether a variable's new value may be written over the old one. Not where a bad index may show in this
        kernel or a later one: then no variable may have changed."""
        writers, last_load = self.writers[new], self.last_load.get(variable, -1)
        if len(writers) != 1:  # a scatter writes its base first
            return False
        (writer,) = writers
        if self.last_gather >= writer or last_load > writer:
            return False
        if last_load < writer:
            return True
        fused = self.kernels[writer]
        key = fused.kernel, fused.slots.index(variable), fused.slots.index(new)
        if key not in self._can_update:
            self._can_update[key] = can_update_in_place(*key)
        return self._can_update[key]


def _stored(fused: FusedKernel) -> set[Node]:
    return {fused.slots[s] for s in fused.kernel.written}


def _loaded(fused: FusedKernel) -> set[Node]:
    return {fused.slots[s] for s in fused.kernel.loaded}


def _step(task: _Task, buffers: tuple[int, ...]) -> KernelStep:
    names = tuple(n.op.name for n in task.nodes) or ("copy",)
    lines: dict[Location, None] = dict.fromkeys(n.loc for n in task.nodes if n.loc is not None)
    gathered_at = next((n.loc for n in task.nodes if n.op.kind is Kind.INDEXED), None)
    return KernelStep(task.kernel, buffers, names, tuple(lines), tuple(task.reasons), gathered_at)


def copy_task(source: _Place, to: _Place, node: Node) -> _Task:
    """A step that copies a whole buffer."""
    size = source.type.size
    axis = Axis("i0", size)
    index = Index.of(axis)
    slots = (Slot(source.type.dtype, size, source.name), Slot(to.type.dtype, size, to.name))
    load = Load(0, index, (), source.type.dtype)
    parallel = (axis,) if size != 1 else ()
    kernel = Kernel(slots, parallel, (), (), (load,), (Store(1, index, 0),))
    return _Task(kernel, [source, to])
