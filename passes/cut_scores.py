"""Cuts regions of scores into kernels that sum them and hold none of them in memory.

In: a graph and what a backend refuses. Out: kernels, each with the nodes of its slots and those that it computes.
A kernel takes as many of a region's sums as run over the same axes, as none has to wait for another but through what
is computed in the kernel itself, and as the backend has a lowering for. Each computes the scores anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from graphc.costs import Costs
from graphc.dataclass import dataclass, field
from graphc.decision import Decision, Origin, Verdict
from graphc.index import Axis, flatten
from graphc.ir import Graph, Node
from graphc.kernel import Kernel
from graphc.op import Kind

from .build_kernel import MOST_SPLITS, PlannedStore, find_split, finish_kernel
from .kernel_tracer import CannotFuse, Domain
from .score_tracer import ScoreTracer
from .scores import Region, find_regions

Refuses: TypeAlias = Callable[[Kernel], str]  # why a backend has no lowering of a kernel of attention; empty if it has
Behind: TypeAlias = Mapping[Node, frozenset[Node]]

WORTH = 32  # times as long as moving scores beyond the cache takes, it may take to compute them anew
MOST_FINISHING = 8  # elementwise nodes after a sum that its kernel computes


def no_backend(kernel: Kernel) -> str:
    """Refuses all."""
    return "no backend was asked"


class ScoreDecision(NamedTuple):
    """A region that became kernels, or did not. A note of fusion's."""

    region: Region
    saved: float
    reason: str

    def record(self, costs: Costs) -> Decision:
        last = next(n for n in reversed(self.region.sums) if n.op.kind is Kind.CONTRACTION)
        verdict = Verdict.APART if self.reason else Verdict.FUSED
        return Decision(Origin.of(self.region.seed), Origin.of(last), self.saved, verdict, self.reason)


@dataclass(eq=False)
class Part:
    """Sums of a region that one kernel makes. `between`: nodes between two of them that it computes as well; `after`:
    what it computes of them, instead of which it stores that. `kernel` and `slots`, once it is built; and the trace
    that they are made of, with all stores that there may be."""

    region: Region
    sums: list[Node]
    between: set[Node] = field(default_factory=set)
    after: list[Node] = field(default_factory=list)
    kernel: Kernel | None = None
    slots: tuple[Node, ...] = ()
    traced: tuple[ScoreTracer, list[PlannedStore]] | None = None

    @property
    def made(self) -> list[Node]:
        """All that it could store."""
        return [*self.sums, *self.after]

    @property
    def nodes(self) -> set[Node]:
        """All that it computes of the region, what it sums, and what lies between and after."""
        found, pending = set(self.made), list(self.made)
        while pending:
            for i in pending.pop().inputs:
                if i not in found and (i in self.region.nodes or i in self.between):
                    found.add(i)
                    pending.append(i)
        return found

    @property
    def loads(self) -> list[Node]:
        assert self.kernel is not None
        return [self.slots[s] for s in self.kernel.loaded]

    @property
    def stores(self) -> list[Node]:
        assert self.kernel is not None
        return [self.slots[s] for s in self.kernel.written]

    def build(self, behind: Behind) -> None:
        """Make the kernel that stores all that it could. Raises CannotFuse where it can't be one."""
        domain = Domain.over(self.region.seed.shape)
        for _ in range(MOST_SPLITS):
            tracer = ScoreTracer(domain, self.region, {*self.sums, *self.between, *self.after}, behind)
            for node in self.made:
                tracer.place(node)
            stores = [_store(tracer, node) for node in self.made]
            split = find_split(tracer, [*tracer.indices(), *(s.position for s in stores)])
            if split is None:
                break
            domain = domain.split(*split)
        self.traced = tracer, stores
        self.kernel, self.slots = finish_kernel(tracer, stores)

    def store_only(self, wanted: Collection[Node]) -> None:
        """Make the kernel that stores no more than is wanted."""
        assert self.traced is not None
        tracer, stores = self.traced
        if some := [s for s in stores if s.node in wanted]:
            self.kernel, self.slots = finish_kernel(tracer, some)


def _store(tracer: ScoreTracer, node: Node) -> PlannedStore:
    place = tracer.place(node)
    return PlannedStore(node, flatten(place, node.shape), tracer.value(node, place))


class Cuts(NamedTuple):
    """The kernels of a graph's scores, what was decided, and the nodes and kernels that somebody needs, in an order in
    which they can be placed; that of the graph where there are no kernels."""

    parts: tuple[Part, ...] = ()
    decided: tuple[ScoreDecision, ...] = ()
    order: tuple[Node | Part, ...] = ()


class _Waits(Exception):
    """Kernels would wait for each other, this one among them."""

    def __init__(self, part: Part) -> None:
        self.part = part


def cut_scores(graph: Graph, results: Collection[Node], behind: Behind, costs: Costs, refuses: Refuses) -> Cuts:
    """The kernels of all regions that can be kernels and gain by it. `results` are stored in any case."""
    regions = list(find_regions(graph, results))
    if not regions:
        return Cuts()
    return _Cutting(graph, results, behind, costs, refuses).made(regions)


class _Cutting:
    def __init__(
        self, graph: Graph, results: Collection[Node], behind: Behind, costs: Costs, refuses: Refuses
    ) -> None:
        self.graph = graph
        self.results = results
        self.behind = behind
        self.costs = costs
        self.refuses = refuses
        self.bit: dict[Node, int] = {}  # of each sum
        self.reach: dict[Node, int] = {}  # of each node, the bits of the sums that it depends on

    def made(self, regions: Sequence[Region]) -> Cuts:
        self.bit = {n: 1 << i for i, n in enumerate(dict.fromkeys(n for r in regions for n in r.sums))}
        for node in self.graph.nodes:
            mask = self.bit.get(node, 0)
            for i in node.inputs:
                mask |= self.reach.get(i, 0)
            if mask:
                self.reach[node] = mask
        parts, decided = [], []
        for region in regions:
            found, decision = self._cut(region)
            parts += found
            decided.append(decision)
        while parts:
            try:
                return self._finished(parts, decided)
            except _Waits as error:
                region = error.part.region
                parts = [part for part in parts if part.region is not region]
                reason = "its kernels would wait for each other"
                decided = [d._replace(reason=reason) if d.region is region else d for d in decided]
        return Cuts((), tuple(decided))

    def _cut(self, region: Region) -> tuple[list[Part], ScoreDecision]:
        parts: list[Part] = []
        reason, saved = region.reason, 0.0
        if not reason:
            try:
                parts = self._parts(region)
                saved = self._saved(region, parts)
                if not self._is_worth(region, saved):
                    reason = "to compute the scores anew takes longer than to store them"
            except CannotFuse as cut:
                reason = str(cut)
        return [] if reason else parts, ScoreDecision(region, saved, reason)

    def _is_worth(self, region: Region, saved: float) -> bool:
        """Whether it takes less time, or little more where it is about much memory: scores of attention, but hardly the
        logits of a large vocabulary, each of which is a sum of many terms."""
        if region.seed.tensor_type.nbytes <= self.costs.cache:
            return saved >= 0
        return saved > -self.costs.byte * _moved(region) * WORTH

    def _saved(self, region: Region, parts: Sequence[Part]) -> float:
        """Nanoseconds: bytes of scores that are not moved, against products computed anew."""
        again = sum(_products(part) for part in parts) - sum(_multiplications(n) for n in region.products)
        return self.costs.byte * _moved(region) - self.costs.product * max(again, 0)

    # Which sums share a kernel

    def _parts(self, region: Region) -> list[Part]:
        """The region's sums by kernels. Raises CannotFuse where the backend refuses one."""
        tracer = ScoreTracer(Domain.over(region.seed.shape), region, region.sums, self.behind)
        over = {node: tracer.over(node) for node in region.sums}
        parts: list[Part] = []
        for together in self._gathered(region, region.sums, over, lambda part: True):
            if self._try_finished(together):
                parts.append(together)
                continue
            if len(together.sums) == 1:
                raise CannotFuse(self._why_not(together))
            for part in self._gathered(region, together.sums, over, self._try):
                if not self._try_finished(part):
                    raise CannotFuse(self._why_not(part))
                parts.append(part)
        return parts

    def _gathered(
        self, region: Region, sums: Sequence[Node], over: Mapping[Node, frozenset[Axis]], fits: Callable[[Part], bool]
    ) -> list[Part]:
        """Sums of a region, each with the latest part that it can join."""
        parts: list[Part] = []
        for node in sums:
            for part in reversed(parts):
                if over[part.sums[0]] != over[node] or self._waits(part, node, parts):
                    continue
                if (between := self._between(part, node)) is None:
                    continue
                more = Part(part.region, [*part.sums, node], part.between | between)
                if fits(more):
                    parts[parts.index(part)] = more
                    break
            else:
                parts.append(Part(region, [node]))
        return parts

    def _waits(self, part: Part, node: Node, parts: Sequence[Part]) -> bool:
        """Whether a node depends on other parts, which depend on this one, directly or through others."""
        after, rest = self._mask(part.sums), [p for p in parts if p is not part]
        while found := [p for p in rest if any(self.reach[n] & after for n in p.sums)]:
            rest = [p for p in rest if p not in found]
            for p in found:
                after |= self._mask(p.sums)
        return bool(self.reach[node] & after & ~self._mask(part.sums))

    def _between(self, part: Part, node: Node) -> set[Node] | None:
        """The nodes on the ways from the part's sums to another node that are not the region's: None where the kernel
        can't compute one of them, since it is a sum of its own."""
        mask, sums = self._mask(part.sums), {*part.sums}
        found: set[Node] = set()
        seen: set[Node] = set()
        pending = list(node.inputs)
        while pending:
            n = pending.pop()
            if n in seen or n in sums or not self.reach.get(n, 0) & mask:
                continue
            seen.add(n)
            if n not in part.region.nodes:
                if n.op.kind not in (Kind.ELEMENTWISE, Kind.VIEW):
                    return None
                found.add(n)
            pending.extend(n.inputs)
        return found

    def _mask(self, nodes: Iterable[Node]) -> int:
        mask = 0
        for n in nodes:
            mask |= self.bit[n]
        return mask

    def _finish_after(self, part: Part) -> None:
        """Let the kernel compute what is elementwise of its products' sums."""
        for node in part.sums:
            last = node
            while node.op.kind is Kind.CONTRACTION and len(part.after) < MOST_FINISHING:
                users = [u for u in dict.fromkeys(self.graph.users[last]) if self._can_finish(part, last, u)]
                if len(users) != 1:
                    break
                last = users[0]
                between = self._between(part, last)
                assert between is not None
                part.between |= between - {*part.after}
                part.after.append(last)

    def _can_finish(self, part: Part, node: Node, user: Node) -> bool:
        if user.op.inverse is not None:
            return user in self.results and user not in self.behind
        if user.op.kind is not Kind.ELEMENTWISE or user.shape != node.shape or user in part.after:
            return False
        own, region = self._mask(part.sums), self._mask(part.region.sums)
        for i in user.inputs:
            depends = self.reach.get(i, 0) & region
            if i is not node and depends and (depends & ~own or self._between(part, user) is None):
                return False
        return True

    # Asking the backend

    def _try(self, part: Part) -> bool:
        return not self._why_not(part)

    def _try_finished(self, part: Part) -> bool:
        """Also without what comes after its sums, which is then a kernel of its own."""
        self._finish_after(part)
        if self._try(part):
            return True
        part.after.clear()
        return self._try(part)

    def _why_not(self, part: Part) -> str:
        try:
            part.build(self.behind)
        except CannotFuse as cut:
            return str(cut)
        assert part.kernel is not None
        return self.refuses(part.kernel)

    # What has to be stored

    def _finished(self, parts: list[Part], decided: list[ScoreDecision]) -> Cuts:
        """The parts with what is wanted of them, in an order that can run. Raises _Waits where there is none."""
        makes = {n for part in parts for n in part.made}
        scores = {n for part in parts for n in part.region.nodes}
        wanted = {*self.results, *(n for part in parts for n in part.loads)}
        for node in reversed(self.graph.nodes):
            if node in wanted and node not in makes and node not in scores:
                wanted.update(node.inputs)
        parts = [part for part in parts if any(n in wanted for n in part.made)]
        for part in parts:
            part.store_only(wanted)
        order = [item for item in _in_order(self.graph, parts) if isinstance(item, Part) or item in wanted]
        return Cuts(tuple(parts), tuple(decided), tuple(order))


def _moved(region: Region) -> int:
    """Bytes of scores that are moved where they are stored, and read by a softmax and by products."""
    sums = sum(n.op.kind is Kind.CONTRACTION for n in region.sums)
    return region.seed.tensor_type.nbytes * (2 * len(region.products) + 2 + sums)


def _multiplications(node: Node) -> int:
    """How many numbers a contraction multiplies."""
    assert node.op.contraction is not None
    sizes = node.op.contraction.sizes(*(i.type for i in node.inputs), **node.attrs)
    count = node.tensor_type.size
    for size in sizes:
        count *= size
    return count


def _products(part: Part) -> int:
    """How many numbers a kernel multiplies for the scores."""
    own = part.nodes & part.region.nodes
    return sum(_multiplications(n) for n in own if n.op.kind is Kind.CONTRACTION)


def _in_order(graph: Graph, parts: Iterable[Part]) -> Iterator[Node | Part]:
    """A graph's nodes, inputs first, with parts in place of what they store. Raises _Waits where that can't be."""
    by_node = {n: part for part in parts for n in part.stores}
    done: set[Node | Part] = set()
    begun: set[Part] = set()
    for root in graph.nodes:
        stack: list[Node | Part] = [by_node.get(root, root)]
        while stack:
            item = stack[-1]
            if item in done:
                stack.pop()
                continue
            needs = item.loads if isinstance(item, Part) else item.inputs
            waiting = [w for n in needs if (w := by_node.get(n, n)) not in done]
            if not waiting:
                done.add(item)
                stack.pop()
                yield item
                continue
            if isinstance(item, Part):
                if item in begun:
                    raise _Waits(item)
                begun.add(item)
            stack.extend(reversed(waiting))
