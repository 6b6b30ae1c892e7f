"""Fusion: a graph's nodes → kernels, in an order that can run, each with the reasons for its borders.

In topological order a node tries to join the group of one of its producers, the latest first; a trial traces it
at the group's indices and a `CannotFuse` says why it can't. Views, constants and cheap functions of one stored tensor
are absorbed by every reader. Then groups that read the same large buffer, and small ones, merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import TypeAlias

from graphc.costs import CPU, Costs
from graphc.dataclass import dataclass
from graphc.decision import NO_DECISIONS, Decisions
from graphc.index import Axis
from graphc.ir import Graph, Node, is_tuple
from graphc.kernel import Kernel
from graphc.op import Kind
from graphc.types import TensorType, TupleType

from .absorb import absorbed, stored_behind
from .aliases import STEERS, Aliases
from .build_kernel import find_split, store_of, trace_members
from .cut_scores import Part, Refuses, cut_scores, no_backend
from .decided import Joined, Met, decisions, touched
from .fusion_order import Order
from .groups import Group, in_order
from .kernel_tracer import CannotFuse, Domain, Effort, KernelTracer, contracted_sizes, describe
from .lower_groups import Lowering
from .merge import merge
from .pattern import Likeness, Pattern
from .product_rows import gathers_from, is_news, require_lowering


@dataclass(frozen=True)
class FusedKernel:
    """A kernel, the node that each slot holds, the nodes it computes, and why it wasn't fused with others; and all
    that was decided about its nodes."""

    kernel: Kernel
    slots: tuple[Node, ...]
    nodes: tuple[Node, ...]
    reasons: tuple[str, ...]
    decisions: Decisions = NO_DECISIONS


@dataclass(frozen=True)
class FusedControl:
    """A loop, branch or call, and its results: the items, or the node itself. `read`: whose memory its inputs lie in.
    What is inside of it is fused by itself."""

    node: Node
    items: tuple[Node, ...]
    read: tuple[Node, ...]

    @property
    def slots(self) -> tuple[Node, ...]:
        """What it touches: what it reads, then its results."""
        return (*self.read, *self.items)


Fused: TypeAlias = FusedKernel | FusedControl


def fuse(
    graph: Graph, costs: Costs = CPU, order: Order | None = None, refuses: Refuses = no_backend
) -> tuple[FusedKernel, ...]:
    """All kernels that compute the results of a graph without loops and branches, in a runnable order.

    Results that are inputs, variables or constants need no kernel here; the schedule copies them.
    """
    return tuple(f for f in fuse_steps(graph, costs, order, refuses) if isinstance(f, FusedKernel))


def fuse_steps(
    graph: Graph, costs: Costs = CPU, order: Order | None = None, refuses: Refuses = no_backend
) -> tuple[Fused, ...]:
    """The same for any graph, with its loops and branches. `order`: in which it tries what it may. `refuses`: why the
    backend has no lowering for a kernel of kind ATTENTION, or nothing; it is asked where there might be one."""
    fusion = _Fusion(graph, costs, order or Order(), refuses)
    fusion.place_all()
    fusion.merge_all()
    return fusion.finish()


def stored_anyway(graph: Graph, aliases: Aliases) -> set[Node]:
    """What is stored whoever reads it: results, and what loops, branches and calls take."""
    given = (i for n in graph.nodes if n.op.kind in STEERS for i in aliases.read(n))
    return {*map(aliases.base, graph.results), *given}


class _Fusion:
    def __init__(self, graph: Graph, costs: Costs, order: Order, refuses: Refuses) -> None:
        self.graph = graph
        self.costs = costs
        self.order = order
        self.aliases = aliases = Aliases(graph)
        self.results = stored_anyway(graph, aliases)
        self.number = {n: i for i, n in enumerate(graph.nodes)}
        self.owner: dict[Node, Group] = {}
        self.groups: list[Group] = []
        self._largest_readers: dict[int, dict[Node, int]] = {}
        self._behind = absorbed(graph, self.results, costs, aliases)
        self.refuses = refuses
        self.cuts = cut_scores(graph, self.results, self._behind, costs, refuses)
        self._absorbed: dict[Node, tuple[Node, ...]] = {}  # that a placed node reads through
        self._likeness = Likeness()
        self._patterns: dict[Domain, Pattern] = {}  # of groups without members

    # Placing nodes

    def place_all(self) -> None:
        for node in self.cuts.order or self.graph.nodes:
            match node:
                case Part():
                    self.place_part(node)
                    continue
            match node.op.kind:
                case Kind.SOURCE:
                    pass
                case Kind.CALL if not any(t.size for t in results_of(node)):
                    pass
                case Kind.CONTROL | Kind.CALL:
                    self.place_control(node)
                case Kind.ITEM if node.inputs[0] not in self.owner:
                    pass
                case Kind.ITEM:
                    self.owner[node] = self.owner[node.inputs[0]]
                    self.owner[node].members.append(node)
                case _ if node not in self._behind and node.tensor_type.size:
                    self.place(node)
        self._tell_of_scores()

    def _tell_of_scores(self) -> None:
        """Note why scores are stored, at their product's group; or that they are not, at the first kernel's."""
        for note in self.cuts.decided:
            if note.reason:
                group = self.owner[note.region.seed]
                group.reasons.append(f"scores are stored: {note.reason}")
            else:
                group = next(g for g in self.groups if g.part is not None and g.part.region is note.region)
            group.decided.append(note)

    def place_part(self, part: Part) -> None:
        """A group that is a kernel already."""
        group = self._group(Domain.over(()), len(self.groups))
        group.part = part
        group.members += part.stores
        group.require({self.owner[n]: n for n in part.loads if n in self.owner})
        self.owner.update(dict.fromkeys(part.stores, group))
        self.groups.append(group)

    def place_control(self, node: Node) -> None:
        """A group for a loop, branch or call alone."""
        producers = self.producers(node)
        group = self._group(Domain.over(()), len(self.groups))
        group.steers = True
        group.members.append(node)
        group.require(producers)
        self.owner[node] = group
        self.groups.append(group)

    def producers(self, node: Node) -> dict[Group, Node]:
        """The groups that a node reads from, each with one of the nodes read. Notes the absorbed nodes in between."""
        found: dict[Group, Node] = {}
        through: dict[Node, None] = {}
        pending = list(node.inputs)
        while pending:
            n = pending.pop()
            if n in self.owner:
                found.setdefault(self.owner[n], n)
            elif n in self._behind and n not in through:
                through[n] = None
                pending.extend(n.inputs)
        self._absorbed[node] = tuple(through)
        return found

    def place(self, node: Node) -> None:
        """Join the latest producer that takes the node, or start a group."""
        producers = self.producers(node)
        decided = []
        for group in self.order.producers(producers):
            others = producers.keys() - {group}
            read = producers[group]
            try:
                if any(o.depends_on(group) for o in others):
                    raise CannotFuse(f"{describe(node)} also reads what depends on that kernel")
                # A count that a mean divides by is to come before the kernel of the loss, whose gradient needs it.
                if any(o.size > group.size and not group.depends_on(o) for o in others):
                    raise CannotFuse(f"{describe(node)} would make that kernel wait for a larger one")
                self.join(group, node)
            except CannotFuse as cut:
                decided.append(Joined(read, node, str(cut)))
                continue
            decided.append(Joined(read, node, ""))
            group.decided += decided
            group.require(others)
            self.owner[node] = group
            return
        group = self.start(node)
        group.require(producers)
        group.reasons = [d.reason for d in decided]
        group.decided += decided
        self.owner[node] = group
        self.groups.append(group)

    def start(self, node: Node) -> Group:
        """A new group for a node that can't join any."""
        if node.op.kind is Kind.CONTRACTION:
            sizes = contracted_sizes(node)
            domain = Domain.over(node.shape, sizes if any(size != 1 for size in sizes) else ())
        else:
            domain = Domain.over(node.inputs[0].shape if node.op.kind is Kind.REDUCTION else node.shape)
        group = self._group(domain, len(self.groups))
        self.join(group, node)
        return group

    def _group(self, domain: Domain, number: int) -> Group:
        pattern = self._patterns.get(domain)
        if pattern is None:
            pattern = self._patterns[domain] = Pattern(domain)
        return Group(number, pattern)

    # Joining

    def join(self, group: Group, node: Node) -> None:
        """Make the node a member, or raise CannotFuse and leave the group as it was."""
        if group.steers:
            raise CannotFuse(f"{describe(node)} reads what a {group.members[0].op.name} makes")
        if group.part is not None:
            raise CannotFuse(f"{describe(node)} reads sums of scores, whose kernel is complete")
        if group.scatters or (node.op.push is not None and group.members):
            raise CannotFuse("a scatter is a kernel of its own")
        if node.op.kind is Kind.CONTRACTION and group.members:
            raise CannotFuse(f"{describe(node)} starts a kernel of its own")
        known, fresh = len(group.nodes), [n for n in (node, *self._absorbed[node]) if n not in group.inside]
        spread_again = node.op.kind is Kind.REDUCTION and self._is_spread_again(node)
        key = self._likeness.joining(group, fresh, spread_again)
        found = group.pattern.joined.get(key)
        if found is None:
            found = group.pattern.joined[key] = self._tried(group, node, fresh)
        if isinstance(found, str):
            group.forget(known)
            raise CannotFuse(found)
        group.members.append(node)
        group.inside.update(fresh)
        group.pattern = found

    def _tried(self, group: Group, node: Node, fresh: Sequence[Node]) -> Pattern | str:
        """What the group becomes when the node joins it, or why it can't. Of the group, only its tracer changes."""
        if node.op.push is not None:
            return Pattern(group.domain)
        tracer = group.tracer
        tracer.limits = self.costs if group.members else None
        tracer.members.update(fresh)
        tracer.step()
        try:
            if node.op.kind is Kind.REDUCTION:
                grown = self._with_reduction(group, node, tracer)
            elif node.op.kind is Kind.CUMULATIVE:
                grown = self._with_cumulation(group, node, tracer)
            else:
                grown = tracer
                tracer.value(node, tracer.own_index(node))
            if group.contracts and grown.row_axes and is_news(group, node, grown):
                require_lowering(group, node, grown, self.refuses)
            if group.members and len(grown.slots) > self.costs.buffers:
                raise CannotFuse(f"the kernel would touch more than {self.costs.buffers} buffers")
        except CannotFuse as cut:
            tracer.members.difference_update(fresh)
            tracer.back(len(group.members))
            return str(cut)
        group.kept = grown
        return Pattern(grown.domain, tuple([group.local[n] for n in grown.slots]), grown.effort)

    def _with_reduction(self, group: Group, node: Node, tracer: KernelTracer) -> KernelTracer:
        """Give the group the reduction's axes as its row, or accumulate the node over parallel axes."""
        if group.contracts:
            return self._with_rows_of_a_product(group, node, tracer)
        tracer = self._with_axes_split(group, node, tracer)
        over, kept = tracer.reduced_axes(node)
        row = tracer.row_axes
        if not over or over == row:
            tracer.value(node, tracer.own_index(node))
            return tracer
        everything = {a for a in tracer.axes if a.size != 1}
        accumulates = over != everything or group.size > self.costs.lone_sum
        wanted_inside = self._is_spread_again(node)
        if (
            over | kept == everything
            and (not row or wanted_inside)
            and not (over == everything and accumulates)
        ):
            try:
                return self._with_row(group, node, over, tracer)
            except CannotFuse:
                if not accumulates:
                    raise
        store_of(tracer, node)  # raises CannotFuse where its axes cross the row's
        return tracer

    def _with_rows_of_a_product(self, group: Group, node: Node, tracer: KernelTracer) -> KernelTracer:
        """Give a product's group the reduction's axes as its row, or accumulate the node over other axes than that row,
        where the backend has a lowering for it: one that makes whole rows of the product and keeps them."""
        over, _ = tracer.reduced_axes(node)
        row = tracer.row_axes
        if not over or over == row:
            tracer.value(node, tracer.own_index(node))
            return tracer
        if not row:
            if over != tracer.own_index(group.members[0])[-1].axes:
                raise CannotFuse(f"{describe(node)} reduces other axes of a contraction's result than its columns")
            if picked := gathers_from(self.graph, group.members[0]):
                gatherer = describe(picked)
                raise CannotFuse(f"{describe(node)} reduces a contraction's result, which {gatherer} gathers from")
            tracer = self._with_row(group, node, over, tracer)
        return tracer

    def _with_cumulation(self, group: Group, node: Node, tracer: KernelTracer) -> KernelTracer:
        """Give the group the axes that a cumulative node goes along as its row, unless they are."""
        if group.contracts:
            raise CannotFuse(f"{describe(node)} goes along a contraction's result")
        while split := find_split(tracer, tracer.own_index(node)):
            tracer = _traced_again(tracer, tracer.domain.split(*split), group.members)
            tracer.step()
        along = tracer.cumulated_axes(node)
        if along and along != tracer.row_axes:
            if tracer.row_axes:
                raise CannotFuse(f"{describe(node)} goes along other axes than the kernel's row")
            tracer = self._with_row(group, node, along, tracer)
        for member in (*group.members, node):
            store_of(tracer, member)  # raises CannotFuse where a reduction is not over the row
        return tracer

    def _is_spread_again(self, node: Node) -> bool:
        """Whether something of the reduced tensor's size reads the result, maybe through others of the result's."""
        width = node.tensor_type.size
        found = self._largest_readers.setdefault(width, {})
        pending = [node]
        while pending:
            last = pending[-1]
            users = self.graph.users[last]
            through = [u for u in users if u in self._behind or _size(u) == width]
            if waiting := [u for u in through if u not in found]:
                pending += waiting
                continue
            sizes = [_size(u) for u in users if u not in self._behind]
            found[last] = max([*sizes, *(found[u] for u in through)], default=-1)
            pending.pop()
        return found[node] >= node.inputs[0].tensor_type.size

    def _with_axes_split(self, group: Group, node: Node, tracer: KernelTracer) -> KernelTracer:
        """Split axes so that the reduced and the kept dimensions of the reduction's input lie on different axes."""
        while split := find_split(tracer, tracer.own_index(node.inputs[0])):
            tracer = _traced_again(tracer, tracer.domain.split(*split), group.members)
            tracer.step()
        return tracer

    def _with_row(self, group: Group, node: Node, over: set[Axis], tracer: KernelTracer) -> KernelTracer:
        """Give the group other row axes; earlier reductions over the old row are accumulated."""
        numbers = {n for n, a in enumerate(tracer.axes) if a in over}
        return _traced_again(tracer, tracer.domain.reducing(numbers), [*group.members, node])

    # Merging

    def merge_all(self) -> None:
        self.groups = merge(in_order(self.groups), self._merged, self.costs, self.order)

    def _merged(self, a: Group, b: Group) -> Group | None:
        """Both as one group, or None."""
        if _is_too_large(a, b, self.costs):
            b.decided.append(Met(touched(a), touched(b), "both together would be too large a kernel"))
            return None
        one, another = touched(a), touched(b)
        wide, other = (a, b) if _width(a) >= _width(b) else (b, a)
        first = next((g for g in (wide, other) if _width(g) == _width(wide) and _can_go_first(g, a, b)), None)
        try:
            _least_effort(a, b).check(self.costs)
            grown = self._joined_anew(wide, other) if first is None else self._grown(first, b if first is a else a)
        except CannotFuse as cut:
            b.reasons.append(f"not merged with a neighbour: {cut}")
            b.decided.append(Met(one, another, str(cut)))
            return None
        grown.needs, grown.users = (a.needs | b.needs) - {a, b}, (a.users | b.users) - {a, b}
        grown.reasons = a.reasons + b.reasons
        grown.decided = [*a.decided, *b.decided, Met(one, another, "")]
        return grown

    def _place(self, node: Node) -> tuple[bool, int]:
        """Members come in topological order, but for contractions: an epilogue can't start before them."""
        return node.op.kind is not Kind.CONTRACTION, self.number[node]

    def _grown(self, wide: Group, other: Group) -> Group:
        """One group with the members of the other, at the cost of what is added; or CannotFuse, and nothing changed."""
        mark = wide.mark()
        try:
            for node in sorted(other.members, key=self._place):
                self.join(wide, node)
        except CannotFuse:
            wide.rollback(mark)
            raise
        return wide

    def _joined_anew(self, wide: Group, other: Group) -> Group:
        """All members in a new group of the wide one's dimensions."""
        kinds = (Kind.REDUCTION, Kind.CUMULATIVE)
        reduced = next((n for n in other.members if n.op.kind in kinds), None)
        if wide.contracts and reduced:
            raise _reduces_a_contraction(reduced)
        group = self._group(Domain.over(wide.domain.dims, wide.domain.contracted), wide.number)
        for node in sorted((*wide.members, *other.members), key=self._place):
            self.join(group, node)
        return group

    # Finishing

    def finish(self) -> tuple[Fused, ...]:
        loaded = {n for g in self.groups for n in self._reads(g)}
        lowering = Lowering(self.number.__getitem__)
        lowered: list[tuple[Group, list[Fused]]] = []
        for group in self.groups:
            if group.steers:
                node, *items = group.members
                lowered.append((group, [self._control(node, items)]))
                continue
            if (part := group.part) is not None:
                assert part.kernel is not None
                about = decisions(group.decided, self.costs)
                lowered.append((group, [FusedKernel(part.kernel, part.slots, self._inside(part), (), about)]))
                continue
            reasons = tuple(dict.fromkeys(group.reasons))
            members = sorted(group.members, key=self._place)
            stored = [n for n in members if n in self.results or n in loaded]
            kernels, nodes = lowering.kernels(group, members, stored)
            first, rest = kernels[0], kernels[1:]  # a scatter has two
            about = decisions(group.decided, self.costs)
            made = [FusedKernel(*first, nodes, reasons, about), *(FusedKernel(*k, nodes, reasons) for k in rest)]
            lowered.append((group, list(made)))
        return tuple(self._in_order(lowered))

    def _control(self, node: Node, items: Sequence[Node]) -> FusedControl:
        return FusedControl(node, tuple(items) if is_tuple(node) else (node,), self.aliases.read(node))

    def _inside(self, part: Part) -> tuple[Node, ...]:
        """The nodes that a kernel of scores computes."""
        return tuple(sorted(part.nodes, key=self.number.__getitem__))

    def _reads(self, group: Group) -> set[Node]:
        """The nodes that a group loads."""
        if group.part is not None:
            return set(group.part.loads)
        if group.steers:
            return set(self.aliases.read(group.members[0]))
        if not group.scatters:
            return group.loads()
        return set(stored_behind(group.members[0], self._behind))

    def _in_order(self, lowered: Sequence[tuple[Group, list[Fused]]]) -> list[Fused]:
        """Producers first; among those that can run, one that writes a variable's new value waits, so that
        readers of the old value go before it and it can be written in place, and after all indices were checked."""
        updates = {u for u in self.graph.updates if u is not None}

        def urgency(place: int) -> tuple[int, int]:
            group, kernels = lowered[place]
            late = not updates.isdisjoint(group.members)
            return late * (1 if any(isinstance(k, FusedKernel) and k.kernel.gathers for k in kernels) else 2), place

        places = {group: place for place, (group, _) in enumerate(lowered)}
        waiting = [len(group.needs) for group, _ in lowered]
        ready = [urgency(place) for place, count in enumerate(waiting) if not count]
        heapify(ready)
        order: list[Fused] = []
        while ready:
            group, kernels = lowered[heappop(ready)[1]]
            order += kernels  # a scatter has two kernels, kept in order
            for place in (places[user] for user in group.users):
                waiting[place] -= 1
                if not waiting[place]:
                    heappush(ready, urgency(place))
        return order


def _traced_again(tracer: KernelTracer, domain: Domain, members: Sequence[Node]) -> KernelTracer:
    """The members traced in another domain."""
    other = KernelTracer(domain, tracer.members)
    other.limits = tracer.limits
    trace_members(other, members)
    return other


def results_of(node: Node) -> tuple[TensorType, ...]:
    """The types of all that it computes."""
    return node.type.items if isinstance(node.type, TupleType) else (node.type,)


def _reduces_a_contraction(node: Node) -> CannotFuse:
    return CannotFuse(f"{describe(node)} reduces a contraction's result")


def _size(node: Node) -> int:
    """Elements; −1 of a loop or branch."""
    return -1 if is_tuple(node) else node.tensor_type.size


def _width(group: Group) -> tuple[bool, int]:
    """Of two groups, the one that the other may join: a contraction, or the one with more elements."""
    return group.contracts, group.size


def _can_go_first(group: Group, a: Group, b: Group) -> bool:
    """Whether all of one of two groups may be traced before the other, as it is already: it reads nothing of it, and
    nothing comes that may want other axes as its row."""
    other = b if group is a else a
    reduces = any(n.op.kind in (Kind.REDUCTION, Kind.CUMULATIVE) for n in other.members)
    return not reduces and not other.contracts and not group.loads().intersection(other.members)


def _least_effort(a: Group, b: Group) -> Effort:
    """What both as one take at least: cheaper than trying. Groups that have no node in common compute nothing twice."""
    one, other = a.pattern.effort, b.pattern.effort
    if not a.inside.isdisjoint(b.inside):
        return one
    return one._replace(values=max(one.values + other.applied, other.values + one.applied))


def _is_too_large(a: Group, b: Group, costs: Costs) -> bool:
    """Whether both as one would surely touch too many buffers or compute too much: cheaper than trying."""
    one, other = a.pattern.effort, b.pattern.effort
    if one.applied + other.applied > costs.values or one.cost + other.cost > costs.instructions:
        return True
    return len((a.loads() | b.loads()) - {*a.members, *b.members}) > costs.buffers
