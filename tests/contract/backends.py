"""All backends, as functions on graphs and arrays, and the one table of what each can't do."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import numpy as np

from graphc.backends.backend import Backend, Level
from graphc.ir import Graph
from graphc.passes.schedule import schedule
from graphc.settings import Settings
from graphc.storage import Storage
from graphc.types import DType
from tests.schedule_interpreter import run_schedule

# "kernels" is the NumPy interpreter of schedules: what fusion and planning made of a graph, before any backend.
BACKENDS = ("reference", "kernels")

# backend → op name, or (op name, dtype name) → why. Each must raise UnsupportedError, and nothing else may.
LACKS: dict[str, dict[str | tuple[str, str], str]] = {"reference": {}, "kernels": {}}


def reason_lacking(backend: str, op: str, dtype: DType) -> str | None:
    """Why the backend does not take the op at that dtype; None where it does."""
    lacks = LACKS[backend]
    return lacks.get(op) or lacks.get((op, dtype.name))


def run_on(
    backend: str, graph: Graph, arrays: Sequence[np.ndarray], variables: Sequence[Storage] = ()
) -> list[np.ndarray]:
    """Run a graph, not optimized, once."""
    if backend == "kernels":
        return run_schedule(schedule(graph), arrays, variables)
    chosen: Backend = importlib.import_module(f"graphc.backends.{backend}").backend
    lowered = graph if chosen.level is Level.GRAPH else schedule(graph)
    return chosen.build(lowered, Settings()).bind(variables)(arrays)
