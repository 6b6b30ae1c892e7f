"""The pipeline of graph passes: a traced graph goes in, an optimized one comes out.

Passes declare which invariants they need, give and keep; their order follows, and under GRAPHC_CHECK=2 the
declarations are held to. Here nothing is known about what a pass does.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable
from enum import Enum
from functools import cache
from itertools import permutations

from graphc.dataclass import dataclass
from graphc.errors import CompileError
from graphc.ir import Graph, map_graphs, sub_graphs
from graphc.settings import Check, Settings
from graphc.verify import verify

from .cse import cse, has_duplicates
from .dce import dce, has_dead_code
from .loops import loops
from .simplify import first_applicable, simplify


class Invariant(Enum):
    """What can be said of a graph between passes; well-formed and well-typed it is always."""

    NO_DUPLICATES = "no two nodes compute the same thing"
    SIMPLIFIED = "no rewrite rule applies to any node"
    NO_DEAD_CODE = "no update stores what the variable holds already"

    def holds(self, graph: Graph) -> bool:
        """Whether it is true of the graph and of all bodies in it."""
        bodies = (body for node in graph.nodes for body in sub_graphs(node).values())
        return self._holds_here(graph) and all(map(self.holds, bodies))

    def _holds_here(self, graph: Graph) -> bool:
        match self:
            case Invariant.NO_DUPLICATES:
                return not has_duplicates(graph)
            case Invariant.SIMPLIFIED:
                return first_applicable(graph) is None
            case Invariant.NO_DEAD_CODE:
                return not has_dead_code(graph)


@dataclass(frozen=True)
class Pass:
    """A function from graph to graph, to be applied to bodies as well, and its effect on invariants.

    It is applied to bodies, the innermost first, before the graph that they are in; with `inward` it sees to bodies
    itself. It may rely on `needs`; afterwards `gives` hold, of those that held before `keeps` still do, and no others.
    """

    run: Callable[[Graph], Graph]
    needs: frozenset[Invariant] = frozenset()
    gives: frozenset[Invariant] = frozenset()
    keeps: frozenset[Invariant] = frozenset()
    inward: bool = False

    @property
    def name(self) -> str:
        return self.run.__name__

    def after(self, before: frozenset[Invariant]) -> frozenset[Invariant]:
        """What holds after the pass."""
        return self.gives | (before & self.keeps)


PASSES = (
    Pass(loops, inward=True),
    Pass(
        simplify,
        needs=frozenset({Invariant.NO_DUPLICATES}),
        gives=frozenset({Invariant.SIMPLIFIED}),
        keeps=frozenset({Invariant.NO_DUPLICATES}),
    ),
    Pass(
        cse,
        gives=frozenset({Invariant.NO_DUPLICATES}),
        keeps=frozenset({Invariant.NO_DEAD_CODE}),
    ),
    Pass(
        dce,
        gives=frozenset({Invariant.NO_DEAD_CODE}),
        keeps=frozenset({Invariant.NO_DUPLICATES, Invariant.SIMPLIFIED}),
        inward=True,
    ),
)


@cache
def arrange(passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
    """The passes in an order in which each finds what it needs, and all that they give holds in the end.

    Raises CompileError where there is none.
    """
    goal = frozenset[Invariant]().union(*(p.gives for p in passes))
    for order in permutations(passes):
        holding: frozenset[Invariant] = frozenset()
        for p in order:
            if not p.needs <= holding:
                break
            holding = p.after(holding)
        else:
            if goal <= holding:
                return order
    raise CompileError(
        "the passes' declared invariants allow no order", got=", ".join(p.name for p in passes)
    )


@dataclass(frozen=True)
class PassRecord:
    """One pass as it ran."""

    name: str
    before: Graph
    after: Graph
    seconds: float


Observer = Callable[[PassRecord], None]


def optimize(graph: Graph, settings: Settings, observer: Observer | None = None) -> Graph:
    """The graph, rewritten to compute the same with less work. Inputs, variables and outputs keep their places.

    `observer` is told of every pass. GRAPHC_DUMP=passes prints the graph, and again after each pass that changed
    it, to stderr. Raises CompileError, which names the pass, where one breaks the graph or its own declaration;
    GRAPHC_CHECK says how much is looked at.
    """
    observers = [observer] if observer is not None else []
    if "passes" in settings.dump:
        print(f"-- traced\n{graph}", file=sys.stderr)
        observers.append(_dump)
    if settings.check >= Check.GRAPH:
        verify(graph)
    holding: frozenset[Invariant] = frozenset()
    for p in arrange(PASSES):
        before, start = graph, time.perf_counter()
        graph = _run(p, before)
        record = PassRecord(p.name, before, graph, time.perf_counter() - start)
        for observe in observers:
            observe(record)
        holding = p.after(holding)
        if settings.check >= Check.ALL:
            _check(p, graph, holding)
    if settings.check is Check.GRAPH:
        verify(graph)
    return graph


def _run(p: Pass, graph: Graph) -> Graph:
    try:
        return p.run(graph) if p.inward else map_graphs(graph, p.run)
    except Exception as error:
        error.add_note(f"in the pass {p.name}; to see what it was given, {_again()}")
        raise


def _check(p: Pass, graph: Graph, invariants: Iterable[Invariant]) -> None:
    """Hold the pass to its declaration."""
    try:
        verify(graph)
    except CompileError as error:
        rule = f"the pass {p.name} broke the graph: {error.rule}"
        raise CompileError(rule, got=error.got, where=error.where, hint=_again()) from error
    for invariant in invariants:
        if not invariant.holds(graph):
            rule = f"the pass {p.name} declares, but does not see to it, that {invariant.value}"
            raise CompileError(rule, hint=_again())


def _again() -> str:
    """How to repeat this run with every graph printed."""
    return f"GRAPHC_CHECK=2 GRAPHC_DUMP=passes {shlex.join(sys.orig_argv)}"


def _dump(record: PassRecord) -> None:
    if str(record.before) != str(record.after):
        print(f"-- {record.name}, {record.seconds * 1e3:.2f} ms\n{record.after}", file=sys.stderr)
