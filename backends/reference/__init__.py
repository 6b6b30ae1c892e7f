"""The reference backend: interprets a graph node by node with NumPy. It defines what every other backend computes.

In: a graph. Out: a program that can do all that the ops' references can, slowly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphc.backends.backend import Level, Lowering
from graphc.dataclass import dataclass
from graphc.errors import CompileError
from graphc.evaluate import evaluate_graph
from graphc.ir import Graph
from graphc.kernel import Kernel
from graphc.schedule import Schedule
from graphc.settings import Settings
from graphc.storage import Storage, write_all


@dataclass(frozen=True)
class ReferenceBackend:
    """Runs any graph."""

    name: str = "reference"
    level: Level = Level.GRAPH

    def build(self, lowered: Graph | Schedule, settings: Settings) -> ReferenceProgram:
        if not isinstance(lowered, Graph):
            raise CompileError("the reference backend takes a graph", got=type(lowered).__name__)
        return ReferenceProgram(lowered)


@dataclass(frozen=True)
class ReferenceProgram:
    """The graph itself."""

    graph: Graph

    @property
    def lowered(self) -> Mapping[Kernel, Lowering]:
        return {}

    def bind(self, variables: Sequence[Storage]) -> BoundReferenceProgram:
        return BoundReferenceProgram(self.graph, tuple(variables))


@dataclass(frozen=True)
class BoundReferenceProgram:
    """The graph, and the memory of its variables."""

    graph: Graph
    variables: tuple[Storage, ...]

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run once; again if a signal handler has changed what a run had read, so that the call comes before it or
        after it. An interrupt that comes meanwhile leaves all variables as they were."""
        while True:
            versions = [s.version for s in self.variables]
            outputs, updates = evaluate_graph(self.graph, arrays, [s.array for s in self.variables])
            fresh = [np.array(o, order="C") for o in outputs]
            # An update may be a view of another variable's old value, as in a swap: copy all before writing any.
            changes = [(s, np.array(u)) for s, u in zip(self.variables, updates, strict=True) if u is not None]
            if versions == [s.version for s in self.variables]:
                write_all(changes)
                return fresh


backend = ReferenceBackend()
