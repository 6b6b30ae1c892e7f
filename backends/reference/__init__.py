"""The reference backend: interprets a graph node by node with NumPy. It defines what every other backend computes.

In: a graph. Out: a program that can do all that the ops' references can, slowly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphc.backends.backend import Level, Lowering
from graphc.dataclass import dataclass
from graphc.errors import CompileError
from graphc.evaluate import evaluate_call
from graphc.ir import Graph
from graphc.kernel import Kernel
from graphc.schedule import Schedule
from graphc.settings import Settings
from graphc.storage import Storage


@dataclass(frozen=True)
class ReferenceBackend:
    """Runs any graph."""

    name: str = "reference"
    level: Level = Level.GRAPH

    def build(self, lowered: Graph | Schedule, settings: Settings) -> ReferenceProgram:
        if not isinstance(lowered, Graph):
            raise CompileError("the reference backend takes a graph", got=type(lowered).__name__)
        return ReferenceProgram(lowered)

    def refuses(self, kernel: Kernel) -> str:
        return "the reference backend runs graphs, and no kernels"


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
        """Run once."""
        return evaluate_call(self.graph, arrays, self.variables)


backend = ReferenceBackend()
