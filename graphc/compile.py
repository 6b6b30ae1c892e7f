"""The whole pipeline on one screen: function → trace → graph → passes → schedule → backend → program.

It also installs the driver, through which the frontend differentiates, and runs concrete operations.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from . import driver as hook
from .errors import UnsupportedError
from .ir import Graph, Node
from .settings import Check, Settings
from .storage import Storage
from .text import canonical_hash

if TYPE_CHECKING:
    from .backends.backend import Backend, Program
    from .executable import Executable
    from .schedule import Schedule

# A backend is the `backend` of its package, which is imported when it is first asked for.
BACKENDS = {
    "reference": "graphc.backends.reference",
    "llvm": "graphc.backends.llvm",
    "triton": "graphc.backends.triton",
}


@dataclass
class Compiled:
    """What became of one graph, stage by stage, and how many seconds each stage took."""

    traced: Graph
    graph: Graph
    schedule: Schedule | None
    program: Program
    seconds: dict[str, float] = field(default_factory=dict)


def compile_graph(traced: Graph, settings: Settings) -> Compiled:
    """Optimize a graph, lower it as far as the backend wants, and build it.

    Raises UnsupportedError for what the backend can't do, CompileError for faults of our own.
    """
    from .backends.backend import Level
    from .passes.pipeline import optimize

    seconds: dict[str, float] = {}
    backend = find_backend(settings.backend)
    with _timed("optimize", seconds):
        graph = optimize(traced, settings)
    planned = None
    if backend.level is Level.SCHEDULE:
        from .passes.schedule import schedule

        with _timed("schedule", seconds):
            planned = schedule(graph)
    with _timed(f"build for {backend.name}", seconds):
        program = backend.build(graph if planned is None else planned, settings)
    return Compiled(traced, graph, planned, program, seconds)


@contextmanager
def _timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


@cache
def find_backend(name: str) -> Backend:
    """The backend of that name. Raises UnsupportedError where there is none."""
    if name not in BACKENDS:
        raise UnsupportedError(
            "there is no such backend", got=repr(name), hint="use one of " + ", ".join(BACKENDS)
        )
    backend: Backend = importlib.import_module(BACKENDS[name]).backend
    return backend


def compile(
    function: Callable[..., Any] | None = None,
    *,
    backend: str | None = None,
    inputs: Sequence[Any] | None = None,
) -> Any:
    """Make a function an executable: `@gx.compile`, `@gx.compile(backend=...)` or `gx.compile(fn)`.

    It is traced and compiled when it is first called with arguments of new types (see `Executable`).
    backend: "llvm" unless `gx.using` says otherwise. inputs: a `gx.spec` for each positional argument, or None for
    one that may be anything; then calls with other dtypes or shapes raise DTypeError or ShapeError.
    """
    from .executable import Executable

    def make(f: Callable[..., Any]) -> Executable:
        return Executable(f, backend=backend, inputs=None if inputs is None else tuple(inputs))

    return make if function is None else make(function)


class _Driver:
    """The frontend's hook into passes and backends."""

    def execute(
        self, graph: Graph, storages: Sequence[Storage], arrays: Sequence[np.ndarray], settings: Settings
    ) -> list[np.ndarray]:
        """Run one concrete operation's graph. Programs are kept, keyed by the graph's structure."""
        return _program(_Keyed(canonical_hash(graph), graph), settings).bind(storages)(arrays)

    def differentiate(
        self, outputs: Sequence[Node], wrt: Sequence[Node], cotangents: Sequence[Node]
    ) -> list[Node | None]:
        from .passes.differentiate import differentiate

        return differentiate(outputs, wrt, cotangents)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = compile(function)
        return compiled


@dataclass(frozen=True)
class _Keyed:
    """A graph that is equal to others of the same structure."""

    key: str
    graph: Graph = field(compare=False)


@lru_cache(maxsize=4096)
def _program(keyed: _Keyed, settings: Settings) -> Program:
    return compile_graph(keyed.graph, replace(settings, check=Check.NONE)).program


hook.install(_Driver())
