"""All backends, as functions on graphs and arrays, and the one table of what each can't do."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache

import numpy as np

from graphc.backends.backend import Backend, Level
from graphc.driver.compilation import costs_of
from graphc.ir import Graph
from graphc.passes.schedule import schedule
from graphc.schedule import Schedule
from graphc.settings import Settings
from graphc.storage import Storage
from graphc.types import (
    DTYPES,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int32,
    int64,
    uint8,
)  # fmt: skip
from tests.schedule_interpreter import run_schedule

# Where each is found. "kernels" is the NumPy interpreter of schedules: what fusion and planning made of a graph,
# before any backend. "triton" is its interpreter, so no GPU is needed.
_PLACES = {
    "reference": ("graphc.backends.reference", "ReferenceBackend"),
    "llvm": ("graphc.backends.llvm.backend", "LLVMBackend"),
    "triton": ("graphc.backends.triton.interpreted", "InterpretedBackend"),
}
BACKENDS = ("reference", "kernels", "llvm", "triton")

# backend → op name, or (op name, dtype name) → why. Each must raise UnsupportedError, and nothing else may.
_INLINED: dict[str | tuple[str, str], str] = {"checkpoint": "passes put its body in its place"}
LACKS: dict[str, dict[str | tuple[str, str], str]] = {
    "reference": {}, "kernels": {**_INLINED}, "llvm": {**_INLINED}, "triton": {**_INLINED},
}  # fmt: skip

# What a short run covers where every dtype costs compilation, or an interpreter's time; a long one covers all.
_SHORT = {
    "llvm": (bool_, uint8, int32, int64, float16, bfloat16, float32, float64),
    "triton": (bool_, uint8, int32, bfloat16, float32),
}


def short_dtypes(backend: str) -> tuple[DType, ...]:
    return _SHORT.get(backend, tuple(DTYPES.values()))


def rest_of_dtypes(backend: str) -> tuple[DType, ...]:
    return tuple(d for d in DTYPES.values() if d not in short_dtypes(backend))


def reason_lacking(backend: str, op: str, dtype: DType) -> str | None:
    """Why the backend does not take the op at that dtype; None where it does."""
    lacks = LACKS[backend]
    return lacks.get(op) or lacks.get((op, dtype.name))


@cache
def find(backend: str) -> Backend:
    """The backend, imported when it is first needed."""
    module, name = _PLACES[backend]
    found: Backend = getattr(importlib.import_module(module), name)()
    return found


def run_on(
    backend: str, graph: Graph, arrays: Sequence[np.ndarray], variables: Sequence[Storage] = ()
) -> list[np.ndarray]:
    """Run a graph, not optimized, once."""
    if backend == "kernels":
        return run_schedule(schedule(graph), arrays, variables)
    chosen = find(backend)
    lowered: Graph | Schedule = graph
    if chosen.level is not Level.GRAPH:
        lowered = schedule(graph, costs_of(backend), refuses=chosen.refuses)
    return list(map(np.asarray, chosen.build(lowered, Settings()).bind(variables)(arrays)))
