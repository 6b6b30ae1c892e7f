"""The whole pipeline on one screen: trace → graph → passes → schedule → backend → program.

In: a traced graph and settings. Out: a `Compilation`, whose stages are made when they are asked for. Knows neither
functions nor what calls them.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import cache, lru_cache, partial, wraps
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

from .. import hook, ops
from ..brief import brief
from ..cached import cached_property
from ..collector import rare_collections
from ..costs import CPU, GPU, Costs
from ..errors import CompileError, UnsupportedError
from ..ir import Graph, Literal, everywhere
from ..settings import Check, Settings
from ..text import traced_hash

if TYPE_CHECKING:
    from ..backends.backend import Backend, Program
    from ..kernel import Kernel
    from ..schedule import Schedule
    from .report import Report

P = ParamSpec("P")
R = TypeVar("R")


class Known(NamedTuple):
    """What is known of a backend before it is imported, when it is first asked for: its package, of which it is
    `backend`, and what work costs where it runs."""

    package: str
    costs: Costs = CPU


BACKENDS = {
    "reference": Known("graphc.backends.reference"),  # which takes no schedule; people may look at one
    "llvm": Known("graphc.backends.llvm", CPU),
    "triton": Known("graphc.backends.triton", GPU),
}


class Stage(Enum):
    """The stages of a compilation that can be read."""

    GRAPH = "graph"
    DOT = "dot"
    SCHEDULE = "schedule"
    LLVM_IR = "llvm-ir"
    ASM = "asm"
    TRITON = "triton"
    PTX = "ptx"


def alone(function: Callable[P, R]) -> Callable[P, R]:
    """For the stages of a compilation: nobody else compiles meanwhile, and no fork comes in between, whose child would
    find what Python locks while it imports locked for ever."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with hook.call_lock, rare_collections():
            return function(*args, **kwargs)

    return call


class Compilation:
    """One graph on its way down. Each stage is made when it is first asked for; `seconds` says how long that took.

    Raises UnsupportedError for what the backend can't do, CompileError for faults of our own.
    """

    def __init__(self, traced: Graph | None, settings: Settings) -> None:
        """`traced`: None for one that starts further down, whose stages up to there are given in another way."""
        self._traced = traced
        self.settings = settings
        self.seconds: dict[str, float] = {}

    @property
    def traced(self) -> Graph:
        """The graph as it was traced. Raises CompileError where there was no trace."""
        if self._traced is None:
            raise CompileError("this compilation did not start from a trace")
        return self._traced

    @cached_property
    @alone
    def graph(self) -> Graph:
        """The optimized graph."""
        from ..passes.pipeline import optimize

        with self._timed("optimize"):
            return optimize(self.traced, self.settings)

    @cached_property
    @alone
    def schedule(self) -> Schedule:
        """The kernels and the memory plan, for the kind of machine that the backend runs on."""
        from ..passes.schedule import schedule

        graph, backend = self.graph, self.settings.backend
        with self._timed("schedule"):
            return schedule(graph, costs_of(backend), refuses=partial(refusal, backend))

    def _schedule_for(self, backend: str) -> Schedule:
        """As it would be for another backend."""
        from ..passes.schedule import schedule

        if backend == self.settings.backend:
            return self.schedule
        return schedule(self.graph, costs_of(backend), refuses=partial(refusal, backend))

    @cached_property
    @alone
    def program(self) -> Program:
        """What runs: built now, or by an earlier process from an equal trace if the backend keeps programs."""
        from ..backends.backend import ProgramCache, Signature

        backend = find_backend(self.settings.backend)
        if not isinstance(backend, ProgramCache):
            return self.built
        if (reason := why_not_kept(self.traced, self.settings)) is not None:
            self._log_cache(f"this program is not kept: {reason}")
            return self.built
        key = traced_hash(self.traced)
        with self._timed("load"):
            found = backend.load(key, Signature.of(self.traced), self.settings)
        if found is not None:
            self._log_cache(f"the program of trace {key[:8]} is there: no pass is run")
            return found
        self._log_cache(f"no program of trace {key[:8]}, with its lines, by this graphc for this machine: it is built")
        found = self.built
        backend.keep(key, found, self.settings)
        return found

    def _log_cache(self, text: str) -> None:
        if "cache" in self.settings.log:
            print(f"graphc: cache: {text}", file=sys.stderr)

    @cached_property
    @alone
    def built(self) -> Program:
        """What the backend builds of the schedule or the graph."""
        from ..backends.backend import Level

        backend = find_backend(self.settings.backend)
        lowered = self.graph if backend.level is Level.GRAPH else self.schedule
        with self._timed("build"):
            return backend.build(lowered, self.settings)

    @alone
    def report(self) -> Report:
        """What was made of the graph, for people."""
        from .report import Report, schedule_report

        lowered, planned = self.built.lowered, self.schedule
        return Report(
            backend=self.settings.backend,
            steps=schedule_report(planned, lowered),
            seconds=self.seconds,
            arena_bytes=planned.arena_bytes,
            prepared_bytes=planned.prepared_bytes,
            nodes=len(self.graph.nodes),
        )

    @alone
    def text(self, stage: Stage) -> str:
        """A stage for people to read; those of a backend can be read on any machine, whatever backend will run."""
        match stage:
            case Stage.GRAPH:
                return str(self.graph)
            case Stage.DOT:
                from ..text.dot import dot

                return dot(self.graph)
            case Stage.SCHEDULE:
                return str(self.schedule)
            case Stage.LLVM_IR | Stage.ASM:
                from ..backends.llvm import listing as llvm

                planned = self._schedule_for("llvm")
                return llvm.ir_listing(planned) if stage is Stage.LLVM_IR else llvm.asm_listing(planned)
            case Stage.TRITON | Stage.PTX:
                from ..backends.triton import listing as triton

                planned = self._schedule_for("triton")
                return triton.triton_listing(planned) if stage is Stage.TRITON else triton.ptx_listing(planned)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        if self.settings.time:
            print(f"graphc: {name}: {1e3 * self.seconds[name]:.2f} ms", file=sys.stderr)

    def dump(self) -> None:
        """Print the stages that GRAPHC_DUMP asks for."""
        for stage in Stage:
            if stage.value in self.settings.dump:
                print(f"-- {stage.value}\n{self.text(stage)}", file=sys.stderr)
        if "fuse" in self.settings.dump:
            from .report import fusion_text

            print(f"-- fuse\n{fusion_text(self.schedule)}", file=sys.stderr)


MOST_CONSTANTS = 1 << 20  # bytes; programs with more are not worth a second copy on disk


def why_not_kept(traced: Graph, settings: Settings) -> str | None:
    """Why the program of this trace is not kept on disk: stages are to be looked at, constants are large, or it has ops
    that are not graphc's own, whose meaning may change from one process to the next. None where it is kept."""
    if settings.check is not Check.NONE or settings.dump:
        return "its stages are to be looked at"
    if not settings.cache:
        return "GRAPHC_CACHE=0"
    own = ops.own()
    nodes = list(everywhere(traced))
    if any(node.op not in own for node in nodes):
        return "it has ops that are not graphc's own"
    literals = [value for node in nodes for value in node.attrs.values() if isinstance(value, Literal)]
    if sum(x.array.nbytes for x in literals) > MOST_CONSTANTS:
        return "its constants are larger than 1 MiB: gx.Variables are not part of programs"
    return None


def costs_of(backend: str) -> Costs:
    """What work costs where a backend runs; a CPU's where there is no such backend, which is told later."""
    return BACKENDS[backend].costs if backend in BACKENDS else CPU


@lru_cache(maxsize=256)
def refusal(backend: str, kernel: Kernel) -> str:
    """Why a backend has no lowering of a kernel of kind ATTENTION; empty where it has one. Layers have equal ones."""
    return find_backend(backend).refuses(kernel)


@cache
def find_backend(name: str) -> Backend:
    """The backend of that name. Raises UnsupportedError where there is none."""
    if name not in BACKENDS:
        raise UnsupportedError(
            "there is no such backend", got=brief(name), hint="use one of " + ", ".join(BACKENDS)
        )
    backend: Backend = importlib.import_module(BACKENDS[name].package).backend
    return backend


def begin(name: str, settings: Settings) -> None:
    """Let a backend begin with what it does once in a process: beside the trace of the first function that is called.
    A name that there is no backend of is told later."""
    if name in BACKENDS and name not in _begun:
        _begun.add(name)
        from ..backends.backend import Beginner

        with hook.call_lock:  # as in `alone`
            backend = find_backend(name)
        if isinstance(backend, Beginner):
            backend.begin(settings)


_begun: set[str] = set()  # names of backends
